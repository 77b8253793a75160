"""The estimators behind the metrics: one function a family, from a sampling design and grades to values.

Formulas are those of the module docstring of `evals.metrics`. Whether a value may be shown is decided there; here a
value without items is NaN or meaningless.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from evals.average_precision import average_precision_interval
from evals.corpus import CORPUS_METRICS, Noise, Rates, corpus_intervals
from evals.intervals import (
    Estimate,
    Interval,
    bounded_interval,
    combine,
    jeffreys,
    spearman_interval,
    stratified_mean,
)
from evals.items import Bool, Float, Items
from evals.ranks import Sorted, average_precision, weight_below, weighted_spearman
from evals.strata import ABOVE, HARD_PARTS, N_PARTS, RANDOM, SILENT, Design
from evals.unscored import Reasons, same_strength
from labeling.types import QUANTILES

MIN_PANEL = 400
"""Answered panel windows below which precision and average precision are not identifiable."""
_AP_DRAWS = 200
_RANDOM = (RANDOM,)
_BALANCED = (ABOVE, HARD_PARTS, _RANDOM)
_CORPUS = (ABOVE, SILENT)


class Score(NamedTuple):
    """One metric at one threshold for a chunk of features."""

    value: Float
    interval: Interval | None
    parts: tuple[tuple[int, ...], ...]
    """Sides that need windows, and an answered item in each stratum that has any."""
    influence: Float | None = None
    """[m] what each answered item adds to the value; None where it is not (nearly) linear in the items."""
    problem: Reasons | None = None
    """Further reasons to have no value; the interval stays."""


@dataclass(frozen=True)
class Judged:
    """Items of a chunk, laid out at one threshold, with the order of their grades and activations."""

    items: Items
    design: Design
    by_grade: Sorted
    by_activation: Sorted

    @cached_property
    def grade(self) -> Float:
        """[m] of the answered items in a part."""
        grade: Float = self.items.probability.ravel()[self.design.index]
        return grade

    @cached_property
    def yes(self) -> Float:
        return (self.grade >= 0.5).astype(np.float64)

    @cached_property
    def firing(self) -> Bool:
        return self.design.member(ABOVE)

    def mean(self, values: Float, parts: tuple[int, ...]) -> Estimate:
        return stratified_mean(self.design, values, self.design.share(parts))

    def weight(self, parts: tuple[int, ...]) -> Float:
        """[F, n] weights of the items of some parts; a row sums to 1."""
        share = np.nan_to_num(self.design.share(parts)) / np.maximum(self.design.answered, 1)
        return self.spread(share.ravel()[self.design.cell])

    def spread(self, values: Float) -> Float:
        """[F, n] numbers of the answered items, 0 elsewhere."""
        dense = np.zeros(self.design.shape)
        dense.ravel()[self.design.index] = values
        return dense

    def gathered(self, dense: Float) -> Float:
        """[m] the answered items' entries of an [F, n] array."""
        values: Float = dense.ravel()[self.design.index]
        return values


def estimate_all(judged: Judged, noise: Noise | None) -> dict[str, Score]:
    """Every metric by name; without `noise` no intervals are made."""
    with_interval = noise is not None
    scores = {
        **_balanced(judged, with_interval),
        "auroc_hard": _auroc(judged, HARD_PARTS, with_interval),
        "auroc_random": _auroc(judged, _RANDOM, with_interval),
        **_recalls(judged, with_interval),
        "activation_recall": _activation_recall(judged, with_interval),
        "balanced_accuracy": _balanced_accuracy(judged, with_interval),
        **_at_base_rate(judged, noise),
        **_average_precision(judged, noise),
        "spearman_firing": _spearman(judged, with_interval),
        "brier_skill": _brier_skill(judged, with_interval),
    }
    return scores


def _bounded(estimate: Estimate, with_interval: bool) -> Interval | None:
    return bounded_interval(estimate) if with_interval else None


def _balanced(judged: Judged, with_interval: bool) -> dict[str, Score]:
    firing = judged.mean(judged.grade, ABOVE)
    hard = _against(firing, judged.mean(judged.grade, HARD_PARTS), with_interval, HARD_PARTS)
    random = _against(firing, judged.mean(judged.grade, _RANDOM), with_interval, _RANDOM)
    return {"balanced_hard": hard, "balanced_random": random, "headline": _smaller(hard, random, judged.design)}


def _smaller(a: Score, b: Score, design: Design) -> Score:
    """The minimum of two scores, with [smaller low, smaller high] and the influence of the smaller one."""
    interval = None
    if a.interval is not None and b.interval is not None:
        interval = Interval(*(np.minimum(x, y) for x, y in zip(a.interval, b.interval, strict=True)))
    influence = None
    if a.influence is not None and b.influence is not None:
        influence = np.where((a.value <= b.value)[design.row], a.influence, b.influence)
    return Score(np.minimum(a.value, b.value), interval, _BALANCED, influence)


def _against(firing: Estimate, silent: Estimate, with_interval: bool, side: tuple[int, ...]) -> Score:
    """(mean over firing + 1 - mean over silent) / 2."""
    value = (firing.mean + 1 - silent.mean) / 2
    interval = None
    if with_interval:
        interval = combine(
            value, (firing.mean, bounded_interval(firing), 0.5), (silent.mean, bounded_interval(silent), -0.5)
        )
    return Score(value, interval, (ABOVE, side), 0.5 * (firing.influence - silent.influence))


def _auroc(judged: Judged, side: tuple[int, ...], with_interval: bool) -> Score:
    """Mean placement of firing among silent grades; its interval adds both sides' placements (DeLong et al. 1988).

    The pseudo-item of a side has grade 0 and grade 1, so its placement runs between those of the two grades.
    """
    firing_weight, silent_weight = judged.weight(ABOVE), judged.weight(side)
    among_silent = judged.gathered(weight_below(judged.by_grade, silent_weight))
    among_firing = 1 - judged.gathered(weight_below(judged.by_grade, firing_weight))
    firing = judged.mean(among_silent, ABOVE)
    silent = judged.mean(among_firing, side)
    interval = None
    if with_interval:
        grade = judged.items.probability
        ends = [[(w * (grade == end)).sum(axis=1) / 2 for end in (0.0, 1.0)] for w in (silent_weight, firing_weight)]
        interval = combine(
            firing.mean,
            (firing.mean, bounded_interval(firing, ends[0][0], 1 - ends[0][1]), 1.0),
            (silent.mean, bounded_interval(silent, ends[1][1], 1 - ends[1][0]), 1.0),
        )
    return Score(firing.mean, interval, (ABOVE, side), firing.influence + silent.influence)


def _recalls(judged: Judged, with_interval: bool) -> dict[str, Score]:
    scores = {}
    hits, problem = judged.design.sums(judged.yes), same_strength(judged.design)
    for q, name in enumerate(QUANTILES):
        estimate = judged.mean(judged.yes, (q,))
        interval = jeffreys(hits[:, q], judged.design.answered[:, q]) if with_interval else None
        scores[f"recall_{name}"] = Score(estimate.mean, interval, ((q,),), estimate.influence, problem)
    estimate = judged.mean(judged.yes, ABOVE)
    return {**scores, "recall": Score(estimate.mean, _bounded(estimate, with_interval), (ABOVE,), estimate.influence)}


def _activation_recall(judged: Judged, with_interval: bool) -> Score:
    """Share of the activation that the grades account for: mean of activation x grade over mean of activation.

    A ratio of two means: its variance is that of the items' linearized values, its effective number that of weights times
    activations (Kish).
    """
    activation = judged.gathered(judged.items.activation)
    whole, part = judged.mean(activation, ABOVE), judged.mean(activation * judged.grade, ABOVE)
    with np.errstate(invalid="ignore", divide="ignore"):
        value = part.mean / whole.mean
        linear = activation * (judged.grade - value[judged.design.row]) / whole.mean[judged.design.row]
    estimate = judged.mean(np.nan_to_num(linear + value[judged.design.row]), ABOVE)
    carried = judged.gathered(judged.weight(ABOVE)) * activation
    by_document = np.bincount(judged.design.group, weights=carried, minlength=len(judged.design.group_cell))
    row = judged.design.group_cell // N_PARTS
    total, squares = (np.bincount(row, weights=by_document**k, minlength=len(value)) for k in (1, 2))
    units = total**2 / np.maximum(squares, 1e-300)
    estimate = estimate._replace(mean=value, units=np.maximum(units, 1e-12))
    return Score(value, _bounded(estimate, with_interval), (ABOVE,), estimate.influence)


def _balanced_accuracy(judged: Judged, with_interval: bool) -> Score:
    """(recall + 1 - false positive rate over all windows that do not fire) / 2."""
    return _against(judged.mean(judged.yes, ABOVE), judged.mean(judged.yes, SILENT), with_interval, SILENT)


def _at_base_rate(judged: Judged, noise: Noise | None) -> dict[str, Score]:
    base = _base_rate(judged)
    estimates = [judged.mean(v, p) for v in (judged.yes, judged.grade, judged.grade**2) for p in _CORPUS]
    rates = Rates(*(e.mean for e in estimates))
    intervals = corpus_intervals(judged.design, judged.grade, base, noise) if noise is not None else {}
    scores = {}
    for name, metric in CORPUS_METRICS.items():
        value = metric(rates, base)
        interval = _containing(intervals.get(name), value)
        influence = _linearized(metric, rates, base, estimates, judged)
        scores[name] = Score(value, interval, _CORPUS, influence, _corpus_problem(name, value, judged, rates, base))
    return scores


def _base_rate(judged: Judged) -> Float:
    """Share of windows that fire, from the exact counts."""
    mass = judged.design.mass
    base: Float = mass[:, ABOVE].sum(axis=1) / np.maximum(mass.sum(axis=1), 1)
    return base


def _containing(interval: Interval | None, value: Float) -> Interval | None:
    """Widen an interval to hold the value; a value that does not exist has none."""
    if interval is None:
        return None
    return Interval(np.minimum(interval.low, value), np.maximum(interval.high, value))


def _linearized(
    metric: Callable[[Rates, Float], Float], rates: Rates, base: Float, estimates: list[Estimate], judged: Judged
) -> Float:
    """Influence of each item by the delta method, with numerical derivatives; 0 where there is none."""
    step = 1e-5
    center = metric(rates, base)
    total = np.zeros(len(judged.design.row))
    for k, estimate in enumerate(estimates):
        moved = Rates(*(r + step if i == k else r for i, r in enumerate(rates)))
        slope = np.nan_to_num((metric(moved, base) - center) / step)
        total += slope[judged.design.row] * estimate.influence
    return total


def _corpus_problem(name: str, value: Float, judged: Judged, rates: Rates, base: Float) -> Reasons:
    problem = np.full(len(value), None, dtype=object)
    if name == "weighted_correlation":
        problem[np.isnan(value)] = "the judge gave every window the same grade"
    if name == "precision":
        problem = _precision_problem(judged, rates, base)
        problem[np.isnan(value)] = "the judge said yes to no window"
    return problem


def _precision_problem(judged: Judged, rates: Rates, base: Float) -> Reasons:
    """No number where the sample cannot tell: few panel windows, or no false positive among too few silent windows.

    Rule of three: none in n only shows a rate below 3 / n.
    """
    problem = _panel_problem(judged)
    silent = judged.design.answered[:, SILENT].sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        needed = 3 * (1 - base) / (base * rates.yes1)
    for row in np.flatnonzero((rates.yes0 == 0) & (silent < needed) & np.isfinite(needed)):
        if problem[row] is None:
            problem[row] = (
                f"not identifiable: no false positive among {silent[row]} silent windows, and "
                f"{int(np.ceil(needed[row])):,} are needed at a base rate of {base[row]:.2%}"
            )
    return problem


def _panel_problem(judged: Judged) -> Reasons:
    panel = (judged.items.panel & judged.items.answered).sum(axis=1)
    problem = np.full(len(panel), None, dtype=object)
    for row in np.flatnonzero(panel < MIN_PANEL):
        problem[row] = f"not identifiable: {panel[row]} answered panel windows, at least {MIN_PANEL} are needed"
    return problem


def _average_precision(judged: Judged, noise: Noise | None) -> dict[str, Score]:
    """Average precision, and what multiple of the base rate it is."""
    base = _base_rate(judged)[:, None]
    firing, silent = base * judged.weight(ABOVE), (1 - base) * judged.weight(SILENT)
    value = average_precision(judged.by_grade, firing, silent)
    problem = _panel_problem(judged)
    interval = None
    if noise is not None:
        enough = (problem == None) & ~np.isnan(value)  # noqa: E711  elementwise
        draws = min(_AP_DRAWS, noise.zero.shape[1])
        interval = average_precision_interval(judged.design, judged.grade, noise, rows=enough, draws=draws)
        interval = _containing(interval, np.where(enough, value, np.nan))
    with np.errstate(invalid="ignore", divide="ignore"):
        times = 1 / base[:, 0]
        lifted = None if interval is None else Interval(interval.low * times, interval.high * times)
        lift = Score(value * times, lifted, _CORPUS, problem=problem)
    return {"average_precision": Score(value, interval, _CORPUS, problem=problem), "average_precision_lift": lift}


def _spearman(judged: Judged, with_interval: bool) -> Score:
    weight = judged.weight(ABOVE)
    value = weighted_spearman(judged.by_grade, judged.by_activation, weight)
    count = (weight > 0).sum(axis=1)
    problem = np.full(len(value), None, dtype=object)
    problem[np.isnan(value)] = "all grades or all activations of the firing windows are the same"
    for row in np.flatnonzero(count < 5):
        problem[row] = f"{count[row]} answered firing windows; a rank correlation needs 5"
    interval = None
    if with_interval:
        units = judged.mean(judged.grade, ABOVE).units
        interval = spearman_interval(np.where(count < 5, np.nan, value), units)
    return Score(value, interval, (ABOVE,), problem=problem)


def _brier_skill(judged: Judged, with_interval: bool) -> Score:
    """1 - B / 0.25, B the mean squared error with firing, hard and random windows weighing 1/2, 1/4, 1/4."""
    error = (judged.grade - judged.firing) ** 2
    share = sum(w * judged.design.share(p) for w, p in zip((0.5, 0.25, 0.25), _BALANCED, strict=True))
    estimate = stratified_mean(judged.design, error, np.asarray(share))
    interval = None
    if with_interval:
        low, high = bounded_interval(estimate)
        interval = Interval(1 - 4 * high, 1 - 4 * low)
    return Score(1 - 4 * estimate.mean, interval, _BALANCED, -4 * estimate.influence)
