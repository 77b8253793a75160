"""From a corpus and a model to a dictionary on disk, with a card that says what it was made from and how good it is.

Reads the corpus once, keeps the activations in memory at 16 bits (about 0.8 kB a token at width 384), trains
(`topk_trainer`), and measures the dictionary as it will be read back. One document in ten, by hash, is held out.
"""

from __future__ import annotations

import platform
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import version
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl
import torch

from labeling.corpora import Corpus
from labeling.corpora._duplicates import DuplicateFilter, without_duplicates
from labeling.dictionaries import featlas
from labeling.dictionaries.featlas import TopKDictionary
from labeling.errors import FeatlasError, UsageError
from labeling.identity import identify
from labeling.sources._batches import batches
from labeling.sources._tokenizers import tokenize
from labeling.sources._torch_model import TorchModel, open_model
from labeling.topk_trainer import Progress, TrainingSettings, train
from labeling.types import JSON, TokenizedDocument

HELD_OUT_ONE_IN = 10
DENSE_RATE = 0.04
"""Share of tokens above which a feature counts as dense."""
TOKENIZE_TOGETHER = 64
MEASURE_TOGETHER = 8_192

Halves = npt.NDArray[np.float16]


@dataclass(frozen=True, eq=False)
class Activations:
    """Activations of a corpus at one hook, one row a token."""

    training: Halves  # [n, d_model]
    held_out: Halves  # [m, d_model], of documents that training never sees
    corpus_hash: str
    n_documents: int
    n_held_out_documents: int


@dataclass(frozen=True)
class Quality:
    """What a dictionary does on activations; shares are 0-1."""

    variance_explained: float
    """1 - squared error / squared distance from the mean."""
    rates: torch.Tensor  # [n_features] share of tokens on which each feature is on
    n_tokens: int

    @property
    def dead_share(self) -> float:
        return float((self.rates == 0).float().mean())

    @property
    def dense_share(self) -> float:
        return float((self.rates > DENSE_RATE).float().mean())


def train_dictionary(
    *,
    model: str,
    hook: str,
    corpus: Corpus,
    output: Path,
    settings: TrainingSettings,
    max_tokens: int | None = None,
    sequence: int = 256,
    device: str = "auto",
    threads: int | None = None,
    progress: Progress | None = None,
) -> dict[str, JSON]:
    """Train a TopK dictionary and write it to `output`, a folder or a `.safetensors` file. Return its card.

    The model runs on `device`, training on the CPU. Raise UsageError for settings that can't be right, FeatlasError
    for a corpus with less text than it takes.
    """
    _check(settings)
    opened = open_model(model, [hook], device=device, threads=threads)
    activations = collect(opened, corpus, max_tokens=max_tokens, sequence=sequence, progress=progress)
    dictionary = featlas.rounded(train(activations.training, settings=settings, progress=progress))
    made_from = {"model": model, "hook": hook, "corpus": corpus.name, "sequence": sequence, "max_tokens": max_tokens}
    written = card(dictionary, activations, settings=settings, made_from=made_from)
    featlas.save(dictionary, output, card=written)
    return featlas.read_card(featlas.files(output, new=True)[1])


def collect(
    model: TorchModel, corpus: Corpus, *, max_tokens: int | None, sequence: int, progress: Progress | None = None
) -> Activations:
    """Read a corpus, near-duplicates left out, and keep what the model's first hook gives for every token."""
    model.check_length(sequence)
    documents = list(_tokenized(model, corpus, max_tokens))
    held_out = {one.document.document_id for one in documents if is_held_out(one.document.document_id)}
    n_tokens = sum(len(one.token_ids) for one in documents)
    n_held_out = sum(len(one.token_ids) for one in documents if one.document.document_id in held_out)
    if not n_held_out or n_held_out == n_tokens:
        raise FeatlasError(
            f"The corpus {corpus.name} has {len(documents)} documents with {n_tokens:,} tokens, {len(held_out)} of them to "
            "hold out. Training and measuring need documents of their own: use a corpus with a few hundred documents."
        )
    width = model.widths[model.hooks[0]]
    kept = {
        False: np.empty((n_tokens - n_held_out, width), np.float16),
        True: np.empty((n_held_out, width), np.float16),
    }
    filled = {False: 0, True: 0}
    windows = _windows(documents, sequence)
    of_held_out = windows["document_id"].is_in(list(held_out)).to_numpy()
    for batch in batches(windows, sequence=sequence, tokenizer=model.tokenizer):
        rows = model.activations(batch)[model.hooks[0]].cpu().numpy().astype(np.float16)
        which = of_held_out[batch.window.numpy()]
        for held in (False, True):
            part = rows[which == held]
            kept[held][filled[held] : filled[held] + len(part)] = part
            filled[held] += len(part)
        if progress is not None:
            progress("reading", sum(filled.values()), n_tokens)
    return Activations(
        training=kept[False],
        held_out=kept[True],
        corpus_hash=identify("documents", ids=[one.document.document_id for one in documents]),
        n_documents=len(documents),
        n_held_out_documents=len(held_out),
    )


def is_held_out(document_id: str) -> bool:
    """Whether a document only measures. By hash of its text, so it does not depend on the rest of the corpus."""
    return int(document_id[:8], 16) % HELD_OUT_ONE_IN == 0


def measure(dictionary: TopKDictionary, *parts: Halves) -> Quality:
    """Encode and rebuild activations [n, d_model], given in one or more parts."""
    n_tokens = sum(len(part) for part in parts)
    fired = torch.zeros(dictionary.n_features, dtype=torch.int64)
    error, squares, sums = 0.0, 0.0, torch.zeros(dictionary.d_model, dtype=torch.float64)
    for block in blocks(*parts):
        codes = dictionary.encode(block)
        error += float((block - dictionary.decode(codes)).double().pow(2).sum())
        squares += float(block.double().pow(2).sum())
        sums += block.double().sum(0)
        fired += torch.bincount(codes.feature, minlength=dictionary.n_features)
    variance = squares - float(sums.pow(2).sum()) / n_tokens
    return Quality(variance_explained=1 - error / variance, rates=fired / n_tokens, n_tokens=n_tokens)


def card(
    dictionary: TopKDictionary, activations: Activations, *, settings: TrainingSettings, made_from: dict[str, JSON]
) -> dict[str, JSON]:
    """What stands in `card.json` beside the shape: origin, settings, and quality on held-out and all documents."""
    held_out = measure(dictionary, activations.held_out)
    everything = measure(dictionary, activations.training, activations.held_out)
    return {
        **made_from,
        "corpus_hash": activations.corpus_hash,
        "n_documents": activations.n_documents,
        "n_tokens": everything.n_tokens,
        "n_held_out_documents": activations.n_held_out_documents,
        "n_held_out_tokens": held_out.n_tokens,
        "training": asdict(settings),
        "variance_explained_held_out": round(held_out.variance_explained, 4),
        "dead_share_held_out": round(held_out.dead_share, 4),
        "dead_share": round(everything.dead_share, 4),
        "dense_share": round(everything.dense_share, 4),
        "dense_rate": DENSE_RATE,
        "packages": {name: version(name) for name in ("torch", "transformers", "numpy")},
        "python": platform.python_version(),
    }


def _check(settings: TrainingSettings) -> None:
    if not 1 <= settings.k < settings.n_features:
        raise UsageError(f"`k` is {settings.k}; expected 1 or more and less than `n_features`, {settings.n_features}.")
    if settings.steps < 1 or settings.batch < 1:
        raise UsageError(f"`steps` is {settings.steps} and `batch` {settings.batch}; both must be 1 or more.")


def _tokenized(model: TorchModel, corpus: Corpus, max_tokens: int | None) -> Iterator[TokenizedDocument]:
    documents = without_duplicates(corpus.documents(), DuplicateFilter())
    n_tokens = 0
    while group := list(islice(documents, TOKENIZE_TOGETHER)):
        for tokenized in tokenize(model.tokenizer, group):
            if max_tokens is not None and n_tokens >= max_tokens:
                return
            n_tokens += len(tokenized.token_ids)
            yield tokenized


def _windows(documents: list[TokenizedDocument], sequence: int) -> pl.DataFrame:
    pieces = [
        (document.document.document_id, list(document.token_ids[start : start + sequence]))
        for document in documents
        for start in range(0, len(document.token_ids), sequence)
    ]
    schema: dict[str, pl.DataType] = {"document_id": pl.String(), "token_ids": pl.List(pl.Int32)}
    return pl.DataFrame(pieces, schema=schema, orient="row").with_row_index("window_id")


def blocks(*parts: Halves) -> Iterator[torch.Tensor]:
    """Activations [n, d_model] as float32, some thousand tokens at a time."""
    for part in parts:
        for start in range(0, len(part), MEASURE_TOGETHER):
            yield torch.from_numpy(part[start : start + MEASURE_TOGETHER].astype(np.float32))
