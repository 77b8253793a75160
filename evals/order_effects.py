"""What a judge's grades owe to where a window stands in its request, not to the window: one linear regression.

From judgments of known truth to four effects with intervals. A feature's windows are dealt into requests at random, so
place and company are independent of the truth and their effects can be told from it. Knows no tables and no judge.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from evals.items import Float, Int

EFFECTS = ("drift", "fading", "contrast", "anchoring")


@dataclass(frozen=True)
class Judgments:
    """Judgments of some features, one an entry; every window of a request is among them, lost ones too."""

    feature: Int  # [n]
    request: Int  # [n] the same number for windows of the same request, of one feature
    place: Int  # [n] 1-based
    fires: npt.NDArray[np.bool_]  # [n] the truth
    grade: Float  # [n] 0-100; NaN is lost


@dataclass(frozen=True)
class Effect:
    """A coefficient with its 95 % interval; NaN where the requests are too short or too alike to tell."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class OrderEffects:
    """In points of a grade 0-100."""

    drift: Effect
    """Change of the grade from one place to the next, the mean of firing and silent windows."""
    fading: Effect
    """Change of the gap between firing and silent windows from one place to the next."""
    contrast: Effect
    """Grade after a firing window minus grade after a silent one; negative is contrast, positive is imitation."""
    anchoring: Effect
    """Grade in a request that begins with a firing window minus grade in one that begins with a silent one."""


def measure_order_effects(judged: Judgments) -> OrderEffects:
    """Least squares of grade on truth, place, truth x place, truth of the window before and of the request's first.

    Windows in first place have no window before them and are left out. All columns are centered within features, and
    the standard errors allow for anything shared within a feature (Liang and Zeger 1986), with Student's t on the
    number of features less one.
    """
    before, first = _company(judged)
    used = (judged.place > 1) & ~np.isnan(judged.grade)
    _, feature = np.unique(judged.feature[used], return_inverse=True)
    y, place = judged.fires[used].astype(float), judged.place[used].astype(float)
    effects = np.column_stack([place, (y - 0.5) * place, before[used], first[used]])
    columns = _centered(np.column_stack([effects, y]), feature)
    n_features = int(feature.max(initial=-1)) + 1
    varies = np.abs(columns).max(axis=0, initial=0) > 1e-9  # with one request a feature all windows share the first
    value, wide = np.full((2, columns.shape[1]), np.nan)
    if n_features > 1 and varies.any() and np.linalg.matrix_rank(columns) == varies.sum():
        grade = _centered(judged.grade[used][:, None], feature)[:, 0]
        value[varies], error = _clustered_least_squares(columns[:, varies], grade, feature, n_features)
        wide[varies] = stats.t.ppf(0.975, n_features - 1) * error
    return OrderEffects(
        *(Effect(float(v), float(v - w), float(v + w)) for v, w in list(zip(value, wide, strict=True))[:4])
    )


def _company(judged: Judgments) -> tuple[Float, Float]:
    """Truth [n] of the window before each in its request (0 for the first), and of the first of its request."""
    order = np.lexsort((judged.place, judged.request))
    fires, request = judged.fires[order].astype(float), judged.request[order]
    starts = np.flatnonzero(np.diff(request, prepend=request[:1] - 1))
    first = np.repeat(fires[starts], np.diff(starts, append=len(request)))
    before = np.concatenate([[0.0], fires[:-1]]) if len(fires) else fires
    before[starts] = 0.0
    back = np.argsort(order)
    return before[back], first[back]


def _centered(columns: Float, group: Int) -> Float:
    """Columns [n, k] less their means within each group."""
    sums = np.zeros((int(group.max(initial=-1)) + 1, columns.shape[1]))
    np.add.at(sums, group, columns)
    centered: Float = columns - (sums / np.maximum(np.bincount(group), 1)[:, None])[group]
    return centered


def _clustered_least_squares(columns: Float, y: Float, group: Int, n_groups: int) -> tuple[Float, Float]:
    """Coefficients [k] and their standard errors, residuals correlated at will within a group."""
    inverse = np.linalg.inv(columns.T @ columns)
    value = inverse @ columns.T @ y
    pulls = np.zeros((n_groups, columns.shape[1]))
    np.add.at(pulls, group, columns * (y - columns @ value)[:, None])
    covariance = inverse @ pulls.T @ pulls @ inverse * n_groups / (n_groups - 1)
    return value, np.sqrt(np.diag(covariance))
