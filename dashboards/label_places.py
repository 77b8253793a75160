"""Where names are written on a figure so that none covers another. Pure; what finds no place is left out and counted.

Names come in the order of their weight: the first ones stand where they should, later ones beside, or not at all.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

WIDE = 1.02
NARROW = 0.6
"""Width of a character over the height of the letters: East Asian ones, and the mean of the others."""
STEPS = (0, -1, 1, -2, 2, -3, 3)
"""Lines up or down that a name may be moved."""


@dataclass(frozen=True)
class Name:
    """A text and where its middle should stand, in the figure's units; y grows downwards."""

    text: str
    x: float
    y: float


@dataclass(frozen=True)
class _Box:
    left: float
    top: float
    right: float
    bottom: float

    def meets(self, other: _Box) -> bool:
        return (
            self.left < other.right and other.left < self.right and self.top < other.bottom and other.top < self.bottom
        )


def place_names(names: Iterable[Name], *, width: float, height: float, size: float) -> tuple[Name, ...]:
    """The names that fit into a figure of `width` x `height` with letters of `size`, each where it is to be written."""
    taken: list[_Box] = []
    placed = []
    for name in names:
        found = _free(name, taken, width=width, height=height, size=size)
        if found is not None:
            placed.append(found)
            taken.append(_box(found, size))
    return tuple(placed)


def text_width(text: str, size: float) -> float:
    """About how wide a text is when its letters are `size` high."""
    return size * sum(_width(character) for character in text)


def _width(character: str) -> float:
    if unicodedata.combining(character):
        return 0.0
    return WIDE if unicodedata.east_asian_width(character) in "WF" else NARROW


def _free(name: Name, taken: Sequence[_Box], *, width: float, height: float, size: float) -> Name | None:
    half = text_width(name.text, size) / 2
    if 2 * half > width:
        return None
    x = min(max(name.x, half), width - half)
    for step in STEPS:
        moved = Name(name.text, x, name.y + step * 1.25 * size)
        box = _box(moved, size)
        if box.top >= 0 and box.bottom <= height and not any(box.meets(other) for other in taken):
            return moved
    return None


def _box(name: Name, size: float) -> _Box:
    half, tall = text_width(name.text, size) / 2 + 0.25 * size, 0.6 * size
    return _Box(name.x - half, name.y - tall, name.x + half, name.y + tall)
