"""Means over features with intervals: one line of the scoreboard a metric.

The interval is the closed form of the two-level bootstrap, features outside and items inside, with documents that
several features share (the panel) drawn jointly. Estimated scores vary over features by their true differences and by
the noise of their items at once, so the variance between features holds both; what documents add by moving many
features together is added (two-way clustering, Cameron, Gelbach and Miller 2011). Limits use Student's t, because a
percentile bootstrap of 20 control features is too narrow.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri, stdtrit

from evals.intervals import TAIL
from evals.items import Float, Int
from evals.metrics import MetricTable
from labeling.types import QUANTILES

LARGEST = 1.0
UNLIMITED = ("average_precision_lift",)
"""Metrics that can be above LARGEST."""
CORRELATIONS = ("top_and_random", "random", "panel", *QUANTILES)
SMALLEST = {
    **dict.fromkeys(("weighted_correlation", "spearman_firing", "correlation"), -1.0),
    **{f"correlation_{of}": -1.0 for of in CORRELATIONS},
    "brier_skill": -3.0,
}
"""Least possible value where it is not 0."""


@dataclass(frozen=True)
class GroupTable:
    """Means over the scored features of one group, `R` rows as in the MetricTable."""

    metric: tuple[str, ...]  # [R]
    tau_share: tuple[float, ...]  # [R]
    n_features: Int  # [R] features with a value
    n_unscored: Int  # [R] features without
    mean: Float  # [R] NaN where no feature has a value
    low: Float  # [R] NaN with fewer than two features and no interval of the one
    high: Float  # [R]


def score_groups(table: MetricTable) -> GroupTable:
    """Average every metric over the table's features. Make one table for each group to compare."""
    scored = ~np.isnan(table.value)
    n = scored.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(n > 0, np.where(scored, table.value, 0.0).sum(axis=1) / n, np.nan)
    half = _half_width(table, scored, n, mean)
    least = np.array([SMALLEST.get(metric, 0.0) for metric in table.metric])
    most = np.array([np.inf if metric in UNLIMITED else LARGEST for metric in table.metric])
    low, high = np.maximum(mean - half, least), np.minimum(mean + half, most)
    single = n == 1
    low[single] = _only(table.low, scored)[single]
    high[single] = _only(table.high, scored)[single]
    return GroupTable(
        metric=table.metric,
        tau_share=table.tau_share,
        n_features=n,
        n_unscored=table.value.shape[1] - n,
        mean=mean,
        low=low,
        high=high,
    )


def _half_width(table: MetricTable, scored: np.ndarray, n: Int, mean: Float) -> Float:
    """t times the standard error; NaN below two features. Never 0: see the two floors."""
    deviation = np.where(scored, table.value - mean[:, None], 0.0)
    several = np.where(n > 1, n, 2)
    between = (deviation**2).sum(axis=1) / (several - 1) / several
    floor = np.maximum(_within(table, scored, several), (0.5 / (several + 1)) ** 2 / several)
    error = np.sqrt(np.maximum(between, floor) + table.shared_variance)
    return np.where(n > 1, stdtrit(several - 1.0, 1 - TAIL) * error, np.nan)


def _within(table: MetricTable, scored: np.ndarray, n: Int) -> Float:
    """Variance of the mean from the features' own intervals: what is left when all features score alike."""
    half = np.where(scored, (table.high - table.low) / 2 / ndtri(1 - TAIL), np.nan)
    known = ~np.isnan(half)
    mean_square = np.where(known, half, 0.0) ** 2
    variance: Float = mean_square.sum(axis=1) / np.maximum(known.sum(axis=1), 1) / n
    return variance


def _only(limit: Float, scored: np.ndarray) -> Float:
    """[R] the limit of each row's first scored feature."""
    first: Float = limit[np.arange(len(limit)), scored.argmax(axis=1)]
    return first
