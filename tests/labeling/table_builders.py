"""Small activation tables for tests, right and wrong ones."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from safetensors.numpy import save_file

from labeling.activation_table import ACTIVATIONS, DOCUMENTS, FEATURES, TOKENS

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
    for form, rows in ((DOCUMENTS, documents), (TOKENS, tokens), (ACTIVATIONS, activations), (FEATURES, features)):
        if rows is not None:
            frame(form.schema, rows).write_parquet(folder / f"{form.name}.parquet")
    if directions is not None:
        save_file({"directions": directions}, folder / "directions.safetensors")
    if card is not None:
        (folder / "table.json").write_text(json.dumps(card))
    return folder


def frame(schema: pl.Schema, rows: Rows) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema=schema, orient="row")


@dataclass
class Content:
    """Rows of a table that is right, to be made wrong."""

    documents: list[tuple[object, ...]] = field(default_factory=list)
    tokens: list[tuple[object, ...]] = field(default_factory=list)
    activations: list[tuple[object, ...]] = field(default_factory=list)

    def write(self, folder: Path, **others: Any) -> Path:
        return write_table(folder, documents=self.documents, tokens=self.tokens, activations=self.activations, **others)


def words(*, n_documents: int = 3, n_words: int = 8, seed: int = 0, vocabulary: Sequence[str] = WORDS) -> Content:
    """Documents of random words; feature f is active on the word number f, by 1 + its place in the document."""
    content, draw = Content(), np.random.default_rng(seed)
    for number in range(n_documents):
        name, start, text = f"d{number}", 0, draw.choice(vocabulary, n_words).tolist()
        content.documents.append((name, " ".join(text)))
        for position, word in enumerate(text):
            content.tokens.append((name, position, word, start))
            content.activations.append((vocabulary.index(word), name, position, 1.0 + position))
            start += len(word) + 1
    return content
