"""From raw grades of an offline scorer to probabilities: one rising curve a scorer, fitted on the `select` split.

The curve is shared by all features, so it cannot adapt to a label, and it never falls, so a scorer that grades against
the truth gets no credit: its curve is flat. Probabilities are those of the balanced world in which half of the windows
fire, a quarter are hard negatives and a quarter random ones, which is the world of the graded balanced accuracy.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

import numpy as np

from evals.intervals import Interval, jeffreys
from evals.items import Bool, Float, Int, Items
from evals.strata import ABOVE, HARD_PARTS, RANDOM, lay_out
from labeling.errors import FeatlasError
from labeling.types import JSON, TAU_SHARE

MIN_WINDOWS = 50
"""Answered firing windows, and as many silent ones, below which no curve is fitted."""


class CalibrationError(FeatlasError):
    """Too few judged windows for a curve."""


@dataclass(frozen=True)
class Curve:
    """Piecewise linear and never falling; constant outside its thresholds."""

    thresholds: tuple[float, ...]
    """Raw grades, ascending."""
    values: tuple[float, ...]
    """Probability 0-1 at each threshold."""
    n_items: int
    """Windows it was fitted on."""

    def __call__(self, grades: Float) -> Float:
        """Probabilities of raw grades; a lost grade (NaN) stays lost."""
        probability: Float = np.interp(grades, self.thresholds, self.values)
        return np.where(np.isnan(grades), np.nan, probability)

    def to_json(self) -> JSON:
        return {"thresholds": list(self.thresholds), "values": list(self.values), "n_items": self.n_items}

    @classmethod
    def from_json(cls, value: Mapping[str, JSON]) -> Curve:
        return cls(tuple(value["thresholds"]), tuple(value["values"]), int(value["n_items"]))


@dataclass(frozen=True)
class Reliability:
    """How often windows fire among those with similar probabilities, in the balanced world."""

    edges: Float  # [bins + 1]
    probability: Float  # [bins] weighted mean; NaN where the bin is empty
    observed: Float  # [bins] weighted share that fires
    interval: Interval  # [bins] of observed: Jeffreys with the effective number of windows (Kish)
    weight: Float  # [bins] share of the balanced world
    n_items: Int  # [bins]
    brier_skill: float
    """1 - Brier score / 0.25, where 0.25 is what always saying 0.5 gets."""


@dataclass(frozen=True)
class ReliabilitySums:
    """What a reliability curve is made from. Sums over other features are added: a curve over all needs no more."""

    weight: Float  # [bins] features weigh 1 each
    squared_weight: Float  # [bins]
    probability: Float  # [bins] weighted
    fires: Float  # [bins] weighted
    n_items: Int  # [bins]
    squared_error: float
    """Weighted."""

    def __add__(self, other: ReliabilitySums) -> ReliabilitySums:
        return ReliabilitySums(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    def curve(self) -> Reliability:
        """Raise ValueError when no feature had all kinds of windows."""
        total = float(self.weight.sum())
        if total <= 0:
            raise ValueError("no feature has answered firing, hard and random windows")
        divisor = np.where(self.weight > 0, self.weight, np.nan)
        observed = self.fires / divisor
        units = np.where(self.weight > 0, self.weight**2 / np.maximum(self.squared_weight, 1e-300), 0.0)
        return Reliability(
            edges=np.linspace(0, 1, len(self.weight) + 1),
            probability=self.probability / divisor,
            observed=observed,
            interval=jeffreys(np.nan_to_num(observed) * units, units),
            weight=self.weight / total,
            n_items=self.n_items,
            brier_skill=float(1 - 4 * self.squared_error / total),
        )


def fit_curve(items: Items) -> Curve:
    """Fit the curve on items of the `select` split whose `probability` holds raw grades.

    Features weigh alike; one whose firing, hard or random windows have no answer is left out. Raise CalibrationError
    when fewer than MIN_WINDOWS firing or silent windows remain.
    """
    from sklearn.isotonic import IsotonicRegression

    grades, fires, weight = _balanced_rows(items)
    n_firing, n_silent = int(fires.sum()), int((~fires).sum())
    if min(n_firing, n_silent) < MIN_WINDOWS:
        raise CalibrationError(
            f"A scorer's raw grades cannot be turned into probabilities: {n_firing} firing and {n_silent} silent "
            f"windows of the `select` split were judged, and at least {MIN_WINDOWS} of each are needed. Label more "
            "features or sample more text."
        )
    isotonic = IsotonicRegression(y_min=0.0, y_max=1.0, increasing=True, out_of_bounds="clip")
    isotonic.fit(grades, fires.astype(np.float64), sample_weight=weight)
    return Curve(
        thresholds=tuple(float(x) for x in isotonic.X_thresholds_),
        values=tuple(float(y) for y in isotonic.y_thresholds_),
        n_items=len(grades),
    )


def calibrate(items: Items, curve: Curve) -> Items:
    """The same items with probabilities for raw grades."""
    return items.with_probability(curve(items.probability))


def reliability(items: Items, *, bins: int = 10) -> Reliability:
    """Reliability curve of a judge over all features. Raise ValueError when no feature has all kinds of windows."""
    return reliability_sums(items, bins=bins).curve()


def reliability_sums(items: Items, *, bins: int = 10) -> ReliabilitySums:
    """Sums of one part of the features; those without all kinds of windows count for nothing."""
    probability, fires, weight = _balanced_rows(items)
    which = np.clip(np.searchsorted(np.linspace(0, 1, bins + 1), probability, side="right") - 1, 0, bins - 1)

    def total(values: Float) -> Float:
        return np.bincount(which, weights=values, minlength=bins).astype(np.float64)

    return ReliabilitySums(
        weight=total(weight),
        squared_weight=total(weight**2),
        probability=total(weight * probability),
        fires=total(weight * fires),
        n_items=np.bincount(which, minlength=bins),
        squared_error=float((weight * (probability - fires) ** 2).sum()),
    )


def _balanced_rows(items: Items) -> tuple[Float, Bool, Float]:
    """Grades, whether they fire, and weights: 1/2 firing, 1/4 hard, 1/4 random windows in each feature."""
    design = lay_out(items, share_of_max=TAU_SHARE)
    share = sum(w * design.share(p) for w, p in ((0.5, ABOVE), (0.25, HARD_PARTS), (0.25, (RANDOM,))))
    complete = ~np.isnan(share).any(axis=1) & ~((share > 0) & (design.answered == 0)).any(axis=1)
    per_item = np.where(complete[:, None], share, 0.0) / np.maximum(design.answered, 1)
    weight = per_item.ravel()[design.cell]
    used = weight > 0
    grades: Float = items.probability.ravel()[design.index][used]
    return grades, design.member(ABOVE)[used], weight[used]
