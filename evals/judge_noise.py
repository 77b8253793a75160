"""How much a judge agrees with itself: the same windows and labels, asked again in other company and order.

Yes/no answers give the flip rate, Cohen's kappa and PABAK; feature scores give the intraclass correlation and the
variance that asking again adds. Intervals are over features, whose windows share requests. Two judges are compared in the
same numbers: `agreement` takes their answers as it takes two epochs of one. It knows no tables.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations
from typing import NamedTuple

import numpy as np
from scipy.special import fdtri, ndtri

from evals.intervals import TAIL, Estimate, bounded_interval
from evals.items import Float, Int


class Ranged(NamedTuple):
    """A number with its 95 % interval; NaN where it is not known."""

    value: float
    low: float
    high: float


FEWEST_CORRELATED = 4
LIMIT = 0.999999
UNKNOWN = Ranged(np.nan, np.nan, np.nan)


@dataclass(frozen=True)
class Agreement:
    """Of yes/no answers of two epochs to the same questions; with more than two, the mean over their pairs."""

    n_features: int
    n_windows: int
    """Windows that were answered in every epoch."""
    flip_rate: Ranged
    """Share 0-1 of windows whose answer changed between yes and no."""
    kappa: Ranged
    """Agreement beyond what the shares of yes give by chance; NaN when all answers are the same. It collapses when
    nearly all are: read it beside `pabak`."""
    pabak: Ranged
    """Kappa with even shares, 1 - 2 x flip rate (Byrt, Bishop and Carlin 1993)."""


def agreement(feature: Int, yes: Float) -> Agreement:
    """`feature` [n] of each window; `yes` [n, epochs] 1 or 0, NaN where an answer is lost. Lost windows are left out."""
    known = ~np.isnan(yes).any(axis=1)
    feature, yes = feature[known], yes[known]
    if not len(yes):
        return Agreement(0, 0, UNKNOWN, UNKNOWN, UNKNOWN)
    pairs = list(combinations(range(yes.shape[1]), 2))
    flips = np.mean([yes[:, a] != yes[:, b] for a, b in pairs], axis=0)
    expected = float(np.mean([_by_chance(yes[:, a].mean(), yes[:, b].mean()) for a, b in pairs]))
    flip = _clustered_rate(feature, flips)
    return Agreement(
        n_features=len(np.unique(feature)),
        n_windows=len(yes),
        flip_rate=flip,
        kappa=_mirrored(flip, lambda rate: 1 - rate / (1 - expected)) if expected < 1 else UNKNOWN,
        pabak=_mirrored(flip, lambda rate: 1 - 2 * rate),
    )


def _by_chance(first: float, second: float) -> float:
    """Agreement of two judges who say yes so often, at random."""
    return first * second + (1 - first) * (1 - second)


def _mirrored(rate: Ranged, change: Callable[[float], float]) -> Ranged:
    """A falling function of the flip rate, its limits exchanged. Kappa's holds the shares of yes fixed."""
    return Ranged(change(rate.value), change(rate.high), change(rate.low))


def _clustered_rate(feature: Int, values: Float) -> Ranged:
    """Mean of numbers 0-1 with features as the units of its variance; a beta interval that never has zero width."""
    _, group = np.unique(feature, return_inverse=True)
    n_groups, n = int(group.max()) + 1, len(values)
    mean = values.mean()
    sums = np.bincount(group, weights=values - mean)
    variance = float((sums**2).sum()) / n**2 * n_groups / max(n_groups - 1, 1)
    simple = mean * (1 - mean) / n
    sizes = np.bincount(group)
    # Windows of one feature count in full only as far as they vary on their own.
    units = n if variance <= simple else max(n * simple / variance, n**2 / float((sizes.astype(float) ** 2).sum()))
    found = bounded_interval(
        Estimate(
            mean=np.array([mean]),
            variance=np.array([max(variance, simple if n_groups == 1 else 0.0)]),
            units=np.array([float(units)]),
            freedom=np.array([max(n_groups - 1.0, 1.0)]),
            influence=np.zeros(0),
        )
    )
    return Ranged(float(mean), float(found.low[0]), float(found.high[0]))


class Repeatability(NamedTuple):
    """Of feature scores that were computed once an epoch."""

    n_features: int
    icc: Ranged
    """ICC(2,1): share of the variance of one epoch's scores that is between features."""
    judge_variance: float
    """Variance of a feature's score between epochs; NaN with fewer than two epochs."""


def repeatability(scores: Float) -> Repeatability:
    """`scores` [F, epochs]; features with a missing score are left out. NaN with fewer than three features.

    ICC(2,1) of Shrout and Fleiss (1979): two-way random effects, absolute agreement, one measurement; limits from F with
    Satterthwaite's degrees of freedom (McGraw and Wong 1996).
    """
    kept = scores[~np.isnan(scores).any(axis=1)]
    n, k = kept.shape
    if k < 2 or n < 1:
        return Repeatability(n, UNKNOWN, np.nan)
    variance = float(kept.var(axis=1, ddof=1).mean())
    return Repeatability(n, _icc(kept) if n >= 3 else UNKNOWN, variance)


def _icc(scores: Float) -> Ranged:
    n, k = scores.shape
    mean, of_feature, of_epoch = scores.mean(), scores.mean(axis=1), scores.mean(axis=0)
    between = k * float(((of_feature - mean) ** 2).sum()) / (n - 1)
    epochs = n * float(((of_epoch - mean) ** 2).sum()) / (k - 1)
    rest = scores - of_feature[:, None] - of_epoch + mean
    error = float((rest**2).sum()) / ((n - 1) * (k - 1))
    # The same answer every time leaves no variance at all; a pseudo-error of a thousandth of a score keeps a width.
    error = max(error, 1e-6)
    denominator = between + (k - 1) * error + k * (epochs - error) / n
    if between <= 0 or denominator <= 0:
        return UNKNOWN
    value = (between - error) / denominator
    a = k * value / (n * (1 - value)) if value < 1 else np.inf
    b = 1 + k * value * (n - 1) / (n * (1 - value)) if value < 1 else np.inf
    freedom = (a * epochs + b * error) ** 2 / ((a * epochs) ** 2 / (k - 1) + (b * error) ** 2 / ((n - 1) * (k - 1)))
    upper_f = fdtri(n - 1, freedom, 1 - TAIL)
    lower_f = fdtri(freedom, n - 1, 1 - TAIL)
    spread = k * epochs + (k * n - k - n) * error
    low = n * (between - upper_f * error) / (upper_f * spread + n * between)
    high = n * (lower_f * between - error) / (spread + n * lower_f * between)
    return Ranged(float(value), float(max(low, -1.0)), float(min(high, 1.0)))


class Concordance(NamedTuple):
    """Of the scores that two judges give the same labels."""

    n_features: int
    correlation: Ranged
    """Pearson's, with Fisher's interval; not known with fewer than four features, or where a judge scores all the same."""
    disattenuated: float
    """The correlation that two judges without noise of their own would have (Spearman 1904); NaN where a judge's
    reliability is not known or not above 0. Chance can bring it above 1."""


def concordance(a: Float, b: Float, *, icc_a: float, icc_b: float) -> Concordance:
    """`a`, `b` [F] scores of the same labels, NaN where one is missing; `icc_a`, `icc_b` from each judge's own repeats."""
    known = ~(np.isnan(a) | np.isnan(b))
    a, b, n = a[known], b[known], int(known.sum())
    if n < FEWEST_CORRELATED or np.ptp(a) == 0 or np.ptp(b) == 0:
        return Concordance(n, UNKNOWN, np.nan)
    r = float(np.clip(np.corrcoef(a, b)[0, 1], -1, 1))
    center, half = np.arctanh(np.clip(r, -LIMIT, LIMIT)), float(ndtri(1 - TAIL)) / np.sqrt(n - 3)
    limits = Ranged(r, min(float(np.tanh(center - half)), r), max(float(np.tanh(center + half)), r))
    reliable = icc_a > 0 and icc_b > 0  # NaN is neither
    return Concordance(n, limits, r / float(np.sqrt(icc_a * icc_b)) if reliable else np.nan)
