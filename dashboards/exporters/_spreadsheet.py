"""A frame to an XLSX file with a second sheet that says what everything means. The only place that knows the library.

A label is text whatever it looks like: no cell is written as a formula or a link, and what a reader of the file would
obey or refuse is replaced.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl
import xlsxwriter

from dashboards.tables import safe_cells

MOST_CHARACTERS = 32_767
"""Characters that a cell can hold."""
NOT_IN_XML = r"[\x{FFFE}\x{FFFF}]"
WIDTHS = (8, 48)
"""Narrowest and widest column, in characters."""
LOOKED_AT = 200
"""Rows that the width of a column is measured on."""


def write_xlsx(frame: pl.DataFrame, file: Path, *, sheet: str, meanings: pl.DataFrame) -> None:
    """Write `frame` to the sheet `sheet`, and `meanings` to the sheet `meanings`."""
    with xlsxwriter.Workbook(file, {"in_memory": False, "constant_memory": True}) as book:
        book.set_properties({"title": f"Featlas, {sheet}"})
        header = book.add_format({"bold": True, "bottom": 1})
        wrapped = book.add_format({"text_wrap": True, "valign": "top"})
        _sheet(book.add_worksheet(sheet), frame, header)
        _sheet(book.add_worksheet("meanings"), meanings, header, wrapped)


def _sheet(sheet: Any, frame: pl.DataFrame, header: Any, cells: Any = None) -> None:
    frame = _cells(frame)
    sheet.freeze_panes(1, 0)
    for column, values in enumerate(frame.iter_columns()):
        sheet.set_column(column, column, _width(values))
        sheet.write_string(0, column, values.name, header)
    for row, line in enumerate(frame.iter_rows(), start=1):
        _write_row(sheet, row, line, cells)
    sheet.autofilter(0, 0, len(frame), frame.width - 1)


def _write_row(sheet: Any, row: int, line: Sequence[object], cells: Any) -> None:
    """Numbers as numbers, text as text whatever it begins with, NULL as an empty cell."""
    for column, value in enumerate(line):
        if isinstance(value, bool):
            sheet.write_boolean(row, column, value, cells)
        elif isinstance(value, int | float):
            sheet.write_number(row, column, value, cells)
        elif value is not None:
            sheet.write_string(row, column, str(value), cells)


def _cells(frame: pl.DataFrame) -> pl.DataFrame:
    """Cells as the file can hold them: what it can't is text."""
    return pl.DataFrame([_holdable(values) for values in safe_cells(frame)])


def _holdable(values: pl.Series) -> pl.Series:
    if values.dtype.is_float() and not values.is_finite().all():
        return values.cast(pl.String)  # NaN and infinities
    if values.dtype != pl.String:
        return values
    text = values.str.replace_all(NOT_IN_XML, "\N{REPLACEMENT CHARACTER}")
    short = text.str.slice(0, MOST_CHARACTERS // 2) + "… (cut: a cell holds no more)"
    return short.zip_with(text.str.len_chars() > MOST_CHARACTERS, text)


def _width(values: pl.Series) -> int:
    """Width of a column: of its name and its first cells, within bounds."""
    lengths = values.head(LOOKED_AT).cast(pl.String).str.len_chars().max()
    longest = max(len(values.name) + 3, lengths if isinstance(lengths, int) else 0)
    return min(max(longest, WIDTHS[0]), WIDTHS[1])
