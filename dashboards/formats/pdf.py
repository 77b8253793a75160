"""PDF, set by Typst: numbered pages, drawn intervals, text that can be searched. Needs the extra `pdf`.

What the report says is handed to the template `report.typ` as data, never as markup, so no text can act in it. Fonts are
those that Typst brings and those of the machine; what none of them can draw is listed on the first page.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from functools import singledispatch
from importlib import import_module
from typing import Any

from dashboards import text
from dashboards.document import (
    Block,
    Code,
    Contents,
    Document,
    Facts,
    Figures,
    Measured,
    Row,
    Table,
    Window,
    WindowBand,
    unfolded,
)
from dashboards.environment import TEMPLATES
from dashboards.palette import color, light, standalone
from labeling.errors import FeatlasError

MOST_MEASURED = 5
"""Columns with intervals that fit on the width of a page."""
LONGEST_RUN = 24
"""Characters without a place to break; longer ones get one, because nothing may leave the page."""
TEMPLATE = TEMPLATES / "report.typ"
FONT = "Libertinus Serif"
"""Of figures: comes with Typst."""


@dataclass(frozen=True)
class Pdf:
    ending: str = ".pdf"
    package: str = "typst"

    def render(self, document: Document) -> Mapping[str, bytes]:
        try:
            typst = import_module(self.package)
        except ImportError as error:
            raise FeatlasError(
                f"PDF needs the package {self.package}: pip install 'featlas[pdf]' (or pip install {self.package}). HTML "
                "and Markdown need nothing more."
            ) from error
        try:
            pdf: bytes = typst.compile(TEMPLATE.read_bytes(), format="pdf", sys_inputs={"data": data_of(document)})
        except typst.TypstError as error:
            raise FeatlasError(
                f"Typst could not set the PDF: {error}. The same report as HTML needs no Typst."
            ) from error
        return {document.name + self.ending: pdf}


def create() -> Pdf:
    """The format `pdf`."""
    return Pdf()


def data_of(document: Document) -> str:
    """What the template is given, as JSON; `odd` are the characters that a font may lack."""
    blocks = [shape(block) for block in _blocks(document)]
    odd = sorted({c for each in _strings(blocks) for c in each if not c.isascii() and c != "\u200b"})
    return json.dumps({"title": breakable(document.title), "colors": light(), "blocks": blocks, "odd": odd})


def _blocks(document: Document) -> Iterator[Block]:
    """What is printed: no links within the document, and wide tables in parts."""
    for block in unfolded(document.blocks):
        if isinstance(block, Table):
            yield from paged(block)
        elif not isinstance(block, Contents):
            yield block


def paged(table: Table) -> Iterator[Table]:
    """A table as tables that fit on a page, each with the first column."""
    measured = [n for n in range(len(table.columns)) if any(isinstance(row.cells[n], Measured) for row in table.rows)]
    if len(measured) <= MOST_MEASURED:
        yield table
        return
    rest = range(1, len(table.columns))
    for first in rest[::MOST_MEASURED]:
        kept = (0, *rest[first - 1 : first - 1 + MOST_MEASURED])
        rows = tuple(replace(row, cells=tuple(row.cells[n] for n in kept)) for row in table.rows)
        yield replace(table, columns=tuple(table.columns[n] for n in kept), rows=rows)


@singledispatch
def shape(value: Any) -> Any:
    """A block, or a part of one, as the data that the template draws: every string visible, every color a value."""
    if value is None or isinstance(value, bool | int | float):
        return value
    parts = {name: shape(getattr(value, name)) for name in value.__dataclass_fields__}
    return {"kind": type(value).__name__.lower(), **parts}


@shape.register
def _(value: str) -> str:
    return breakable(value)


@shape.register
def _(value: tuple) -> list[Any]:  # type: ignore[type-arg]
    return [shape(each) for each in value]


@shape.register
def _(value: Code) -> dict[str, Any]:
    return {"kind": "code", "text": breakable(value.text)}


@shape.register
def _(value: Measured) -> dict[str, Any]:
    return {"kind": "measured", "number": value.number, "range": value.range, **value.places}


@shape.register
def _(value: Facts) -> dict[str, Any]:
    rows = [{"name": shape(name), "pieces": shape(pieces)} for name, pieces in value.rows]
    return {"kind": "facts", "rows": rows, "shares": shape(value.shares)}


@shape.register
def _(value: Row) -> dict[str, Any]:
    drawn = None if value.color is None else color(value.color)
    return {"cells": shape(value.cells), "strong": value.strong, "color": drawn}


@shape.register
def _(value: Figures) -> dict[str, Any]:
    figures = [
        {**asdict(each), "title": shape(each.title), "svg": standalone(each.svg, font=FONT, paper=False)}
        for each in value.figures
    ]
    return {"kind": "figures", "figures": figures, "wide": value.wide}


@shape.register
def _(value: WindowBand) -> dict[str, Any]:
    return {
        "title": shape(value.term.title),
        "silent": value.silent,
        "windows": [shape(each) for each in value.windows],
    }


@shape.register
def _(value: Window) -> dict[str, Any]:
    runs = [[re.sub(" +", " ", breakable(piece.text)), piece.level] for word in value.words for piece in word.pieces]
    judged = text.percent(value.probability) if value.probability is not None else "no grade"
    return {"runs": runs, "judged": judged}


def breakable(found: str) -> str:
    """Text with nothing hidden in it, and with places to break in runs too long for a line."""
    shown = text.visible(found)
    shown = re.sub(r"(?<=\w_)(?=\w)|(?<=[/:=])(?=\w)", "\u200b", shown)
    return re.sub(rf"([^\s\u200b]{{{LONGEST_RUN}}})(?=[^\s\u200b])", "\\1\u200b", shown)


def _strings(value: Any) -> Iterable[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for name, each in value.items():
            if name != "svg":
                yield from _strings(each)
    elif isinstance(value, list):
        for each in value:
            yield from _strings(each)
