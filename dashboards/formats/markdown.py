"""Markdown as GitHub draws it: tables and text in one file, figures as SVG files in a folder beside it.

Whatever Markdown or HTML would take for a sign of theirs is escaped, so that text of a corpus stays text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import singledispatch
from itertools import count

from dashboards import text
from dashboards.document import (
    Block,
    Card,
    Cell,
    Code,
    Contents,
    Document,
    Facts,
    Figure,
    Figures,
    Heading,
    Listing,
    Measured,
    Paragraph,
    Pieces,
    Shares,
    Table,
    Terms,
    Tiles,
    Window,
    WindowBand,
    unfolded,
)
from dashboards.palette import standalone

SIGNS = re.compile(r"([\\`*_{}\[\]<>#|~$@]|(?<=\w):(?=//)|(?i:(?<=\bwww)\.)|!(?=\[))")
"""What could begin markup, a link or a mention anywhere in a line."""
STARTS = re.compile(r"^(\s*\d*)([-+=.)])(?=\s|[-+=]|$)")
"""What could begin a list or a rule at the start of a line."""


@dataclass(frozen=True)
class Markdown:
    ending: str = ".md"

    def render(self, document: Document) -> Mapping[str, bytes]:
        blocks = list(_linked(document.blocks, f"{document.name}-figures"))
        text_of_blocks = "\n\n".join(draw(block) for block in blocks)
        files = {document.name + self.ending: (text_of_blocks.rstrip() + "\n").encode()}
        for block in blocks:
            if isinstance(block, Linked):
                files |= {file: standalone(figure.svg).encode() for file, figure in block.files.items()}
        return files


@dataclass(frozen=True)
class Linked:
    """Figures by the names of their files."""

    files: Mapping[str, Figure]


def create() -> Markdown:
    """The format `markdown`."""
    return Markdown()


def _linked(blocks: Iterable[Block], folder: str) -> Iterator[Block | Linked]:
    """The blocks in order, unfolded; figures are numbered through."""
    number = count(1)
    for block in unfolded(blocks):
        if isinstance(block, Figures):
            yield Linked({f"{folder}/{next(number)}.svg": figure for figure in block.figures})
        else:
            yield block


@singledispatch
def draw(block: Block | Linked) -> str:
    """One block as Markdown."""
    raise TypeError(f"No way is known to write {type(block).__name__} as Markdown.")


@draw.register
def _(block: Heading) -> str:
    return f"{'#' * block.level} {escape(block.text)}"


@draw.register
def _(block: Paragraph) -> str:
    return inline(block.pieces)


@draw.register
def _(block: Tiles) -> str:
    lines = [f"- {escape(tile.name)}: **{tile.value.number}** ({tile.value.range})" for tile in block.tiles]
    return "\n".join([*lines, "", escape(block.note)])


@draw.register
def _(block: Contents) -> str:
    return "In this file: " + ", ".join(escape(words) for words, _ in block.links) + "."


@draw.register
def _(block: Facts) -> str:
    lines = ["| | |", "|---|---|", *(f"| {escape(name)} | {inline(pieces)} |" for name, pieces in block.rows)]
    return "\n".join([*lines, *(_shares(block.shares) if block.shares else ())])


def _shares(block: Shares) -> Iterator[str]:
    yield f"\n{escape(block.label)}:\n"
    for part in block.parts:
        meaning = f": {escape(part.sentence)}" if part.sentence else ""
        yield f"- {escape(part.name)} {part.count:,}{meaning}"
    if block.note:
        yield f"\n{inline(block.note)}"


@draw.register
def _(block: Table) -> str:
    titles = (f"{escape(c.title)} `{c.code}`" if c.code else escape(c.title) for c in block.columns)
    sides = ("--:" if column.number else "---" for column in block.columns)
    rows = (_line(cell(each, strong=row.strong) for each in row.cells) for row in block.rows)
    return "\n".join([_line(titles), "|" + "|".join(sides) + "|", *rows])


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def cell(value: Cell, *, strong: bool = False) -> str:
    """What stands in a cell of a table."""
    if value is None:
        return text.MISSING
    if isinstance(value, Code):
        return inline((value,))
    if isinstance(value, str):
        return f"**{escape(value)}**" if strong and value else escape(value)
    return _measured(value, strong)


def _measured(value: Measured, strong: bool) -> str:
    number = f"**{value.number}**" if strong else value.number
    return f"{number} ({value.range})" if value.range else number


@draw.register
def _(block: Terms) -> str:
    return "\n".join(
        f"- **{escape(term.title)}**{f' `{term.code}`' if term.code else ''}: {escape(term.sentence)}"
        for term in block.definitions
    )


@draw.register
def _(block: Linked) -> str:
    parts = []
    for name, figure in block.files.items():
        if figure.title:
            note = f" ({escape(figure.note)})" if figure.note else ""
            parts.append(f"**{escape(figure.title)}**{note}")
        parts.append(f"![{escape(figure.label)}]({name})")
    return "\n\n".join(parts)


@draw.register
def _(block: Listing) -> str:
    lines = [text.visible(line) for line in block.lines]
    fence = "`" * (max((len(run) for line in lines for run in re.findall("`+", line)), default=2) + 1)
    fence = fence if len(fence) > 2 else "```"
    return "\n".join([fence, *lines, fence])


@draw.register
def _(block: Card) -> str:
    score = f" · **{block.score.number}** ({block.score.range})" if block.score else ""
    lines = [f"#### {escape(block.title)}", "", inline(block.meta) + score]
    for band in block.bands:
        lines += ["", *_band(band)]
    return "\n".join([*lines, "", escape(block.note)] if block.note else lines)


def _band(band: WindowBand) -> Iterator[str]:
    yield f"{escape(band.term.title)}:\n"
    for window in band.windows:
        judged = text.percent(window.probability) if window.probability is not None else "no grade"
        yield f"- {_window(window)} _(judge says {judged})_"


def _window(window: Window) -> str:
    """The text in one line; pieces in which the feature is active are bold."""
    drawn = []
    for word in window.words:
        for piece in word.pieces:
            shown = escape(piece.text)
            bare = shown.strip()
            bold = f"<b>{bare}</b>" if piece.level and bare else bare
            drawn.append(shown.replace(bare, bold, 1) if bare else shown)
    return re.sub(r"\s+", " ", "".join(drawn)).strip()


def inline(pieces: Pieces) -> str:
    return "".join(_code(piece.text) if isinstance(piece, Code) else escape(piece) for piece in pieces)


def _code(found: str) -> str:
    """A piece of code; what holds a sign of code or of a table is written as HTML, which both leave alone."""
    shown = text.visible(found)
    return f"<code>{escape(found)}</code>" if re.search(r"[`|<&]|^\s|\s$", shown) or not shown else f"`{shown}`"


def escape(found: str | None) -> str:
    """Text as it is, whatever it holds; in one line."""
    shown = text.visible(text.MISSING if found is None else str(found))
    shown = SIGNS.sub(r"\\\1", shown.replace("&", "&amp;"))
    return STARTS.sub(r"\1\\\2", shown)
