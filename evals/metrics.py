"""From judged items to metrics with intervals, for all features at once (METRICS x TAU_SHARES).

Which items count: every item except `top` counts in its stratum, own and panel items alike, and the answered items of
a stratum stand for all its windows (weight = windows / answered items). Balanced metrics and AUROC use firing windows
against hard, or against random, silent windows; the sources of hard windows count alike there, however many windows
each has (see `evals.strata`). `grey` joins only the corpus metrics. A metric whose strata have no answered item is NaN
with a reason, never a number. Yes means a probability of 0.5 or more.

balanced_*   (weighted mean grade where it fires + 1 - weighted mean grade where silent) / 2; 0.5 says nothing
headline     the smaller of the two; its interval is [smaller low, smaller high]
auroc_*      Mann-Whitney with weights, ties 1/2
recall*      share of yes by activation quantile, and over all firing windows
activation_recall   mean grade of firing windows, each weighing as much as it is active
balanced_accuracy, precision, average_precision, f1, iou, weighted_correlation   over all windows of the split, at base
             rate; average_precision_lift is the multiple of that rate
spearman_firing   grade against activation, firing windows only
brier_skill  1 - Brier score / 0.25 in the balanced world: half firing, a quarter hard, a quarter random
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from evals.corpus import Noise, draw_noise
from evals.estimators import Judged, Score, estimate_all
from evals.items import Bool, Float, Int, Items
from evals.ranks import sort_rows
from evals.strata import Design, lay_out
from evals.unscored import Reasons, reasons_for
from labeling.types import QUANTILES, TAU_SHARE, TAU_SHARES

METRICS = (
    "balanced_hard",
    "balanced_random",
    "headline",
    "auroc_hard",
    "auroc_random",
    *(f"recall_{q}" for q in QUANTILES),
    "recall",
    "activation_recall",
    "balanced_accuracy",
    "precision",
    "average_precision",
    "average_precision_lift",
    "f1",
    "iou",
    "weighted_correlation",
    "spearman_firing",
    "brier_skill",
)
METRICS_VERSION = 2
"""Part of the identity of scores: raise it whenever a formula or a weight changes."""
_CHUNK_ITEMS = 250_000
_CHUNK_FEATURES = 1024


@dataclass(frozen=True)
class MetricTable:
    """`R` rows (a metric at a tau share) x `F` features. NaN in `value` is unscored and has a `reason`."""

    metric: tuple[str, ...]  # [R]
    tau_share: tuple[float, ...]  # [R]
    value: Float  # [R, F]
    low: Float  # [R, F] NaN where there is no interval
    high: Float  # [R, F]
    reason: Reasons  # [R, F] None where scored
    n_items: Int  # [R, F] answered items that the metric rests on
    n_lost: Int  # [R, F] items that would have counted but have no grade
    shared_variance: Float  # [R] part of the variance of the features' mean that comes from documents they share

    def row(self, metric: str, *, tau_share: float = TAU_SHARE) -> int:
        """Row of a metric. Raise KeyError when there is none."""
        for row, key in enumerate(zip(self.metric, self.tau_share, strict=True)):
            if key == (metric, tau_share):
                return row
        raise KeyError(f"no metric {metric!r} at tau share {tau_share}")


def score_features(
    items: Items,
    *,
    generator: np.random.Generator,
    intervals: bool = True,
    draws: int = 1000,
    tau_shares: tuple[float, ...] = TAU_SHARES,
) -> MetricTable:
    """Compute every metric of every feature. `draws` random weightings give the intervals of the corpus metrics.

    Raise ValueError for grades that are not probabilities (calibrate offline scorers first).
    """
    grades = items.probability[items.answered]
    if grades.size and not 0 <= float(grades.min()) <= float(grades.max()) <= 1:
        raise ValueError(f"grades run from {grades.min():g} to {grades.max():g}; probabilities 0 to 1 are needed")
    noise = draw_noise(items.width, draws=draws, generator=generator) if intervals else None
    sharing = _Sharing.of(items)
    step = min(max(_CHUNK_ITEMS // max(items.width, 1), 1), _CHUNK_FEATURES)
    chunks = [
        _score_chunk(items.take(slice(i, i + step)), tau_shares, noise, sharing.rows(slice(i, i + step)))
        for i in range(0, max(len(items), 1), step)
    ]
    return _joined(chunks, tau_shares)


class _Chunk(NamedTuple):
    value: Float
    low: Float
    high: Float
    reason: Reasons
    n_items: Int
    n_lost: Int
    document_sums: Float  # [R, documents] influence of each document, over features
    own_squares: Float  # [R] the same squared within features


class _Sharing(NamedTuple):
    """Documents numbered from 0 without gaps, over all features."""

    document: Int  # [F, n]
    own_group: Int  # [F, n] number of the document within the feature; `rows` makes it unique over features
    n_documents: int

    @classmethod
    def of(cls, items: Items) -> _Sharing:
        codes, number = np.unique(items.document, return_inverse=True)
        document = number.reshape(items.document.shape)
        # The first column of a document names its group within a feature.
        order = np.argsort(document, axis=1, kind="stable")
        ranked = np.take_along_axis(document, order, axis=1)
        new = np.ones(document.shape, dtype=bool)
        new[:, 1:] = ranked[:, 1:] != ranked[:, :-1]
        group = np.empty_like(document)
        np.put_along_axis(group, order, np.cumsum(new, axis=1) - 1, axis=1)
        return cls(document, group, len(codes))

    def rows(self, rows: slice) -> _Sharing:
        group = self.own_group[rows]
        offset = np.arange(len(group))[:, None] * group.shape[1]
        return _Sharing(self.document[rows], group + offset, self.n_documents)


def _score_chunk(items: Items, tau_shares: tuple[float, ...], noise: Noise | None, sharing: _Sharing) -> _Chunk:
    by_grade, by_activation = sort_rows(items.probability), sort_rows(items.activation)
    rows = []
    for share in tau_shares:
        design = lay_out(items, share_of_max=share)
        scores = estimate_all(Judged(items, design, by_grade, by_activation), noise)
        rows += [_finished(scores[name], items, design, share, sharing) for name in METRICS]
    return _Chunk(*(np.stack(column) for column in zip(*rows, strict=True)))


def _finished(score: Score, items: Items, design: Design, share: float, sharing: _Sharing) -> _Chunk:
    """One row: a missing stratum takes value and interval away, a further problem the value alone."""
    missing = reasons_for(items, design, score.parts, share_of_max=share)
    impossible = missing != None  # noqa: E711  elementwise
    reason = missing if score.problem is None else np.where(impossible, missing, score.problem)
    unscored = reason != None  # noqa: E711
    low, high = score.interval if score.interval is not None else (np.nan, np.nan)
    used = sorted({part for side in score.parts for part in side})
    documents, own = _shared_sums(score, design, sharing, ~unscored)
    return _Chunk(
        value=np.where(unscored, np.nan, score.value),
        low=np.where(impossible, np.nan, low),
        high=np.where(impossible, np.nan, high),
        reason=reason,
        n_items=design.answered[:, used].sum(axis=1),
        n_lost=(design.drawn - design.answered)[:, used].sum(axis=1),
        document_sums=documents,
        own_squares=own,
    )


def _shared_sums(score: Score, design: Design, sharing: _Sharing, scored: Bool) -> tuple[Float, Float]:
    """Influence of each document summed over features, and the sum of its squares within single features."""
    if score.influence is None:
        return np.zeros(sharing.n_documents), np.zeros(())
    influence = np.where(scored[design.row], score.influence, 0.0)
    document = sharing.document.ravel()[design.index]
    over_features = np.bincount(document, weights=influence, minlength=sharing.n_documents)
    own = np.bincount(sharing.own_group.ravel()[design.index], weights=influence)
    return over_features.astype(np.float64), np.asarray((own**2).sum(), np.float64)


def _joined(chunks: list[_Chunk], tau_shares: tuple[float, ...]) -> MetricTable:
    def across(name: str) -> Any:
        return np.concatenate([getattr(chunk, name) for chunk in chunks], axis=1)

    value = across("value")
    document_squares = (np.sum([chunk.document_sums for chunk in chunks], axis=0) ** 2).sum(axis=1)
    own_squares = np.sum([chunk.own_squares for chunk in chunks], axis=0)
    n_scored = np.maximum((~np.isnan(value)).sum(axis=1), 1)
    return MetricTable(
        metric=METRICS * len(tau_shares),
        tau_share=tuple(share for share in tau_shares for _ in METRICS),
        value=value,
        low=across("low"),
        high=across("high"),
        reason=across("reason"),
        n_items=across("n_items"),
        n_lost=across("n_lost"),
        shared_variance=np.maximum(document_squares - own_squares, 0) / n_scored**2,
    )
