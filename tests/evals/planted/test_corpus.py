from __future__ import annotations

import numpy as np

from evals.planted.concepts import all_concepts
from evals.planted.corpus import plant_sentences
from labeling.identity import text_id
from labeling.types import Document

DOCUMENTS = [Document(text_id(text), f"d{i}", text) for i, text in enumerate(["one\ntwo\nthree", "a\nb", ""])]
CONCEPTS = all_concepts()[:2]


def planted(seed: int = 0, n: int = 3) -> list[Document]:
    return plant_sentences(DOCUMENTS, CONCEPTS, planted=n, decoys=1, generator=np.random.default_rng(seed))


def test_every_sentence_stands_on_a_line_of_its_own_between_the_lines_that_were_there() -> None:
    found = planted()
    assert sum(len(d.text.split("\n")) for d in found) == 3 + 2 + 1 + 2 * (3 + 1 + 1)
    kept = [line for line in found[0].text.split("\n") if line in ("one", "two", "three")]
    assert kept == ["one", "two", "three"]


def test_documents_are_named_by_their_new_text() -> None:
    assert all(document.document_id == text_id(document.text) for document in planted())


def test_the_same_seed_plants_the_same_text_and_another_one_does_not() -> None:
    assert planted() == planted()
    assert planted() != planted(seed=1)


def test_more_sentences_than_lines_go_round_again() -> None:
    found = planted(n=40)
    assert sum(len(d.text.split("\n")) for d in found) == 3 + 2 + 1 + 2 * (40 + 1 + 1)
