"""From answered trials to numbers with intervals: proportions, weighted means, and tables of them.

Every number has a value or a reason why it has none, counts what was lost, and knows what a guess would get. The
formulas are those of `evals.intervals`; nothing here knows how a question was asked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import nan

import numpy as np

from evals.intervals import Estimate, bounded_interval, jeffreys
from evals.items import Float, Int, Items
from evals.metrics import MetricTable, score_features
from evals.trials import Bool, Judged
from labeling.types import TAU_SHARE

ARRAYS = ("value", "low", "high", "reason", "n_items", "n_lost", "shared_variance")
"""Fields of a MetricTable with one row a metric, besides its names."""
DRAWS = 200
"""Random weightings behind the intervals of metrics at a base rate."""


@dataclass(frozen=True)
class Measure:
    """One metric of one label."""

    value: float
    low: float
    high: float
    n_items: int
    """Answered trials that it rests on."""
    n_lost: int
    reason: str | None = None
    """Why there is no value."""
    chance: float = nan
    """What a guess gets; NaN where nobody can say."""


@dataclass(frozen=True)
class Measured:
    """Metrics of `F` labels, and what a guess would get."""

    table: MetricTable
    chance: Float  # [R, F] rows as in the table


def unscored(reason: str, *, n_items: int = 0, n_lost: int = 0, chance: float = nan) -> Measure:
    return Measure(nan, nan, nan, n_items, n_lost, reason, chance)


def missing(judged: Judged, *, needs: str) -> str | None:
    """Why nothing can be measured on these trials: none could be made, or all answers are lost; else None.

    `needs` says what a trial takes, as in `5 firing windows`.
    """
    if len(judged) == 0:
        return f"no trial could be made: it takes {needs}, and {judged.firing_windows:,} windows of the split fire"
    if not judged.answered.any():
        return f"all {len(judged)} answers were lost ({judged.reason[0]})"
    return None


def share_right(judged: Judged, *, needs: str, chance: float) -> Measure:
    """Share of right answers among the answered trials, with Jeffreys' interval."""
    lost = int((~judged.answered).sum())
    reason = missing(judged, needs=needs)
    if reason is not None:
        return unscored(reason, n_lost=lost, chance=chance)
    n, right = int(judged.answered.sum()), int(judged.right.sum())
    limits = jeffreys(np.array([right]), np.array([n]))
    return Measure(right / n, float(limits.low[0]), float(limits.high[0]), n, lost, None, chance)


def chance_of(judged: Judged) -> float:
    """Share that a guess gets right where each trial is a choice of `options`; NaN without any trial."""
    return float(np.mean(1 / judged.options)) if len(judged) and (judged.options > 0).all() else nan


def weighted_mean(values: Float, weight: Float, document: Int, *, n_lost: int, chance: float = nan) -> Measure:
    """Mean of numbers between 0 and 1, documents as units, with the beta interval of `bounded_interval`.

    There must be at least one number.
    """
    share = weight / weight.sum()
    mean = float((share * values).sum())
    influence = share * (values - mean)
    groups, group = np.unique(document, return_inverse=True)
    n = len(groups)
    squares = float((np.bincount(group, weights=influence) ** 2).sum())
    estimate = Estimate(
        mean=np.array([mean]),
        variance=np.array([squares * n / (n - 1) if n > 1 else mean * (1 - mean)]),
        units=1 / (np.bincount(group, weights=share) ** 2).sum(keepdims=True),
        freedom=np.array([max(n - 1, 1)], dtype=np.float64),
        influence=influence,
    )
    limits = bounded_interval(estimate)
    return Measure(mean, float(limits.low[0]), float(limits.high[0]), len(values), n_lost, None, chance)


def mean_of(judged: Judged, values: Float, *, needs: str, chance: float = nan) -> Measure:
    """`weighted_mean` of one number a trial over the answered ones; unscored with a reason where there is none."""
    lost, answered = int((~judged.answered).sum()), judged.answered
    reason = missing(judged, needs=needs)
    if reason is not None:
        return unscored(reason, n_lost=lost, chance=chance)
    return weighted_mean(
        values[answered], judged.weight[answered], judged.document[answered], n_lost=lost, chance=chance
    )


def table_of(names: Sequence[str], measures: Sequence[Mapping[str, Measure]]) -> Measured:
    """Put the metrics of several labels into one table; each label has all of `names`."""

    def numbers(field: str, dtype: type) -> np.ndarray:
        return np.array([[getattr(of[name], field) for of in measures] for name in names], dtype).reshape(
            len(names), len(measures)
        )

    table = MetricTable(
        metric=tuple(names),
        tau_share=(TAU_SHARE,) * len(names),
        value=numbers("value", np.float64),
        low=numbers("low", np.float64),
        high=numbers("high", np.float64),
        reason=numbers("reason", object),
        n_items=numbers("n_items", np.int64),
        n_lost=numbers("n_lost", np.int64),
        shared_variance=np.zeros(len(names)),
    )
    return Measured(table, numbers("chance", np.float64))


def window_metrics(
    judged: Sequence[Judged],
    items_of: Callable[[Sequence[Judged]], Items],
    *,
    names: Mapping[str, str],
    chance: Mapping[str, float],
    needs: str,
) -> Measured:
    """Metrics of graded windows for trials that are windows with a grade. `names` is theirs to ours.

    `items_of` turns labels with at least one answer into items; the others are unscored with the reason of `missing`.
    """
    reasons = [missing(of, needs=needs) for of in judged]
    usable = [place for place, reason in enumerate(reasons) if reason is None]
    table = None
    if usable:
        items = items_of([judged[place] for place in usable])
        table = score_features(items, generator=np.random.default_rng(0), draws=DRAWS, tau_shares=(TAU_SHARE,))
    measures = []
    for place, reason in enumerate(reasons):
        lost = int((~judged[place].answered).sum())
        if table is None or reason is not None:
            nothing = {new: unscored(reason or "", n_lost=lost, chance=chance.get(new, nan)) for new in names.values()}
            measures.append(nothing)
        else:
            column = usable.index(place)
            measures.append({new: _cell(table, old, column, chance.get(new, nan)) for old, new in names.items()})
    return table_of(tuple(names.values()), measures)


def _cell(table: MetricTable, metric: str, column: int, chance: float) -> Measure:
    row = table.row(metric)
    return Measure(
        float(table.value[row, column]),
        float(table.low[row, column]),
        float(table.high[row, column]),
        int(table.n_items[row, column]),
        int(table.n_lost[row, column]),
        table.reason[row, column],
        chance,
    )


def beside(one: Measured, other: Measured) -> Measured:
    """The metrics of two tables of the same labels in one."""
    first, second = one.table, other.table

    def both(name: str) -> np.ndarray:
        return np.concatenate([getattr(first, name), getattr(second, name)])

    table = MetricTable(
        metric=first.metric + second.metric,
        tau_share=first.tau_share + second.tau_share,
        **{name: both(name) for name in ARRAYS},
    )
    return Measured(table, np.concatenate([one.chance, other.chance]))


def with_headline(measured: Measured, metric: str) -> Measured:
    """Repeat one metric as `headline`, the row that people see first."""
    row = measured.table.row(metric)
    table = measured.table
    only = MetricTable(
        metric=("headline",),
        tau_share=(table.tau_share[row],),
        **{name: getattr(table, name)[row : row + 1] for name in ARRAYS},
    )
    return beside(Measured(only, measured.chance[row : row + 1]), measured)


def of_variants(judged: Judged, *variants: str) -> Judged:
    chosen: Bool = np.isin(judged.variant, variants)
    return judged.take(chosen)
