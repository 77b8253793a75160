"""Frames as CSV text, with no cell that a spreadsheet would run."""

from __future__ import annotations

import polars as pl

from labeling.exports import neutralize_cells


def as_csv(frame: pl.DataFrame) -> str:
    """A table as CSV: lists joined to one cell, and no cell that begins a formula."""
    lists = [name for name, dtype in frame.schema.items() if dtype == pl.List]
    joined = frame.with_columns(pl.col(name).cast(pl.List(pl.String)).list.join(" | ") for name in lists)
    return pl.concat([neutralize_cells(joined.select(name)) for name in joined.columns], how="horizontal").write_csv()
