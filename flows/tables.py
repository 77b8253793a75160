"""Show a table to people or programs: aligned text, CSV, JSON lines or Parquet."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Literal

import polars as pl

from labeling.safe_cells import as_text, neutralize_cells, neutralize_names, without_controls

Format = Literal["table", "csv", "json", "parquet"]


def format_of(target: Path | None) -> Format:
    """The format that a file's name asks for; `table` for any other, and for the terminal."""
    known: dict[str, Format] = {".csv": "csv", ".json": "json", ".jsonl": "json", ".parquet": "parquet"}
    return known.get(target.suffix.lower(), "table") if target is not None else "table"


def render_table(frame: pl.DataFrame, form: Format, *, rows: int = 40) -> bytes:
    """The table in the given format. Text cells that a spreadsheet would run as a formula are neutralized in CSV."""
    if form == "table":
        return _text(frame, rows).encode()
    buffer = io.BytesIO()
    if form == "csv":
        cells = neutralize_cells(_flat(frame))
        cells.columns = neutralize_names(frame.columns)
        cells.write_csv(buffer)
    elif form == "json":
        frame.write_ndjson(buffer)
    else:
        frame.write_parquet(buffer)
    return buffer.getvalue()


def _flat(frame: pl.DataFrame) -> pl.DataFrame:
    """Lists and bytes as text: CSV has neither."""
    return frame.with_columns(as_text(v) for v in frame if v.dtype.is_nested() or v.dtype == pl.Binary)


def _text(frame: pl.DataFrame, rows: int) -> str:
    with pl.Config(
        tbl_rows=rows,
        tbl_cols=-1,
        tbl_width_chars=200,
        fmt_str_lengths=80,
        fmt_table_cell_list_len=5,
        tbl_hide_dataframe_shape=True,
        tbl_hide_column_data_types=True,
        tbl_formatting="UTF8_BORDERS_ONLY",
        float_precision=3,
    ):
        text = str(without_controls(frame))
    more = f"{len(frame):,} rows; the first and last of them are shown\n" if len(frame) > rows else ""
    return f"{text}\n{more}"
