"""Make tables safe to open elsewhere: what a spreadsheet would run or a terminal would obey becomes plain text."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

FORMULA_STARTS = r"^[=+\-@\t\r]"
"""What a spreadsheet takes for the start of a formula."""
CONTROL_CHARACTERS = r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]"
"""All but tab and line ends: they move a terminal's cursor, and end a text early in some readers."""


def as_text(values: pl.Series) -> pl.Series:
    """Values that CSV has no cells for, such as structs, maps, nested lists and bytes, as Python writes them."""
    return pl.Series(values.name, [None if v is None else str(v) for v in values.to_list()], dtype=pl.String)


def without_controls(frame: pl.DataFrame) -> pl.DataFrame:
    """Put a replacement character in place of each control character of text cells."""
    return frame.with_columns(pl.col(pl.String).str.replace_all(CONTROL_CHARACTERS, "\N{REPLACEMENT CHARACTER}"))


def neutralize_cells(frame: pl.DataFrame) -> pl.DataFrame:
    """Take control characters out of text cells, and put an apostrophe before those that a spreadsheet would run.

    Numbers stay as they are, and values of an enumeration become text.
    """
    listed = [name for name, dtype in frame.schema.items() if isinstance(dtype, pl.Categorical | pl.Enum)]
    frame = without_controls(frame.cast(dict.fromkeys(listed, pl.String)))
    text = pl.col(pl.String)
    return frame.with_columns(
        pl.when(text.str.contains(FORMULA_STARTS)).then(pl.lit("'") + text).otherwise(text).name.keep()
    )


def neutralize_names(names: Sequence[str]) -> list[str]:
    """Names of columns as such cells. They stay distinct: one that another has already gets an apostrophe more."""
    safe: list[str] = []
    for name in neutralize_cells(pl.DataFrame({"name": list(names)}, schema={"name": pl.String}))["name"]:
        while name in safe:
            name = f"'{name}"
        safe.append(name)
    return safe
