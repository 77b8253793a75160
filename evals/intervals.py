"""Intervals for means of bounded numbers from stratified, document-clustered samples; never of zero width.

The plain bootstrap gives an interval of zero width when all sampled items agree, and covers too rarely near 0 and 1.
All intervals here therefore rest on one idea, Jeffreys' prior: the sample is joined by one pseudo-item that is half the
worst and half the best possible value. Nothing here knows features, labels or metrics; arrays are vectorised over rows.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.special import betaincinv, ndtri, stdtrit

from evals.items import Float, Int
from evals.strata import N_PARTS, Design

LEVEL = 0.95
TAIL = (1 - LEVEL) / 2


class Estimate(NamedTuple):
    """A stratified mean with what an interval needs. All [F]."""

    mean: Float
    variance: Float
    """Between documents within parts; 0 when all items agree."""
    units: Float
    """Effective number of independent items: documents in each part, discounted for unequal weights (Kish)."""
    freedom: Float
    """Degrees of freedom of the variance."""
    influence: Float
    """[m] what each item adds to the mean beyond its part's average."""


class Interval(NamedTuple):
    low: Float
    high: Float


def jeffreys(successes: Int | Float, n: Int | Float) -> Interval:
    """Jeffreys interval of a proportion; closed at 0 when nothing succeeded and at 1 when everything did.

    Source: Brown, Cai and DasGupta (2001), Interval estimation for a binomial proportion.
    """
    k, n = np.asarray(successes, np.float64), np.asarray(n, np.float64)
    low = np.where(k == 0, 0.0, betaincinv(k + 0.5, n - k + 0.5, TAIL))
    high = np.where(k == n, 1.0, betaincinv(k + 0.5, n - k + 0.5, 1 - TAIL))
    unknown = n == 0
    return Interval(np.where(unknown, np.nan, low), np.where(unknown, np.nan, high))


def stratified_mean(design: Design, values: Float, share: Float) -> Estimate:
    """Mean of one number an item over parts that weigh `share` [F, N_PARTS]; rows sum to 1.

    Documents are the units of the variance, within parts, rescaled by d / (d - 1). A part with items of a single
    document takes the largest variance that a number in 0-1 with this mean can have.
    """
    used = np.nan_to_num(share)
    answered = np.maximum(design.answered, 1)
    part_mean = design.sums(values) / answered
    mean = np.where(np.isnan(share).any(axis=1), np.nan, (used * part_mean).sum(axis=1))
    weight = (used / answered).ravel()[design.cell]
    influence = weight * (values - part_mean.ravel()[design.cell])
    documents = np.maximum(design.documents, 1)
    return Estimate(
        mean=mean,
        variance=_document_variance(design, influence, used, mean),
        units=1 / np.maximum((used**2 / documents).sum(axis=1), 1e-12),
        freedom=np.maximum(((documents - 1) * (used > 0)).sum(axis=1), 1).astype(np.float64),
        influence=influence,
    )


def _document_variance(design: Design, influence: Float, used: Float, mean: Float) -> Float:
    by_document = np.bincount(design.group, weights=influence, minlength=len(design.group_cell))
    squares = np.bincount(design.group_cell, weights=by_document**2, minlength=used.size).reshape(-1, N_PARTS)
    documents = design.documents
    several = squares * documents / np.maximum(documents - 1, 1)
    single = used**2 * np.clip(mean * (1 - mean), 0, None)[:, None]
    variance: Float = np.where(documents > 1, several, single).sum(axis=1)
    return variance


def bounded_interval(estimate: Estimate, worst: Float | float = 0.0, best: Float | float = 1.0) -> Interval:
    """Beta interval of a mean of numbers between `worst` and `best`.

    The pseudo-item joins mean and variance; the beta distribution with that mean and variance gives the limits, with
    its size reduced for the degrees of freedom (Korn and Graubard 1998). For a proportion of independent items this is
    the Jeffreys interval. As there, a sample that lies wholly at one end includes that end.
    """
    span = np.asarray(best, np.float64) - worst
    mean = np.clip((estimate.mean - worst) / span, 0, 1)
    n = estimate.units
    center = (n * mean + 0.5) / (n + 1)
    scatter = n * (n * estimate.variance / span**2 + (mean - center) ** 2)
    pseudo = 0.5 * (center**2 + (1 - center) ** 2)
    variance = (scatter + pseudo) / (n + 1) ** 2
    for_freedom = (ndtri(1 - TAIL) / stdtrit(np.maximum(estimate.freedom, 1), 1 - TAIL)) ** 2
    size = center * (1 - center) / variance * for_freedom
    low = betaincinv(center * size, (1 - center) * size, TAIL)
    high = betaincinv(center * size, (1 - center) * size, 1 - TAIL)
    low = np.where(mean <= 0, 0.0, np.minimum(low, mean))
    high = np.where(mean >= 1, 1.0, np.maximum(high, mean))
    return Interval(worst + span * low, worst + span * high)


def combine(value: Float, *parts: tuple[Float, Interval, float]) -> Interval:
    """Interval of a weighted sum of independent estimates, each `(mean, interval, weight)`, around `value`.

    Square-and-add of the distances to the limits (Newcombe 1998, method 10; Zou and Donner 2008).
    """
    down = np.zeros_like(value)
    up = np.zeros_like(value)
    for mean, interval, weight in parts:
        to_low, to_high = weight * (interval.low - mean), weight * (interval.high - mean)
        down += np.minimum(to_low, to_high) ** 2
        up += np.maximum(to_low, to_high) ** 2
    return Interval(value - np.sqrt(down), value + np.sqrt(up))


def spearman_interval(rho: Float, units: Float) -> Interval:
    """Fisher interval of a rank correlation with the standard error of Bonett and Wright (2000); NaN below 5 units."""
    z = np.arctanh(np.clip(rho, -0.999999, 0.999999))
    error = np.sqrt((1 + rho**2 / 2) / np.where(units >= 5, units - 3, np.nan))
    half = ndtri(1 - TAIL) * error
    return Interval(np.tanh(z - half), np.maximum(np.tanh(z + half), rho))
