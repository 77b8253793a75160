"""Metrics at the true base rate of the corpus, and their intervals: precision, F1, weighted correlation, AP.

They are ratios in which one random false positive can weigh hundreds of positives, so a bootstrap of the items is far
too narrow. Each draw here gives the documents of a part Dirichlet weights, joined by a pseudo-item that is half a grade
of 0 and half a grade of 1: for yes/no answers of distinct documents a part's rate is then Beta(k + 1/2, n - k + 1/2),
the Jeffreys posterior pushed through Bayes at the counted base rate, and grades need no second method.
Positives share one pseudo-item (their five strata weigh alike); every silent part has its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from evals.intervals import LEVEL, Interval
from evals.items import Bool, Float, Int
from evals.ranks import sort_rows
from evals.strata import ABOVE, N_PARTS, SILENT, Design

Float32 = npt.NDArray[np.float32]
_CELLS = 12_000_000  # numbers in the largest temporary array


class Rates(NamedTuple):
    """Means over firing (1) and silent (0) windows. All [F], or [F, draws]."""

    yes1: Float
    yes0: Float
    mean1: Float
    mean0: Float
    square1: Float
    square0: Float


def precision(rates: Rates, base: Float) -> Float:
    """PPV at the share `base` of windows that fire; NaN when the judge says yes to none."""
    with np.errstate(invalid="ignore", divide="ignore"):
        value: Float = base * rates.yes1 / (base * rates.yes1 + (1 - base) * rates.yes0)
    return value


def f1(rates: Rates, base: Float) -> Float:
    value: Float = 2 * base * rates.yes1 / (base * rates.yes1 + (1 - base) * rates.yes0 + base)
    return value


def weighted_correlation(rates: Rates, base: Float) -> Float:
    """Pearson correlation of grade and firing over all windows; NaN for constant grades."""
    mean = base * rates.mean1 + (1 - base) * rates.mean0
    variance = base * rates.square1 + (1 - base) * rates.square0 - mean**2
    scale = np.sqrt(np.clip(variance, 0, None) * base * (1 - base))
    with np.errstate(invalid="ignore", divide="ignore"):
        value: Float = np.where(scale > 1e-9, base * (1 - base) * (rates.mean1 - rates.mean0) / scale, np.nan)
    return value


CORPUS_METRICS: dict[str, Callable[[Rates, Float], Float]] = {
    "precision": precision,
    "f1": f1,
    "weighted_correlation": weighted_correlation,
}


@dataclass(frozen=True)
class Noise:
    """Random weights of documents, the same for all features (each feature's interval stands for itself)."""

    documents: Float32  # [N_PARTS, n, draws] exponential: the k-th document of a part
    zero: Float32  # [N_PARTS, draws] gamma(1/2): the pseudo-item's half at grade 0
    one: Float32  # [N_PARTS, draws] gamma(1/2): its half at grade 1


def draw_noise(width: int, *, draws: int, generator: np.random.Generator) -> Noise:
    return Noise(
        documents=generator.standard_exponential((N_PARTS, width, draws), dtype=np.float32),
        zero=generator.standard_gamma(0.5, (N_PARTS, draws), dtype=np.float32),
        one=generator.standard_gamma(0.5, (N_PARTS, draws), dtype=np.float32),
    )


def corpus_intervals(design: Design, grades: Float, base: Float, noise: Noise) -> dict[str, Interval]:
    """Interval of each of CORPUS_METRICS, by feature. `grades` [m] of the answered items; memory [F, draws]."""
    rates = _draw_rates(design, grades, noise)
    column = base[:, None].astype(np.float32)
    return {name: _limits(metric(rates, column)) for name, metric in CORPUS_METRICS.items()}


def _limits(draws: npt.NDArray[np.floating]) -> Interval:
    """Quantiles of each row. A row with an undefined draw has none."""
    draws = np.sort(draws, axis=1)
    last = draws.shape[1] - 1
    tail = (1 - LEVEL) / 2
    low, high = draws[:, int(np.floor(tail * last))], draws[:, int(np.ceil((1 - tail) * last))]
    undefined = np.isnan(draws[:, -1])
    return Interval(np.where(undefined, np.nan, low).astype(float), np.where(undefined, np.nan, high).astype(float))


def _draw_rates(design: Design, grades: Float, noise: Noise) -> Rates:
    firing, silent = design.share(ABOVE), design.share(SILENT)
    shape = (3, len(firing), noise.zero.shape[1])
    total1, mean1, mean0 = np.zeros(shape[1:], np.float32), np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    for part in range(N_PARTS):
        share = np.nan_to_num((firing if part in ABOVE else silent)[:, part])[:, None].astype(np.float32)
        if not share.any():
            continue
        count, *values = _weighted_sums(design, grades, noise, part)
        if part in ABOVE:
            total1 += count
            divisor = np.maximum(count, 1e-30)
        else:
            divisor = count + noise.zero[part] + noise.one[part]
        for total, value in zip(mean1 if part in ABOVE else mean0, values, strict=True):
            total += share * (value if part in ABOVE else value + noise.one[part]) / divisor
    mean1 = (total1 * mean1 + noise.one[0]) / (total1 + noise.zero[0] + noise.one[0])
    return Rates(mean1[0], mean0[0], mean1[1], mean0[1], mean1[2], mean0[2])


def _weighted_sums(design: Design, grades: Float, noise: Noise, part: int) -> list[Float32]:
    """[F, draws] randomly weighted sums over one part: of items, of yes answers, of grades, of squared grades."""
    chosen = design.group_cell % N_PARTS == part
    row, rank = design.group_cell[chosen] // N_PARTS, design.group_rank[chosen]
    width = int(rank.max(initial=0)) + 1
    sums = []
    for values in (np.ones_like(grades), (grades >= 0.5).astype(float), grades, grades**2):
        by_document = np.bincount(design.group, weights=values, minlength=len(design.group_cell))
        dense = np.zeros((design.shape[0], width), np.float32)
        dense[row, rank] = by_document[chosen]
        sums.append(dense @ noise.documents[part, :width])
    return sums


def average_precision_interval(design: Design, grades: Float, noise: Noise, *, rows: Bool, draws: int) -> Interval:
    """Interval of the average precision of the chosen `rows` [F]; NaN elsewhere."""
    chosen = np.flatnonzero(rows)
    low, high = np.full(len(rows), np.nan), np.full(len(rows), np.nan)
    step = max(_CELLS // (4 * draws * (design.shape[1] + 4)), 1)
    table = _ItemTable.build(design, grades)
    for start in range(0, len(chosen), step):
        some = chosen[start : start + step]
        low[some], high[some] = _limits(_draw_average_precision(design, table, noise, some, draws))
    return Interval(low, high)


class _ItemTable(NamedTuple):
    """Answered items of the design as [F, n] again; -1 is no item."""

    part: Int
    rank: Int  # number of the item's document within its part
    grade: Float

    @classmethod
    def build(cls, design: Design, grades: Float) -> _ItemTable:
        part, rank = np.full(design.shape, -1), np.zeros(design.shape, np.int64)
        grade = np.full(design.shape, -1.0)
        part.ravel()[design.index] = design.part
        rank.ravel()[design.index] = design.group_rank[design.group]
        grade.ravel()[design.index] = grades
        return cls(part, rank, grade)


def _draw_average_precision(design: Design, table: _ItemTable, noise: Noise, rows: Int, draws: int) -> Float32:
    """[rows, draws]; four pseudo-columns hold the firing and silent pseudo-items at grades 1 and 0."""
    part, rank, grade = table.part[rows], table.rank[rows], table.grade[rows]
    k, n = part.shape
    factor, pseudo = _item_factors(design, part, rank, noise, rows, draws)
    weight = np.empty((k, n + 4, draws), np.float32)
    weight[:, :n] = noise.documents[np.maximum(part, 0), rank, :draws]
    weight[:, :n] *= factor[np.arange(k)[:, None], part]
    weight[:, n:] = pseudo
    grade = np.concatenate([grade, np.broadcast_to([1.0, 1.0, 0.0, 0.0], (k, 4))], axis=1)
    fires = np.concatenate([(part >= 0) & (part < 5), np.broadcast_to([True, False, True, False], (k, 4))], axis=1)
    ranking = sort_rows(-grade)
    weight = np.take_along_axis(weight, ranking.order[:, :, None], axis=1)
    through = np.cumsum(weight, axis=1)
    weight *= np.take_along_axis(fires, ranking.order, axis=1)[:, :, None]
    hits_through = np.cumsum(weight, axis=1)
    last = ranking.last[:, :, None]
    share = np.take_along_axis(hits_through, last, axis=1) / np.maximum(np.take_along_axis(through, last, axis=1), 1e-30)
    value: Float32 = (weight * share).sum(axis=1) / hits_through[:, -1]
    return value


def _item_factors(
    design: Design, part: Int, rank: Int, noise: Noise, rows: Int, draws: int
) -> tuple[Float32, Float32]:
    """Windows that one unit of random weight stands for: [rows, N_PARTS + 1, draws] (the last is 0, for no item),
    and the windows of the pseudo-items [rows, 4, draws]."""
    factor = np.zeros((len(rows), N_PARTS + 1, draws), np.float32)
    total1 = np.zeros((len(rows), draws), np.float32)
    silent1, silent0 = np.zeros_like(total1), np.zeros_like(total1)
    one, zero = noise.one[:, :draws], noise.zero[:, :draws]
    for p in range(N_PARTS):
        mass = design.mass[rows, p, None].astype(np.float32)
        dense = np.zeros((len(rows), part.shape[1]), np.float32)
        np.add.at(dense, (np.nonzero(part == p)[0], rank[part == p]), 1)
        count = dense @ noise.documents[p, :, :draws]
        if p in ABOVE:
            total1 += count
            factor[:, p] = mass / np.maximum(count, 1e-30)
        else:
            factor[:, p] = mass / (count + zero[p] + one[p])
            silent1 += factor[:, p] * one[p]
            silent0 += factor[:, p] * zero[p]
    fires = design.mass[rows][:, list(ABOVE)].sum(axis=1)[:, None].astype(np.float32)
    joined = total1 + zero[0] + one[0]
    factor[:, list(ABOVE)] *= (total1 / joined)[:, None]
    return factor, np.stack([fires * one[0] / joined, silent1, fires * zero[0] / joined, silent0], axis=1)
