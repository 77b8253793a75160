"""What a report says, in blocks that every format draws: text, tables, figures, windows of text.

Strings are as they were found: a format makes them visible and escapes them. It knows no HTML, no Markdown, no files.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, TypeAlias

from dashboards import text
from dashboards.heatmap import Word
from dashboards.wording import Scale, Term


@dataclass(frozen=True)
class Code:
    """A name, command or number that is written as it is typed."""

    text: str


Piece: TypeAlias = str | Code
Pieces: TypeAlias = tuple[Piece, ...]


@dataclass(frozen=True)
class Measured:
    """A number with its 95 % interval, to be drawn on a scale that runs from `start` to `end`."""

    mean: float
    low: float | None = None
    high: float | None = None
    chance: float | None = None
    """What a guess gets; None where that depends on the feature."""
    start: float = 0.0
    end: float = 1.0
    digits: int = 3

    @property
    def number(self) -> str:
        return text.number(self.mean, self.digits)

    @property
    def range(self) -> str:
        """The interval as text; empty where there is none."""
        return "" if self.low is None or self.high is None else text.interval(self.low, self.high, self.digits)

    def place(self, value: float | None) -> float | None:
        """Where a value stands on the scale, 0-1."""
        return Scale(self.start, self.end).place(value)

    @property
    def places(self) -> dict[str, float | None]:
        """Where everything stands on the scale, 0-1."""
        return {name: self.place(getattr(self, name)) for name in ("mean", "low", "high", "chance")}


Cell: TypeAlias = str | Code | Measured | None
"""None is what was not measured."""


@dataclass(frozen=True)
class Heading:
    kind: ClassVar[str] = "heading"
    text: str
    level: Literal[1, 2, 3] = 2
    anchor: str = ""


@dataclass(frozen=True)
class Paragraph:
    kind: ClassVar[str] = "paragraph"
    pieces: Pieces
    style: Literal["plain", "lede", "meta", "kicker"] = "plain"


@dataclass(frozen=True)
class Tile:
    name: str
    value: Measured
    main: bool = False


@dataclass(frozen=True)
class Tiles:
    """Few numbers, large, and what they are."""

    kind: ClassVar[str] = "tiles"
    tiles: tuple[Tile, ...]
    note: str


@dataclass(frozen=True)
class Contents:
    """Links to places of the same document."""

    kind: ClassVar[str] = "contents"
    links: tuple[tuple[str, str], ...]
    """Words and anchor."""


@dataclass(frozen=True)
class Share:
    name: str
    count: int
    sentence: str = ""


@dataclass(frozen=True)
class Shares:
    """Parts of a whole."""

    label: str
    parts: tuple[Share, ...]
    note: Pieces = ()

    @property
    def total(self) -> int:
        return sum(part.count for part in self.parts)


@dataclass(frozen=True)
class Facts:
    """Names and what is known of them, beside how the features divide."""

    kind: ClassVar[str] = "facts"
    rows: tuple[tuple[str, Pieces], ...]
    shares: Shares | None = None


@dataclass(frozen=True)
class Column:
    title: str
    number: bool = False
    code: str = ""
    """Name in the tables of the workspace."""
    sentence: str = ""


@dataclass(frozen=True)
class Row:
    cells: tuple[Cell, ...]
    strong: bool = False
    color: str | None = None
    """Of a mark before the first cell, as charts name it."""
    sentence: str = ""
    """What the first cell means."""


@dataclass(frozen=True)
class Table:
    kind: ClassVar[str] = "table"
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    style: Literal["plain", "grid", "small"] = "plain"
    """A grid is wide and compares lines; its first column names them."""


@dataclass(frozen=True)
class Definition:
    title: str
    code: str
    sentence: str


@dataclass(frozen=True)
class Terms:
    kind: ClassVar[str] = "terms"
    definitions: tuple[Definition, ...]


@dataclass(frozen=True)
class Figure:
    """A drawing as SVG whose colors are named as the pages name them."""

    svg: str
    label: str
    """What is seen, for those who can't see it."""
    title: str = ""
    note: str = ""


@dataclass(frozen=True)
class Figures:
    kind: ClassVar[str] = "figures"
    figures: tuple[Figure, ...]
    wide: bool = False


@dataclass(frozen=True)
class Fold:
    """What most readers don't need; opened by a click where the format knows clicks."""

    kind: ClassVar[str] = "fold"
    summary: str
    blocks: tuple[Block, ...]
    opened: bool = False


@dataclass(frozen=True)
class Listing:
    """Lines to be typed."""

    kind: ClassVar[str] = "listing"
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Window:
    """A window of held-out text as words and pieces, shaded where the feature is active."""

    words: tuple[Word, ...]
    probability: float | None
    """How sure the judge is that the feature fires here, 0-1; None where it was not asked or gave no answer."""
    document: str | None


@dataclass(frozen=True)
class WindowBand:
    """Windows that were chosen for the same reason."""

    stratum: str
    term: Term
    windows: tuple[Window, ...]

    @property
    def silent(self) -> bool:
        return self.stratum.startswith(("hard", "random"))


@dataclass(frozen=True)
class Card:
    """A feature: its label and score, and windows of text shaded by activation."""

    kind: ClassVar[str] = "card"
    title: str
    score: Measured | None
    meta: Pieces
    bands: tuple[WindowBand, ...]
    note: str = ""


Block: TypeAlias = (
    Heading | Paragraph | Tiles | Contents | Facts | Table | Terms | Figures | Fold | Listing | Card
)  # fmt: skip
BLOCKS: tuple[type[Block], ...] = (
    Heading, Paragraph, Tiles, Contents, Facts, Table, Terms, Figures, Fold, Listing, Card,
)  # fmt: skip


@dataclass(frozen=True)
class Document:
    name: str
    """Of its file, without an ending."""
    title: str
    blocks: tuple[Block, ...]


def say(*pieces: Piece) -> Paragraph:
    return Paragraph(pieces)


def meta(*pieces: Piece) -> Paragraph:
    """A remark in small print."""
    return Paragraph(pieces, "meta")


def join(items: Sequence[Pieces], separator: str = ", ") -> Pieces:
    """Pieces one after the other."""
    joined: list[Piece] = []
    for number, item in enumerate(items):
        joined += [separator, *item] if number else item
    return tuple(joined)


def unfolded(blocks: Iterable[Block]) -> Iterator[Block]:
    """The blocks for a format without clicks: what was folded stands open, under a heading."""
    for block in blocks:
        if isinstance(block, Fold):
            yield Heading(block.summary, 3)
            yield from unfolded(block.blocks)
        else:
            yield block
