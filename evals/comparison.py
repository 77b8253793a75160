"""Two ways of labeling compared: the mean difference of scores, how sure it is, and how many features would settle it.

Paired when both have scores of the same features on the same windows by the same judge: the differences are then free
of what features and windows do to scores. Unpaired for two dictionaries, whose features have nothing in common. Arrays
in, numbers out; who A and B are is the caller's business.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr, ndtri
from scipy.stats import rankdata

from evals.intervals import TAIL
from evals.items import Float

DRAWS = 10_000
"""Of the bootstrap, and of the permutations where there are too many to try all."""
EXACT_FEATURES = 13
"""Up to so many features all sign flips are tried: 8,192."""
MANY_FEATURES = 20_000
"""From so many on a side, intervals and p come from the normal distribution: drawing gives the same and takes minutes."""
MIN_FEATURES = 2
_CELLS = 4_000_000


@dataclass(frozen=True)
class Difference:
    """A minus B, in units of the metric."""

    paired: bool
    n_a: int
    n_b: int
    """Features with a score; the same ones when paired."""
    mean_a: float
    mean_b: float
    difference: float
    low: float
    high: float
    """95 % interval of the mean difference, by drawing features again."""
    p: float
    """Two-sided: as large a difference when signs, or sides, are dealt at random."""
    win_rate: float
    """Share of features, or of pairs of features when unpaired, where A is higher; ties count half."""
    deviation: float
    """Standard deviation of a feature's difference; unpaired, of the difference of two drawn at random."""

    def features_needed(self, resolved: float) -> int:
        """Features at which a difference of `resolved` would be found four times in five, at 5 %.

        n = (2.8 sd / delta)^2: 2.8 = 1.96 + 0.84, the normal quantiles of 97.5 % and 80 %.
        """
        return max(int(np.ceil((2.8 * self.deviation / resolved) ** 2)), MIN_FEATURES)


def compare_paired(a: Float, b: Float, *, generator: np.random.Generator) -> Difference:
    """Scores of the same features. Features without a score on one side must be left out before.

    Raise ValueError for fewer than two features, NaN, or different lengths.
    """
    if len(a) != len(b):
        raise ValueError(f"{len(a)} and {len(b)} scores cannot be paired")
    _check(a, b)
    d = a - b
    low, high = _bootstrap_interval([d], generator)
    return Difference(
        paired=True,
        n_a=len(a),
        n_b=len(b),
        mean_a=float(a.mean()),
        mean_b=float(b.mean()),
        difference=float(d.mean()),
        low=low,
        high=high,
        p=_sign_flip_p(d, generator),
        win_rate=float(((d > 0) + 0.5 * (d == 0)).mean()),
        deviation=float(d.std(ddof=1)),
    )


def compare_unpaired(a: Float, b: Float, *, generator: np.random.Generator) -> Difference:
    """Scores of different features. Raise ValueError for fewer than two on a side, or NaN."""
    _check(a, b)
    low, high = _bootstrap_interval([a, -b], generator)
    ranks = rankdata(np.concatenate([a, b]))[: len(a)]
    return Difference(
        paired=False,
        n_a=len(a),
        n_b=len(b),
        mean_a=float(a.mean()),
        mean_b=float(b.mean()),
        difference=float(a.mean() - b.mean()),
        low=low,
        high=high,
        p=_permutation_p(a, b, generator),
        win_rate=float((ranks.sum() - len(a) * (len(a) + 1) / 2) / (len(a) * len(b))),
        deviation=float(np.sqrt(a.var(ddof=1) + b.var(ddof=1))),
    )


def holm(p: Sequence[float]) -> list[float]:
    """p-values corrected for as many as there are, so that one false finding among all is as rare as p says (Holm 1979)."""
    values = np.asarray(p, np.float64)
    order = np.argsort(values, kind="stable")
    stepped = np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1))
    corrected = np.empty_like(values)
    corrected[order] = np.minimum(stepped, 1.0)
    return [float(value) for value in corrected]


def _check(a: Float, b: Float) -> None:
    if min(len(a), len(b)) < MIN_FEATURES:
        raise ValueError(f"a comparison needs {MIN_FEATURES} scored features on each side, not {len(a)} and {len(b)}")
    if np.isnan(a).any() or np.isnan(b).any():
        raise ValueError("unscored features must be left out before they are compared")


def _bootstrap_interval(sides: Sequence[Float], generator: np.random.Generator) -> tuple[float, float]:
    """Percentile interval of the sum of the sides' means, features drawn again within each side.

    Deviations are stretched by sqrt(n / (n - 1)). Where all features of a side agree, their number alone says how far they
    can be trusted: an interval of zero width would claim that a few equal differences are equal forever.
    """
    center = float(sum(side.mean() for side in sides))
    deviations = np.zeros(DRAWS)
    floor = 0.0
    if min(len(side) for side in sides) >= MANY_FEATURES:
        reach = float(ndtri(1 - TAIL)) * _standard_error(sides)
        return center - reach, center + reach
    for side in sides:
        n = len(side)
        deviations += np.sqrt(n / (n - 1)) * (_drawn_means(side, generator) - side.mean())
        floor += (0.5 / (n + 1)) ** 2 / n if float(side.std()) < 1e-9 else 0.0
    low, high = np.quantile(deviations, [TAIL, 1 - TAIL])
    least = float(ndtri(1 - TAIL) * np.sqrt(floor))
    return center + min(float(low), -least), center + max(float(high), least)


def _standard_error(sides: Sequence[Float]) -> float:
    """Of the sum of the sides' means."""
    return float(np.sqrt(sum(side.var(ddof=1) / len(side) for side in sides)))


def _normal_p(difference: float, error: float) -> float:
    """Two-sided; no smaller than drawing could find."""
    if error == 0:
        return 1.0 if difference == 0 else 1 / (1 + DRAWS)
    return max(2 * float(ndtr(-abs(difference) / error)), 1 / (1 + DRAWS))


def _drawn_means(values: Float, generator: np.random.Generator) -> Float:
    """[DRAWS] means of as many values, drawn with replacement."""
    n = len(values)
    step = max(_CELLS // n, 1)
    parts = [
        values[generator.integers(0, n, (min(step, DRAWS - start), n))].mean(axis=1) for start in range(0, DRAWS, step)
    ]
    return np.concatenate(parts)


def _sign_flip_p(d: Float, generator: np.random.Generator) -> float:
    """Share of sign flips whose mean is at least as far from 0; exact for few features."""
    if len(d) >= MANY_FEATURES:
        return _normal_p(float(d.mean()), _standard_error([d]))
    n, seen = len(d), abs(float(d.sum())) * (1 - 1e-12)
    if n <= EXACT_FEATURES:
        signs = 1 - 2 * ((np.arange(2**n)[:, None] >> np.arange(n)) & 1)
        return float((np.abs(signs @ d) >= seen).mean())
    step, hits = max(_CELLS // n, 1), 0
    for start in range(0, DRAWS, step):
        flips = generator.integers(0, 2, (min(step, DRAWS - start), n), dtype=np.int8)
        hits += int((np.abs(d.sum() - 2 * (flips @ d)) >= seen).sum())
    return (1 + hits) / (1 + DRAWS)


def _permutation_p(a: Float, b: Float, generator: np.random.Generator) -> float:
    """Share of ways to deal the scores to two sides of these sizes whose means are at least as far apart."""
    if min(len(a), len(b)) >= MANY_FEATURES:
        return _normal_p(float(a.mean() - b.mean()), _standard_error([a, b]))
    both, n = np.concatenate([a, b]), len(a)
    centered = both - both.mean()
    seen = abs(float(centered[:n].sum())) * (1 - 1e-12)
    hits = sum(abs(float(generator.permutation(centered)[:n].sum())) >= seen for _ in range(DRAWS))
    return (1 + hits) / (1 + DRAWS)
