"""Activation tables for tests: small ones by hand, and one exported from a source that runs a model."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import polars as pl
from safetensors.numpy import save_file

from labeling.activation_table import ACTIVATIONS, DOCUMENTS, FEATURES, TOKENS
from labeling.sources.torch import TorchSource
from labeling.types import Document
from labeling.windows import cut_windows

Rows = Sequence[tuple[object, ...]]
WORDS = ("red", "blue", "green", "cold", "warm", "old")


def write_table(
    folder: Path,
    *,
    documents: Rows,
    tokens: Rows,
    activations: Rows,
    features: Rows | None = None,
    directions: np.ndarray | None = None,
    card: Mapping[str, object] | None = None,
) -> Path:
    """Write rows as they are, whatever is wrong with them."""
    folder.mkdir(parents=True, exist_ok=True)
    forms = {DOCUMENTS: documents, TOKENS: tokens, ACTIVATIONS: activations, FEATURES: features}
    for form in (DOCUMENTS, TOKENS, ACTIVATIONS, FEATURES):
        rows = {DOCUMENTS.name: documents, TOKENS.name: tokens, ACTIVATIONS.name: activations, FEATURES.name: features}
        if rows[form.name] is not None:
            frame(form.schema, rows[form.name] or []).write_parquet(folder / f"{form.name}.parquet")
    if directions is not None:
        save_file({"directions": directions}, folder / "directions.safetensors")
    if card is not None:
        (folder / "table.json").write_text(json.dumps(card))
    assert forms
    return folder


def frame(schema: pl.Schema, rows: Rows) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema=schema, orient="row")


def words_table(folder: Path, *, n_documents: int = 3, n_words: int = 8) -> Path:
    """Documents of words; feature f is active on the word number f, by 1 + its place in the document."""
    texts = [
        " ".join(WORDS[(place * (number + 1) + number) % len(WORDS)] for place in range(n_words))
        for number in range(n_documents)
    ]
    tokens, activations = [], []
    for number, text in enumerate(texts):
        start = 0
        for position, word in enumerate(text.split(" ")):
            tokens.append((f"d{number}", position, word, start))
            activations.append((WORDS.index(word), f"d{number}", position, 1.0 + position))
            start += len(word) + 1
    named = [(f"d{number}", text) for number, text in enumerate(texts)]
    return write_table(folder, documents=named, tokens=tokens, activations=activations)


def export_table(source: TorchSource, documents: Iterable[Document], folder: Path, *, sequence: int = 256) -> Path:
    """The activations of a model's first feature set on some texts, as a table sorted by feature."""
    tokenized = source.tokenize(list(documents))
    windows = cut_windows(tokenized, corpus_id="export", width=32, seed=0)
    events = [
        (batch.feature.numpy(), batch.window.numpy(), batch.position.numpy(), batch.value.numpy())
        for batch in source.events(windows, sequence=sequence)
        if batch.feature_set == 0
    ]
    feature, window, position, value = (np.concatenate(column) for column in zip(*events, strict=True))
    names = {document.document.document_id: document.document.name for document in tokenized}
    activations = pl.DataFrame(
        {
            "feature": feature.astype(np.int32),
            "document_id": [names[key] for key in windows["document_id"].gather(window)],
            "position": windows["start"].to_numpy()[window] + position,
            "activation": value,
        }
    ).sort("feature", "position")
    folder.mkdir(parents=True)
    pl.DataFrame([(d.document.name, d.document.text) for d in tokenized], schema=DOCUMENTS.schema, orient="row").write_parquet(
        folder / "documents.parquet"
    )
    tokens = [
        (d.document.name, place, token, start)
        for d in tokenized
        for place, (token, start) in enumerate(zip(d.tokens, d.starts, strict=True))
    ]
    pl.DataFrame(tokens, schema=TOKENS.schema, orient="row").write_parquet(folder / "tokens.parquet")
    activations.write_parquet(folder / "activations.parquet")
    directions = source.directions(0)
    save_file({"directions": np.ascontiguousarray(directions)}, folder / "directions.safetensors")
    return folder
