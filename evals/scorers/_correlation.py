"""Pearson correlation of predicted levels and true activations over the tokens of many windows, with its interval.

Tokens of a document are alike, so the interval leaves out one document at a time (jackknife) on Fisher's scale, where
correlations are nearly normal; its width is never zero.
"""

from __future__ import annotations

from math import atanh, nan, sqrt, tanh

import numpy as np
from scipy.special import stdtrit

from evals.intervals import TAIL
from evals.items import Float, Int
from evals.trial_measures import Measure, unscored
from evals.trials import Judged

FEWEST_DOCUMENTS = 3
"""Below, there is a value and no interval."""
LIMIT = 0.999999


def correlate(judged: Judged, *, weighted: bool = False) -> Measure:
    """Correlation over all tokens of the answered windows together; with `weighted`, windows weigh what they stand for."""
    lost = int((~judged.answered).sum())
    some = judged.take(judged.answered)
    if len(some) == 0:
        return unscored("no window of these strata was answered", n_lost=lost, chance=0.0)
    level, activation = (
        np.concatenate([np.array(v, np.float64) for v in of]) for of in (some.levels, some.activations)
    )
    length = [len(levels) for levels in some.levels]
    weight = np.repeat(some.weight if weighted else np.ones(len(some)), length)
    document = np.repeat(some.document, length)
    reason = _undefined(level, activation)
    if reason is not None:
        return unscored(reason, n_items=len(some), n_lost=lost, chance=0.0)
    value = pearson(level, activation, weight)
    if np.isnan(value):
        return unscored("windows without weight", n_items=len(some), n_lost=lost, chance=0.0)
    low, high = _interval(value, level, activation, weight, document)
    return Measure(value, low, high, len(some), lost, None, 0.0)


def pearson(x: Float, y: Float, weight: Float) -> float:
    """Weighted Pearson correlation, sign kept; NaN where one of the two does not vary."""
    share = weight / weight.sum() if weight.sum() > 0 else weight
    dx, dy = x - share @ x, y - share @ y
    variance = float(share @ dx**2) * float(share @ dy**2)
    return float(np.clip(share @ (dx * dy) / sqrt(variance), -1, 1)) if variance > 0 else nan


def _undefined(level: Float, activation: Float) -> str | None:
    if np.ptp(level) == 0:
        return f"every predicted level was {level[0]:g}"
    if np.ptp(activation) == 0:
        return "the feature is equally active on every token of these windows"
    return None


def _interval(value: float, level: Float, activation: Float, weight: Float, document: Int) -> tuple[float, float]:
    left_out = []
    for one in np.unique(document):
        kept = document != one
        r = pearson(level[kept], activation[kept], weight[kept])
        if not np.isnan(r):
            left_out.append(atanh(float(np.clip(r, -LIMIT, LIMIT))))
    n = len(left_out)
    if n < FEWEST_DOCUMENTS:
        return nan, nan
    z = np.array(left_out)
    error = max(sqrt((n - 1) / n * float(((z - z.mean()) ** 2).sum())), 1 / sqrt(len(level)))
    half = float(stdtrit(n - 1, 1 - TAIL)) * error
    center = atanh(float(np.clip(value, -LIMIT, LIMIT)))
    return min(tanh(center - half), value), max(tanh(center + half), value)
