"""Scores drawn toward the mean of their group by how much of their spread is noise: empirical Bayes.

S_hat = mu + rel (S - mu), rel = true variance / (true variance + noise variance of the score). The luckiest of many
noisy scores is mostly lucky; a shrunk score is the best guess of what the label would score again on other windows
(Efron and Morris 1975; variances by moments). It knows scores and intervals, not what they are of.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from evals.intervals import TAIL, Interval
from evals.items import Float

MIN_FEATURES = 5
"""Scored features below which variances between them are not told apart, and nothing is shrunk."""


@dataclass(frozen=True)
class Variances:
    """Where the spread of a group's scores comes from. None where it is not known."""

    feature: float
    """Of true scores between features."""
    item: float
    """Of drawing other windows for a feature, already divided by how many there are."""
    judge: float | None
    """Of asking the judge again about the same windows; None where nobody did."""

    @property
    def noise(self) -> float:
        return self.item + (self.judge or 0.0)

    @property
    def reliability(self) -> float:
        """Share 0-1 of the variance between scores that is not noise."""
        total = self.feature + self.noise
        return self.feature / total if total > 0 else 0.0


@dataclass(frozen=True)
class Shrunk:
    """One entry a feature; NaN where the score or its interval is."""

    mean: float
    variances: Variances
    value: Float
    interval: Interval


def shrink(
    value: Float,
    low: Float,
    high: Float,
    *,
    judge_variance: float | None = None,
    least: float = 0.0,
    largest: float = 1.0,
) -> Shrunk | None:
    """Shrink the scores of a group; None below MIN_FEATURES scored features.

    Intervals hold the noise of the windows and, as the judge answers each window anew, that of the judge as well:
    `judge_variance`, measured by asking again, is the part of it that would change on the same windows.
    """
    known = ~np.isnan(value) & ~np.isnan(low) & ~np.isnan(high)
    n = int(known.sum())
    if n < MIN_FEATURES:
        return None
    noise = ((high - low) / 2 / ndtri(1 - TAIL)) ** 2
    noise = np.maximum(noise, judge_variance or 0.0)
    mean, total, within = float(value[known].mean()), float(value[known].var(ddof=1)), float(noise[known].mean())
    variances = Variances(
        feature=max(total - within, 0.0), item=max(within - (judge_variance or 0.0), 0.0), judge=judge_variance
    )
    share = variances.feature / (variances.feature + noise)
    center = mean + share * (value - mean)
    # What is left of the feature's own noise, and what the mean of the group is not known to.
    variance = share * noise + (1 - share) ** 2 * (variances.feature + within) / n
    half = ndtri(1 - TAIL) * np.sqrt(variance)
    limits = Interval(np.maximum(center - half, least), np.minimum(center + half, largest))
    unknown = ~known
    for numbers in (center, *limits):
        numbers[unknown] = np.nan
    return Shrunk(mean, variances, center, limits)
