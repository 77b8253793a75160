"""Frames as CSV text and as cells, with no cell that a spreadsheet would run."""

from __future__ import annotations

import polars as pl

from labeling.safe_cells import as_text, neutralize_cells, neutralize_names


def as_csv(frame: pl.DataFrame, *, header: bool = True) -> str:
    """A table as CSV: lists joined to one cell, and no cell or name of a column that begins a formula."""
    cells = safe_cells(frame)
    cells.columns = neutralize_names(frame.columns)
    return cells.write_csv(include_header=header)


def safe_cells(frame: pl.DataFrame) -> pl.DataFrame:
    """A table of plain cells: lists joined to one cell, and no cell that begins a formula."""
    plain = [_plain(values) for values in frame]
    return pl.concat([neutralize_cells(pl.DataFrame([values])) for values in plain], how="horizontal")


def _plain(values: pl.Series) -> pl.Series:
    dtype = values.dtype
    if isinstance(dtype, pl.List) and not _has_no_cell(dtype.inner):
        return values.cast(pl.List(pl.String)).list.join(" | ")
    return as_text(values) if _has_no_cell(dtype) else values


def _has_no_cell(dtype: pl.datatypes.DataType | pl.datatypes.DataTypeClass) -> bool:
    return dtype.is_nested() or dtype == pl.Binary
