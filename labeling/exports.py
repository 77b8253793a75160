"""Make tables safe to open elsewhere: text that a spreadsheet would run as a formula is turned into plain text."""

from __future__ import annotations

import polars as pl

FORMULA_STARTS = r"^[=+\-@\t\r]"
"""What a spreadsheet takes for the start of a formula."""


def neutralize_cells(frame: pl.DataFrame) -> pl.DataFrame:
    """Put an apostrophe before text cells that a spreadsheet would take for a formula. Numbers stay as they are."""
    text = pl.col(pl.String)
    return frame.with_columns(
        pl.when(text.str.contains(FORMULA_STARTS)).then(pl.lit("'") + text).otherwise(text).name.keep()
    )
