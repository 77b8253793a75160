"""Frames that come in pieces, to one Parquet or CSV file; in memory there is one piece at a time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from dashboards.export_queries import Table
from dashboards.tables import as_csv


def write_parquet(pieces: Iterable[pl.DataFrame], file: Path, *, comment: str, meanings: Mapping[str, str]) -> int:
    """Write all pieces, of which there is at least one; return the number of rows.

    What the table and its columns mean stands in the file's own schema, as `comment`.
    """
    writer, rows = None, 0
    try:
        for piece in pieces:
            table = piece.to_arrow(compat_level=pl.CompatLevel.oldest())
            if writer is None:
                writer = pq.ParquetWriter(file, _commented(table.schema, comment, meanings), compression="zstd")
            writer.write_table(table.cast(writer.schema))
            rows += len(piece)
    finally:
        if writer is not None:
            writer.close()
    return rows


def write_table(pieces: Iterable[pl.DataFrame], file: Path, table: Table) -> int:
    """Write a table of the data dictionary with its comments; return the number of rows."""
    meanings = {column: meaning for column, _, meaning in table.columns}
    return write_parquet(pieces, file, comment=table.comment, meanings=meanings)


def _commented(schema: pa.Schema, comment: str, meanings: Mapping[str, str]) -> pa.Schema:
    fields = [field.with_metadata({"comment": meanings.get(field.name, "")}) for field in schema]
    return pa.schema(fields, metadata={"comment": comment})


class CsvFile:
    """A CSV file that grows by pieces of the same columns. Cells that a spreadsheet would run are plain text."""

    def __init__(self, file: Path) -> None:
        self._stream = file.open("w", encoding="utf-8", newline="")
        self._started = False

    def __enter__(self) -> CsvFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stream.close()

    def write(self, piece: pl.DataFrame) -> None:
        self._stream.write(as_csv(piece, header=not self._started))
        self._started = True
