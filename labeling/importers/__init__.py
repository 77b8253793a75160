"""Importers: activations that other programs wrote, to an activation table. One file each; `featlas import-table` finds it.

A file defines `create(*, path, tokenizer) -> Importer`. What an importer leaves out it says; the rows it writes are
checked when the table is sampled, like those of any table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Protocol

import polars as pl

from labeling.activation_table import FileForm, TableWriter

ROWS_AT_ONCE = 200_000


class Importer(Protocol):
    def write(self, folder: Path, *, say: Callable[[str], None]) -> None:
        """Write the table. Raise FeatlasError for files that can't be used, UsageError when `folder` is there already."""


class RowBuffer:
    """Gathers rows of one file and writes them in pieces."""

    def __init__(self, writer: TableWriter, form: FileForm) -> None:
        self._writer, self._form = writer, form
        self._rows: list[tuple[object, ...]] = []

    def add(self, row: tuple[object, ...]) -> None:
        self._rows.append(row)
        if len(self._rows) >= ROWS_AT_ONCE:
            self.flush()

    def flush(self) -> None:
        if self._rows:
            self._writer.write(self._form, pl.DataFrame(self._rows, schema=self._form.schema, orient="row"))
            self._rows = []


def plain_runs(special: Sequence[bool]) -> Iterator[tuple[int, int]]:
    """Ranges of tokens between special ones: what stands on both sides of one are two texts."""
    start = 0
    for place, is_special in enumerate([*special, True]):
        if is_special:
            if place > start:
                yield start, place
            start = place + 1


def trimmed(text: str, starts: Sequence[int]) -> list[int]:
    """Starts moved past the white space before a token: people are shown the word alone. White space alone stays."""
    moved = []
    for start, end in pairwise([*starts, len(text)]):
        piece = text[start:end]
        moved.append(start + len(piece) - len(piece.lstrip()) if piece.strip() else start)
    return moved
