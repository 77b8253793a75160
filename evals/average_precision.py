"""Intervals of the average precision, with the random weights of `evals.corpus`.

Average precision only changes where a firing window stands, so the weights of all other items are summed up between
those steps before anything is multiplied. The pseudo-items add a step at grade 1 and one at grade 0.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from evals.corpus import Float32, Noise, quantile, seen_false_positive
from evals.intervals import TAIL, Interval
from evals.items import Bool, Float, Int
from evals.ranks import sort_rows
from evals.strata import ABOVE, N_PARTS, Design

_CELLS = 8_000_000  # numbers in the largest temporary array


def average_precision_interval(design: Design, grades: Float, noise: Noise, *, rows: Bool, draws: int) -> Interval:
    """Interval of the average precision of the chosen `rows` [F]; NaN elsewhere. `grades` [m] of answered items."""
    low, high = np.full(len(rows), np.nan), np.full(len(rows), np.nan)
    every, seen = np.ones(design.mass.shape, np.float32), seen_false_positive(design, grades)
    step, n_steps = _steps(design, grades)
    size = max(_CELLS // (draws * (design.shape[1] + 1)), 1)
    chosen = np.flatnonzero(rows)
    for start in range(0, len(chosen), size):
        some = chosen[start : start + size]
        cells = _sum_cells(design, step, noise, some, draws)
        low[some] = quantile(_draw(design, cells, noise, some, n_steps[some], every), TAIL)
        high[some] = quantile(_draw(design, cells, noise, some, n_steps[some], seen), 1 - TAIL)
    return Interval(low, high)


def _steps(design: Design, grades: Float) -> tuple[Int, Int]:
    """[m] number of each item's step, from grade 1 down, and [F] the number of steps.

    A step is a distinct grade among firing windows and the two pseudo-items; an item between two belongs to the lower.
    """
    n_features, n = design.shape
    grade, fires = np.full((n_features, n + 2), -1.0), np.zeros((n_features, n + 2), dtype=bool)
    column = design.index % n
    grade[design.row, column], fires[design.row, column] = grades, design.member(ABOVE)
    grade[:, n], grade[:, n + 1], fires[:, n:] = 1.0, 0.0, True
    ranking = sort_rows(-grade)
    firing = np.take_along_axis(fires, ranking.order, axis=1)
    through = np.cumsum(firing, axis=1)
    before_tie = np.take_along_axis(through - firing, ranking.first, axis=1)
    is_step = np.take_along_axis(through, ranking.last, axis=1) > before_tie
    opens = is_step & (ranking.first == np.arange(n + 2))
    above = np.take_along_axis(np.cumsum(opens, axis=1) - opens, ranking.first, axis=1)
    number = np.empty_like(above)
    np.put_along_axis(number, ranking.order, above, axis=1)
    return number[design.row, column], opens.sum(axis=1)


class _Cells(NamedTuple):
    """Randomly weighted items of one step of one part of one feature, `c` of them, by feature, part and step."""

    row: Int  # [c] position among the chosen features
    part: Int  # [c]
    step: Int  # [c]
    weight: Float32  # [c, draws]
    total: Float32  # [rows, N_PARTS, draws]


def _sum_cells(design: Design, step: Int, noise: Noise, rows: Int, draws: int) -> _Cells:
    position = np.full(design.shape[0], -1)
    position[rows] = np.arange(len(rows))
    own = np.flatnonzero(position[design.row] >= 0)
    row, part, step = position[design.row[own]], design.part[own], step[own]
    order = np.lexsort((step, part, row))
    row, part, step, rank = row[order], part[order], step[order], design.group_rank[design.group[own[order]]]
    start = np.flatnonzero(np.diff(row, prepend=-1) | np.diff(part, prepend=-1) | np.diff(step, prepend=-1))
    weight = np.add.reduceat(noise.documents[part, rank, :draws], start, axis=0)
    row, part, step = row[start], part[start], step[start]
    total = np.zeros((len(rows), N_PARTS, draws), np.float32)
    part_start = np.flatnonzero(np.diff(row, prepend=-1) | np.diff(part, prepend=-1))
    total[row[part_start], part[part_start]] = np.add.reduceat(weight, part_start, axis=0)
    return _Cells(row, part, step, weight, total)


def _draw(design: Design, cells: _Cells, noise: Noise, rows: Int, n_steps: Int, pseudo: Float32) -> Float32:
    """[rows, draws]; `pseudo` [F, N_PARTS] is 1 where a silent part has a pseudo-item at grade 1."""
    draws = cells.weight.shape[1]
    factor, firing_ends, silent_ends = _factors(design, cells, noise, rows, pseudo)
    windows = cells.weight * factor[cells.row, cells.part]
    steps = np.zeros((2, len(rows), int(n_steps.max()), draws), np.float32)
    silent = (~np.isin(cells.part, ABOVE)).astype(np.int64)
    # Cells are few: sums over the parts of a step.
    order = np.lexsort((cells.step, cells.row, silent))
    key = ((silent * len(rows) + cells.row) * steps.shape[2] + cells.step)[order]
    start = np.flatnonzero(np.diff(key, prepend=-1))
    steps.reshape(-1, draws)[key[start]] = np.add.reduceat(windows[order], start, axis=0)
    for side, (one, zero) in zip(steps, (firing_ends, silent_ends), strict=True):
        side[:, 0] += one
        side[np.arange(len(rows)), n_steps - 1] += zero
    hits, false = steps
    hits_through = np.cumsum(hits, axis=1)
    precision = hits_through / np.maximum(hits_through + np.cumsum(false, axis=1), 1e-30)
    value: Float32 = (hits * precision).sum(axis=1) / hits_through[:, -1]
    return value


_Ends = tuple[Float32, Float32]


def _factors(design: Design, cells: _Cells, noise: Noise, rows: Int, pseudo: Float32) -> tuple[Float32, _Ends, _Ends]:
    """Windows that one unit of random weight stands for [rows, N_PARTS, draws], and the windows of the pseudo-items of
    firing and of silent parts at grades 1 and 0 [rows, draws]."""
    draws = cells.weight.shape[1]
    one, zero = noise.one[:, :draws], noise.zero[:, :draws]
    mass = design.mass[rows][:, :, None].astype(np.float32)
    above = list(ABOVE)
    silent = np.arange(N_PARTS) >= len(above)
    unseen = np.where(silent[:, None], one * pseudo[rows][:, :, None], np.float32(0))
    per_unit = cells.total + np.where(silent[:, None], zero, np.float32(0)) + unseen
    factor = (mass / np.maximum(per_unit, 1e-30)).astype(np.float32)
    firing_total = cells.total[:, above].sum(axis=1)
    joined = firing_total + zero[0] + one[0]
    factor[:, above] *= (firing_total / joined)[:, None]
    fires = mass[:, above].sum(axis=1)
    firing_ends: _Ends = (fires * one[0] / joined, fires * zero[0] / joined)
    silent_ends: _Ends = ((factor * unseen).sum(axis=1), (factor * zero)[:, silent].sum(axis=1))
    return factor, firing_ends, silent_ends
