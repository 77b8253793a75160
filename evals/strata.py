"""From judged items to a sampling design: which windows an item stands for, at one of the two thresholds.

A *part* is a stratum, cut in two where a threshold goes through it. Every metric is made from means over parts and
from `mass`, the exact number of windows in each part. `top` windows are in no part. Nothing here reads a grade except
to see whether there is one.

Parts weigh by their windows, with one exception: the hard negatives taken by themselves. How many windows each of their
sources has is an accident of the search (the nearest 200, however many hold a token), and the largest source is often the
easiest, so each source that has windows counts alike.

At 25 % of the maximum, the quantile strata wholly below the threshold become `below` parts, which count as silent in
corpus metrics and stand outside the balanced ones, like `grey`. The stratum the threshold cuts is post-stratified:
the exact number of windows above the threshold tells how many of its windows are above.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from evals.items import Bool, Float, Int, Items
from labeling.types import HARD, QUANTILES, STRATA, STRICT_TAU_SHARE

PARTS = (*QUANTILES, *(f"{q} below the threshold" for q in QUANTILES), "grey", *HARD, "random")
N_PARTS = len(PARTS)
ABOVE = tuple(range(5))
BELOW = tuple(range(5, 10))
GREY = 10
HARD_PARTS = (11, 12, 13)
RANDOM = 14
SILENT = (*BELOW, GREY, *HARD_PARTS, RANDOM)
"""Parts that count as silent in corpus metrics."""

# The last entry is for padding, whose stratum code is -1.
_PART_OF = np.array(
    [-1 if s == "top" else PARTS.index(s) for s in STRATA] + [-1],
    dtype=np.int64,
)


@dataclass(frozen=True)
class Design:
    """How `F` features were sampled. The one-dimensional arrays have one entry an answered item in a part."""

    mass: Float  # [F, N_PARTS] windows in the part
    drawn: Int  # [F, N_PARTS] items in the part
    answered: Int  # [F, N_PARTS] items with a grade
    documents: Int  # [F, N_PARTS] distinct documents among the answered items
    index: Int  # [m] position of the item in the raveled [F, n] arrays
    row: Int  # [m]
    part: Int  # [m]
    group: Int  # [m] number of the item's document within its part
    group_cell: Int  # [g] row * N_PARTS + part of each group, ascending
    group_rank: Int  # [g] number of the group within its cell
    shape: tuple[int, int]

    @property
    def cell(self) -> Int:
        cell: Int = self.row * N_PARTS + self.part
        return cell

    def member(self, parts: tuple[int, ...]) -> Bool:
        """[m] whether the item is in one of the parts."""
        member: Bool = np.isin(self.part, parts)
        return member

    def share(self, parts: tuple[int, ...]) -> Float:
        """[F, N_PARTS] weight of each part on the side `parts`: its share of their windows, and for HARD_PARTS the same
        for each that has windows. 0 outside, NaN rows where there are none."""
        kept = np.zeros_like(self.mass)
        kept[:, parts] = self.mass[:, parts] > 0 if parts == HARD_PARTS else self.mass[:, parts]
        with np.errstate(invalid="ignore"):
            share: Float = kept / kept.sum(axis=1, keepdims=True)
        return share

    def sums(self, values: npt.NDArray[np.float64]) -> Float:
        """[F, N_PARTS] sum of one number an item over each part."""
        total: Float = np.bincount(self.cell, weights=values, minlength=self.mass.size).astype(np.float64)
        return total.reshape(self.mass.shape)


def lay_out(items: Items, *, share_of_max: float) -> Design:
    """Assign items to parts at 1 % (`tau`) or 25 % (`tau25`) of the maximum.

    Lost items stay counted in `drawn`, and the answered ones of the part stand for them. A part of the cut stratum
    from which nothing was drawn is added to its neighbor on the same side of the threshold.
    """
    part = _PART_OF[items.stratum]
    mass = _stratum_masses(items, part)
    if share_of_max == STRICT_TAU_SHARE:
        part = np.where((part >= 0) & (part < 5) & (items.activation <= items.tau25[:, None]), part + 5, part)
        mass = _cut_masses(mass, items.firing_windows25)
    rows = np.arange(len(items))[:, None]
    # An item in a part without mass disagrees with the counts (a tie at the threshold): it stands for nothing.
    part = np.where((part >= 0) & (mass[rows, part] > 0), part, -1)
    drawn = _count(part, len(items))
    mass = _add_undrawn_to_neighbor(mass, drawn)
    kept = np.where(items.answered, part, -1)
    return _grouped(items, kept, mass, drawn)


def _stratum_masses(items: Items, part: Int) -> Float:
    """[F, N_PARTS] population of each stratum. Raise ValueError when the items of a stratum disagree about it."""
    mass = np.zeros((len(items), N_PARTS))
    row, column = np.nonzero(part >= 0)
    population = items.population[row, column].astype(np.float64)
    np.maximum.at(mass, (row, part[row, column]), population)
    wrong = mass[row, part[row, column]] != population
    if wrong.any():
        first = int(np.argmax(wrong))
        name = PARTS[part[row[first], column[first]]]
        raise ValueError(f"items of stratum {name} in row {row[first]} carry different populations")
    return mass


def _cut_masses(mass: Float, firing_windows25: Int) -> Float:
    """Cut the quantile strata at the rank of the threshold: strata are ordered, so counting from the top is exact."""
    cut = mass.copy()
    quantiles = mass[:, :5]
    stronger = quantiles[:, ::-1].cumsum(axis=1)[:, ::-1] - quantiles
    cut[:, :5] = np.clip(firing_windows25[:, None] - stronger, 0, quantiles)
    cut[:, 5:10] = quantiles - cut[:, :5]
    return cut


def _add_undrawn_to_neighbor(mass: Float, drawn: Int) -> Float:
    """Add a part that nobody drew from to the next part on its side of the threshold, where there is one."""
    moved = mass.copy()
    empty = (mass > 0) & (drawn == 0)
    for q in range(4):
        _move(moved, empty[:, q] & (drawn[:, q + 1] > 0), q, q + 1)
    for q in range(9, 5, -1):
        _move(moved, empty[:, q] & (drawn[:, q - 1] > 0), q, q - 1)
    for q in BELOW:
        _move(moved, (moved[:, q] > 0) & (drawn[:, q] == 0) & (drawn[:, GREY] > 0), q, GREY)
    return moved


def _move(mass: Float, rows: Bool, source: int, target: int) -> None:
    mass[rows, target] += mass[rows, source]
    mass[rows, source] = 0.0


def _count(part: Int, n_features: int) -> Int:
    row, column = np.nonzero(part >= 0)
    counts = np.bincount(row * N_PARTS + part[row, column], minlength=n_features * N_PARTS)
    return counts.reshape(n_features, N_PARTS)


def _grouped(items: Items, part: Int, mass: Float, drawn: Int) -> Design:
    row, column = np.nonzero(part >= 0)
    kept = part[row, column]
    cell = row * N_PARTS + kept
    # One key for (feature, part, document): codes are below 2**31, so 2**28 features fit into 64 bits.
    groups, group = np.unique(cell * 2**31 + items.document[row, column], return_inverse=True)
    group_cell = groups >> 31
    documents = np.bincount(group_cell, minlength=mass.size)
    return Design(
        mass=mass,
        drawn=drawn,
        answered=_count(part, len(items)),
        documents=documents.reshape(mass.shape),
        index=row * items.width + column,
        row=row,
        part=kept,
        group=group.ravel(),
        group_cell=group_cell,
        group_rank=np.arange(len(groups)) - (np.cumsum(documents) - documents)[group_cell],
        shape=(len(items), items.width),
    )
