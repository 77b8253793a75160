"""Figures small enough to be drawn with every page: where bars and ticks stand. The template draws them.

`charts.py` draws larger ones with Vega, which takes too long for a page that should be there at once.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

BINS_PER_OCTAVE = 8
"""Of the histograms that the sampler keeps."""


@dataclass(frozen=True)
class Bar:
    x: float
    width: float
    height: float
    """Shares 0-1 of the figure."""
    text: str


@dataclass(frozen=True)
class Tick:
    place: float
    text: str


@dataclass(frozen=True)
class Histogram:
    """Tokens by activation on a logarithmic axis. Places are shares 0-1 of the figure's width and height."""

    bars: tuple[Bar, ...]
    ticks: tuple[Tick, ...]
    most: int
    """Tokens in the highest bar."""
    threshold: float | None
    """Where tau stands; None where it is outside."""


def histogram(splits: Sequence[Mapping[str, Any]], *, tau: float) -> Histogram | None:
    """Sum of the token histograms of all splits, from the lowest to the highest bin in use; None where all are empty."""
    if not splits:
        return None
    counts = [sum(column) for column in zip(*(split["token_histogram"] for split in splits), strict=True)]
    used = [index for index, count in enumerate(counts) if count]
    if not used:
        return None
    first, last, start = used[0], used[-1], int(splits[0]["histogram_start"])
    n, most = last - first + 1, max(counts)
    bars = tuple(
        Bar((index - first) / n, 1 / n, counts[index] / most, _told(start + index, counts[index])) for index in used
    )

    def place(activation: float) -> float:
        return (math.log2(activation) * BINS_PER_OCTAVE - start - first) / n

    octaves = range(math.ceil((start + first) / BINS_PER_OCTAVE), (start + last + 1) // BINS_PER_OCTAVE + 1)
    step = max(1, len(octaves) // 5)
    ticks = tuple(Tick(place(2.0**octave), f"{2.0**octave:g}") for octave in octaves[::step])
    threshold = place(tau) if tau > 0 else None
    return Histogram(bars, ticks, most, threshold if threshold is not None and 0 <= threshold <= 1 else None)


def _told(bin_number: int, count: int) -> str:
    low, high = (2.0 ** (edge / BINS_PER_OCTAVE) for edge in (bin_number, bin_number + 1))
    return f"{low:.3g} to {high:.3g}: {count:,} tokens"
