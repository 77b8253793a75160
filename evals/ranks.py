"""Weighted midranks, and what is made from them: AUROC placements, Spearman's correlation, average precision.

Rows are features and are sorted once; ties are one step. Weights are any non-negative numbers. No intervals here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from evals.items import Float, Int


@dataclass(frozen=True)
class Sorted:
    """Each row's order by ascending number, NaN last, with the limits of its ties. All [F, n], in sorted places."""

    order: Int
    first: Int
    """Place of the first item of the tie."""
    last: Int
    """Place of the last item of the tie."""

    def restored(self, values: Float) -> Float:
        """Put numbers that stand in sorted places back to the items' places."""
        out = np.empty_like(values)
        np.put_along_axis(out, self.order, values, axis=1)
        return out


def sort_rows(numbers: npt.NDArray[np.floating]) -> Sorted:
    """Sort each row of [F, n]."""
    order = np.argsort(numbers, axis=1, kind="stable")
    ranked = np.take_along_axis(numbers, order, axis=1)
    n = numbers.shape[1]
    place = np.broadcast_to(np.arange(n), numbers.shape)
    step = np.ones(numbers.shape, dtype=bool)
    step[:, 1:] = ranked[:, 1:] != ranked[:, :-1]
    first = np.maximum.accumulate(np.where(step, place, 0), axis=1)
    ends = np.ones(numbers.shape, dtype=bool)
    ends[:, :-1] = step[:, 1:]
    last = np.minimum.accumulate(np.where(ends, place, n - 1)[:, ::-1], axis=1)[:, ::-1]
    return Sorted(order, first, last)


def weight_below(ranking: Sorted, weight: Float) -> Float:
    """[F, n] weight of the items strictly below each item plus half the weight of its tie."""
    through = np.cumsum(np.take_along_axis(weight, ranking.order, axis=1), axis=1)
    before = np.concatenate([np.zeros((len(weight), 1)), through], axis=1)
    middle = (np.take_along_axis(before, ranking.first, axis=1) + np.take_along_axis(through, ranking.last, axis=1)) / 2
    return ranking.restored(middle)


def weighted_pearson(x: Float, y: Float, weight: Float) -> Float:
    """[F] correlation of rows; NaN where one side is constant."""
    with np.errstate(invalid="ignore", divide="ignore"):
        w = weight / weight.sum(axis=1, keepdims=True)
        dx = x - (w * x).sum(axis=1, keepdims=True)
        dy = y - (w * y).sum(axis=1, keepdims=True)
        scale = np.sqrt((w * dx**2).sum(axis=1) * (w * dy**2).sum(axis=1))
        rho: Float = np.where(scale > 1e-12, (w * dx * dy).sum(axis=1) / scale, np.nan)
    return rho


def weighted_spearman(x: Sorted, y: Sorted, weight: Float) -> Float:
    """[F] rank correlation with weighted midranks; weight 0 counts for nothing. NaN where a side is constant."""
    return weighted_pearson(weight_below(x, weight), weight_below(y, weight), weight)


def average_precision(ranking: Sorted, firing: Float, silent: Float) -> Float:
    """[F] area under the precision-recall steps, from the weights of firing and silent items; ties are one step.

    AP = sum over steps of (R_k - R_{k-1}) P_k, both with weights.
    """
    hits = np.take_along_axis(firing, ranking.order, axis=1)
    false = np.take_along_axis(silent, ranking.order, axis=1)
    total_hits, total_false = hits.sum(axis=1, keepdims=True), false.sum(axis=1, keepdims=True)
    # Weight at or above each item: everything but what stands before the first item of its tie.
    hits_above = total_hits - np.take_along_axis(np.cumsum(hits, axis=1) - hits, ranking.first, axis=1)
    false_above = total_false - np.take_along_axis(np.cumsum(false, axis=1) - false, ranking.first, axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        precision = np.where(hits > 0, hits_above / (hits_above + false_above), 0.0)
        value: Float = (hits * precision).sum(axis=1) / total_hits[:, 0]
    return value
