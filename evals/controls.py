"""Labels that must score low: whose label stands in for a feature's own, and what a score means against them.

Assignments are made of feature ids only; judging them is the same as judging true labels. `random_weights` and
`random_directions` are whole feature sets of their own and are not assigned here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from evals.items import Bool, Float, Int, Items
from labeling.types import STRATA, Label

LabelControl = Literal["shuffled", "other_feature", "neighbor", "generic", "over_broad", "no_label"]
LABEL_CONTROLS: tuple[LabelControl, ...] = get_args(LabelControl)

FIXED_LABELS: Mapping[LabelControl, Label] = {"generic": Label("any text"), "over_broad": Label("any English text")}
"""Labels that are true of every window, or of nearly every one, and tell nothing about a feature."""
PERMUTED = "permuted"
"""The control that asks nobody: a feature's own grades, dealt out again among its windows."""


@dataclass(frozen=True)
class Assignment:
    """Which label each control feature gets instead of its own. Features without a partner are left out."""

    control: LabelControl
    feature: Int  # [m] ids, ascending
    source: Int | None  # [m] the feature whose label is judged; None for the fixed labels and `no_label`

    @property
    def label(self) -> Label | None:
        """The fixed label of the control; None for `no_label`, and where labels come from `source`."""
        return FIXED_LABELS.get(self.control)


def density_terciles(firing_rate: Float) -> Int:
    """[F] 0, 1 or 2: equal-count thirds by firing rate, ties by position."""
    rank = np.argsort(np.argsort(firing_rate, kind="stable"), kind="stable")
    return rank * 3 // max(len(firing_rate), 1)


def assign_controls(
    feature: Int,
    *,
    firing_rate: Float,
    neighbors: Int,
    labeled: Bool,
    limit: int,
    generator: np.random.Generator,
) -> dict[LabelControl, Assignment]:
    """Assign every control to at most `limit` labeled features, the same for all controls.

    `feature` [F] ids; `firing_rate` [F]; `neighbors` [F, k] ids of decoder neighbors, nearest first, -1 where there are
    fewer; `labeled` [F] whether the feature has a label. The same seed gives the same assignment.
    """
    order = np.argsort(feature)
    order = order[labeled[order]]
    ids, rate, near = feature[order], firing_rate[order], neighbors[order]
    shuffled = _derangement(density_terciles(rate), generator)
    chosen = np.sort(generator.permutation(len(ids))[:limit])
    sources: dict[LabelControl, Int] = {
        "shuffled": np.where(shuffled >= 0, ids[shuffled], -1)[chosen],
        "other_feature": np.array([_other_feature(i, ids, rate, near[i]) for i in chosen], dtype=np.int64),
        "neighbor": np.array([_first_labeled(near[i], ids) for i in chosen], dtype=np.int64),
    }
    found: dict[LabelControl, Assignment] = {}
    for control in LABEL_CONTROLS:
        if control not in sources:
            found[control] = Assignment(control, ids[chosen], None)
            continue
        has = sources[control] >= 0
        found[control] = Assignment(control, ids[chosen][has], sources[control][has])
    return found


def _derangement(group: Int, generator: np.random.Generator) -> Int:
    """[F] another position within the same group, a permutation without fixed points; -1 when there is only one.

    A random order is shifted by one. When a group has a single member, groups are dropped.
    """
    target = np.full(len(group), -1)
    if len(group) < 2:
        return target
    if np.bincount(group)[np.unique(group)].min() < 2:
        group = np.zeros_like(group)
    for value in np.unique(group):
        members = generator.permutation(np.flatnonzero(group == value))
        target[members] = np.roll(members, 1)
    return target


def _other_feature(position: int, ids: Int, rate: Float, neighbors: Int) -> int:
    """The feature nearest in log firing rate that is neither the feature itself nor a decoder neighbor; else -1."""
    distance = np.abs(np.log(np.maximum(rate, 1e-12)) - np.log(max(float(rate[position]), 1e-12)))
    distance[position] = np.inf
    distance[np.isin(ids, neighbors)] = np.inf
    nearest = int(np.argmin(distance))
    return int(ids[nearest]) if np.isfinite(distance[nearest]) else -1


def _first_labeled(neighbors: Int, ids: Int) -> int:
    known = neighbors[np.isin(neighbors, ids)]
    return int(known[0]) if len(known) else -1


def permute_grades(items: Items, generator: np.random.Generator) -> Items:
    """Deal each feature's grades out again among its windows: which one fires no longer tells anything about a grade.

    What a judge's grades look like stays as it was, lost ones included; `top` windows, which no metric counts, stay out.
    """
    movable = (items.stratum >= 0) & (items.stratum != STRATA.index("top"))
    place = np.argsort(~movable, axis=1, kind="stable")
    drawn = np.argsort(np.where(movable, generator.random(movable.shape), 2.0), axis=1, kind="stable")
    probability = items.probability.copy()
    moved = np.arange(items.width) < movable.sum(axis=1)[:, None]
    row = np.broadcast_to(np.arange(len(items))[:, None], moved.shape)[moved]
    probability[row, place[moved]] = items.probability[row, drawn[moved]]
    return items.with_probability(probability)


def pooled_p_values(scores: Float, tercile: Int, null_scores: Float, null_tercile: Int) -> Float:
    """p = (1 + #{null >= score}) / (1 + R), the null pooled over the control features of a density tercile.

    Unscored values (NaN) are left out of the null and stay NaN.
    """
    p = np.full(len(scores), np.nan)
    for value in np.unique(tercile):
        null = np.sort(null_scores[(null_tercile == value) & ~np.isnan(null_scores)])
        own = tercile == value
        p[own] = (1 + len(null) - np.searchsorted(null, scores[own], side="left")) / (1 + len(null))
    return np.where(np.isnan(scores), np.nan, p)


def benjamini_hochberg(p: Float) -> Float:
    """q-values that control the false discovery rate; NaN stays NaN and does not count as a test."""
    from scipy.stats import false_discovery_control

    q = np.full(len(p), np.nan)
    known = ~np.isnan(p)
    if known.any():
        q[known] = false_discovery_control(p[known])
    return q
