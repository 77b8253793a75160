from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from labeling.dictionaries import load
from labeling.dictionaries.featlas import TopKDictionary
from labeling.errors import FeatlasError, UsageError
from labeling.identity import text_id
from labeling.sources._torch_model import open_model
from labeling.topk_trainer import TrainingSettings
from labeling.training import collect, is_held_out, measure, train_dictionary
from labeling.types import JSON, Document

SETTINGS = TrainingSettings(n_features=64, k=4, steps=20, batch=64)
HOOK = "encoder.layer.0"


@dataclass(frozen=True)
class Sentences:
    """A corpus of documents of ten made-up words each; the first stands there twice."""

    n: int
    name: str = "sentences"
    fingerprint: str = "fixed"

    def documents(self) -> Iterator[Document]:
        for i in [*range(self.n), 0]:
            text = " ".join(f"word{10 * i + j}" for j in range(10))
            yield Document(text_id(text), f"sentence {i}", text)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, JSON], list[str]]:
    folder, seen = tmp_path_factory.mktemp("dictionary"), []

    def progress(what: str, done: int, total: int) -> None:
        seen.append(f"{what} {done}/{total}")

    card = train_dictionary(
        model="embedded/minilm",
        hook=HOOK,
        corpus=Sentences(60),
        output=folder,
        settings=SETTINGS,
        sequence=64,
        device="cpu",
        threads=1,
        progress=progress,
    )
    return folder, card, seen


def test_what_is_written_can_be_loaded(trained: tuple[Path, dict[str, JSON], list[str]]) -> None:
    dictionary = load(str(trained[0]))
    assert (dictionary.n_features, dictionary.d_model) == (64, 384)


def test_the_card_says_what_it_was_made_from_and_how_good_it_is(
    trained: tuple[Path, dict[str, JSON], list[str]],
) -> None:
    card = trained[1]
    assert (card["model"], card["hook"], card["corpus"]) == ("embedded/minilm", HOOK, "sentences")
    assert card["n_documents"] == 60
    assert 0 < card["n_held_out_documents"] < 20
    assert card["training"]["steps"] == 20
    assert 0 < card["variance_explained_held_out"] < 1
    assert {"corpus_hash", "dead_share", "dead_share_held_out", "dense_share", "packages"} <= card.keys()


def test_progress_is_reported_to_the_end(trained: tuple[Path, dict[str, JSON], list[str]]) -> None:
    n_tokens = trained[1]["n_tokens"]
    assert f"reading {n_tokens}/{n_tokens}" in trained[2]
    assert trained[2][-1] == "training 20/20"


def test_held_out_documents_never_train() -> None:
    model = open_model("embedded/minilm", [HOOK], device="cpu", threads=1)
    corpus = Sentences(40)
    held = [document.text for document in corpus.documents() if is_held_out(document.document_id)]
    activations = collect(model, corpus, max_tokens=None, sequence=64)
    n_held = sum(len(model.tokenizer.backend.encode(text, add_special_tokens=False).ids) for text in held)
    assert len(activations.held_out) == n_held
    assert activations.n_held_out_documents == len(held)
    assert np.isfinite(activations.training).all()


def test_max_tokens_ends_the_reading() -> None:
    model = open_model("embedded/minilm", [HOOK], device="cpu", threads=1)
    activations = collect(model, Sentences(60), max_tokens=1_000, sequence=64)
    assert 1_000 <= len(activations.training) + len(activations.held_out) < 1_040


def test_variance_explained_and_rates_on_a_case_worked_by_hand() -> None:
    dictionary = TopKDictionary(
        w_enc=torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, -1.0]]),
        b_enc=torch.zeros(3),
        w_dec=torch.tensor([[1.0, 0.0], [0.0, 0.5], [0.0, 1.0]]),
        b_dec=torch.zeros(2),
        k=1,
    )
    # rebuilt: [2, 0], [0, 1] instead of [0, 2], [0, 0], so 1 of a total 16/3 of squares around the mean is left
    quality = measure(dictionary, np.array([[2, 0], [0, 2]], np.float16), np.array([[0, 0]], np.float16))
    assert quality.variance_explained == pytest.approx(1 - 1 / (16 / 3))
    assert quality.rates.tolist() == pytest.approx([1 / 3, 1 / 3, 0])
    assert quality.dead_share == pytest.approx(1 / 3)
    assert quality.dense_share == pytest.approx(2 / 3)


def test_a_corpus_without_documents_to_hold_out_is_refused() -> None:
    model = open_model("embedded/minilm", [HOOK], device="cpu", threads=1)
    with pytest.raises(FeatlasError, match="The corpus sentences has 1 documents"):
        collect(model, Sentences(1), max_tokens=None, sequence=64)


@pytest.mark.parametrize(("settings", "message"), [({"k": 64}, "`k` is 64"), ({"steps": 0}, "`steps` is 0")])
def test_settings_that_can_not_be_right_are_refused(tmp_path: Path, settings: dict[str, int], message: str) -> None:
    wrong = TrainingSettings(**{"n_features": 64, **settings})
    with pytest.raises(UsageError, match=message):
        train_dictionary(
            model="embedded/minilm", hook=HOOK, corpus=Sentences(9), output=tmp_path, settings=wrong, threads=1
        )
