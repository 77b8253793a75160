"""Sentence embeddings are unit vectors that know meaning and do not depend on the texts beside them."""

from __future__ import annotations

import numpy as np
import torch

from labeling.sentence_embeddings import SentenceEmbedder

EMBEDDER = SentenceEmbedder()


def test_similar_meanings_have_a_high_cosine() -> None:
    cat, kitten, stocks = EMBEDDER.embed(["a cat sat on the mat", "a kitten rests on a rug", "stock markets fell"])
    assert cat @ kitten > 0.5 > 0.2 > cat @ stocks


def test_vectors_have_length_one_and_the_empty_text_has_one_too() -> None:
    vectors = EMBEDDER.embed(["", "word", "word " * 1000])
    assert vectors.shape == (3, 384)
    assert vectors.dtype == np.float32
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_a_text_has_the_same_vector_in_any_company() -> None:
    """To the last digit: what is stored must not depend on what was embedded before, or a resumed run differs."""
    texts = ["", "one", "two three", "four", "five six seven eight", *(f"number {n}" for n in range(40))]
    alone = np.concatenate([EMBEDDER.embed([text]) for text in texts])
    assert np.array_equal(EMBEDDER.embed(texts), alone)


def test_no_texts_are_no_vectors() -> None:
    assert EMBEDDER.embed([]).shape == (0, 384)


def test_the_caller_s_threads_and_random_state_are_left_alone() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    state = torch.get_rng_state()
    SentenceEmbedder().embed(["word"])
    after = torch.get_num_threads()
    torch.set_num_threads(before)
    assert after == 3
    assert torch.equal(torch.get_rng_state(), state)
