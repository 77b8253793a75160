"""From codes on disk to the windows in which a block of features is active, with the activations there.

Codes come file by file, and of each file only windows that are at hand are kept: memory depends on the windows and the
features asked for, not on the corpus. No order is needed among a feature's windows, so nothing is sorted. What counts
as firing is said by the caller.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from labeling.codes import CodeReader, ranges
from labeling.hard_negatives import WindowSets, window_sets
from labeling.types import FloatArray, IntArray

Int32Array = npt.NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class ActiveWindows:
    """Pairs of a feature and a window in which it is active: `g` pairs in no order, `n` activations.

    Activations of a pair are `length` entries from `start` on, by position.
    """

    n_features: int
    n_windows: int
    place: IntArray  # [g] place of the feature among those asked for
    row: IntArray  # [g] row of the window among those at hand
    maximum: FloatArray  # [g] raw
    start: IntArray  # [g]
    length: IntArray  # [g]
    position: npt.NDArray[np.int16]  # [n]
    value: FloatArray  # [n] raw

    @cached_property
    def pair(self) -> npt.NDArray[np.int32]:
        """Number of the pair of a feature and a window, -1 where silent: [f, windows at hand]."""
        numbers = np.full((self.n_features, self.n_windows), -1, dtype=np.int32)
        numbers[self.place, self.row] = np.arange(len(self.place), dtype=np.int32)
        return numbers

    def entries_of(self, pairs: npt.NDArray[np.integer]) -> tuple[IntArray, IntArray]:
        """Activations of some pairs (-1 has none), one pair after the other: how many each has, and which they are."""
        there = pairs >= 0
        sizes = np.where(there, self.length[pairs], 0)
        return sizes, ranges(np.where(there, self.start[pairs], 0), sizes)


def find_active(codes: CodeReader, features: IntArray, window: IntArray) -> ActiveWindows:
    """All activations of `features` in the windows `window` (ids, ascending)."""
    nothing = np.zeros(0, np.int64)
    parts = [(nothing, nothing, np.zeros(0, np.float32), nothing, np.zeros(0, np.int16), np.zeros(0, np.float32))]
    for part in codes(features):
        row = _rows(part.window, window)
        kept = np.flatnonzero(row >= 0)
        if len(kept):
            row, place, value = row[kept], part.place[kept], part.value[kept]
            first = _firsts(place, row)
            size = np.diff(np.append(first, len(row)))
            maximum = np.maximum.reduceat(value, first)
            parts.append((place[first], row[first], maximum, size, part.position[kept], value))
    place, row, maximum, length, position, value = (np.concatenate(column) for column in zip(*parts, strict=True))
    return ActiveWindows(
        len(features), len(window), place, row, maximum, length.cumsum() - length, length, position, value
    )


def firing_sets(
    codes: CodeReader,
    above: FloatArray,
    *,
    window: IntArray,
    split: npt.NDArray[np.int8],
    column: Int32Array,
    n_splits: int,
) -> list[WindowSets]:
    """Windows in which each feature has an activation above `above` [f], for all features: one WindowSets a split.

    `window` [n] ids, ascending; `split` [n] the split of each, `column` [n] its place there.
    """
    features = np.arange(len(above))
    places: list[list[Int32Array]] = [[] for _ in range(n_splits)]
    columns: list[list[Int32Array]] = [[] for _ in range(n_splits)]
    for part in codes(features):
        row = _rows(part.window, window)
        kept = np.flatnonzero((part.value > above[part.place]) & (row >= 0))
        place, row = part.place[kept].astype(np.int32), row[kept]
        first = _firsts(place, row)
        place, row = place[first], row[first]
        for s in range(n_splits):
            here = split[row] == s
            places[s].append(place[here])
            columns[s].append(column[row[here]])
    return [_joined_sets(p, c, n_sets=len(above)) for p, c in zip(places, columns, strict=True)]


def _joined_sets(places: list[Int32Array], columns: list[Int32Array], *, n_sets: int) -> WindowSets:
    nothing = [np.zeros(0, np.int32)]
    return window_sets(np.concatenate(nothing + places), np.concatenate(nothing + columns), n_sets=n_sets)


def _rows(ids: npt.NDArray[np.integer], window: IntArray) -> IntArray:
    """Row of each id among `window`, -1 where it is not there: by a table, since a part has ids near each other."""
    if not len(ids):
        return np.zeros(0, np.int64)
    low, high = int(ids.min()), int(ids.max())
    begin, end = np.searchsorted(window, [low, high + 1])
    table = np.full(high - low + 1, -1, dtype=np.int64)
    table[window[begin:end] - low] = np.arange(begin, end)
    return table[ids.astype(np.int64) - low]


def _firsts(place: npt.NDArray[np.integer], row: IntArray) -> IntArray:
    """Where a new pair begins."""
    new = np.ones(len(place), dtype=np.bool_)
    new[1:] = (place[1:] != place[:-1]) | (row[1:] != row[:-1])
    return np.flatnonzero(new)
