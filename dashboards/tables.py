"""Frames as CSV text and as cells, with no cell that a spreadsheet would run."""

from __future__ import annotations

import polars as pl

from labeling.safe_cells import neutralize_cells


def as_csv(frame: pl.DataFrame, *, header: bool = True) -> str:
    """A table as CSV: lists joined to one cell, and no cell that begins a formula."""
    return safe_cells(frame).write_csv(include_header=header)


def safe_cells(frame: pl.DataFrame) -> pl.DataFrame:
    """A table of plain cells: lists joined to one cell, and no cell that begins a formula."""
    lists = [name for name, dtype in frame.schema.items() if dtype == pl.List]
    joined = frame.with_columns(pl.col(name).cast(pl.List(pl.String)).list.join(" | ") for name in lists)
    return pl.concat([neutralize_cells(joined.select(name)) for name in joined.columns], how="horizontal")
