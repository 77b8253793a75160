"""What a score means against chance: p-values against the scores of wrong labels, and q-values over features.

The null is pooled: scores that features of the same third by firing rate got from labels of others. With few draws a
feature no p-value could be small enough to survive a correction over thousands of features; a pooled null of 1,000
reaches 0.001. A minimum of two numbers has a null of its own, which is why the headline is never read against 0.5.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from evals.controls import benjamini_hochberg, pooled_p_values
from evals.items import Bool, Float, Int

MIN_NULL = 200
"""Null scores of a third below which the nulls of all thirds are taken together."""
NULL_DRAWS = 1000
"""Null scores wanted for each third, where judging a label costs nothing."""
LEVEL = 0.05
"""q-values below it are called significant, and scores above the null's 1 - LEVEL quantile stand out."""


@dataclass(frozen=True)
class Significance:
    """One entry a feature; NaN where there is no score or no null."""

    p: Float
    q: Float
    n_null: Int
    """Null scores the p-value rests on."""
    pooled: Bool
    """Whether they are those of all thirds by firing rate, because its own had too few."""
    null_95: Float
    """95th percentile of that null."""

    @property
    def above_null(self) -> Bool:
        """Whether p is at most 0.05 before any correction: the score stands above its null's 95th percentile."""
        return np.nan_to_num(self.p, nan=1.0) <= LEVEL

    @property
    def significant(self) -> Bool:
        return np.nan_to_num(self.q, nan=1.0) < LEVEL


def against_null(scores: Float, tercile: Int, null_scores: Float, null_tercile: Int) -> Significance:
    """Read scores [F] against null scores [R]; both with the third by firing rate their feature is in.

    p = (1 + #{null >= score}) / (1 + R); q by Benjamini and Hochberg (1995) over the features that have a p.
    """
    known = ~np.isnan(null_scores)
    null, group = null_scores[known], null_tercile[known]
    counts = {int(value): int((group == value).sum()) for value in np.unique(tercile)}
    pooled = np.array([counts[int(value)] < MIN_NULL for value in tercile], dtype=bool)
    p, limit, n = np.full(len(scores), np.nan), np.full(len(scores), np.nan), np.zeros(len(scores), np.int64)
    for value, count in counts.items():
        own = null if count < MIN_NULL else null[group == value]
        rows = tercile == value
        n[rows] = len(own)
        if len(own):
            same = np.zeros(int(rows.sum()), np.int64)
            p[rows] = pooled_p_values(scores[rows], same, own, np.zeros(len(own), np.int64))
            limit[rows] = np.quantile(own, 1 - LEVEL)
    return Significance(p, benjamini_hochberg(p), n, pooled, limit)


def null_pairs(tercile: Int, *, draws: int, generator: np.random.Generator) -> tuple[Int, Int]:
    """Positions of features and of the features whose labels they are judged by, for a null.

    Within each third: ordered pairs of two different features, each at most once, at most `draws` of them; all there
    are in a small third.
    """
    features, sources = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for value in np.unique(tercile):
        members = np.flatnonzero(tercile == value)
        n = len(members)
        code = _some_of(n * (n - 1), draws, generator)
        own = code // max(n - 1, 1)
        other = code % max(n - 1, 1)
        features.append(members[own])
        sources.append(members[other + (other >= own)])
    feature, source = np.concatenate(features), np.concatenate(sources)
    order = np.lexsort((source, feature))
    return feature[order], source[order]


def _some_of(n: int, limit: int, generator: np.random.Generator) -> Int:
    """At most `limit` different numbers below `n`."""
    if n <= 4 * limit:
        return generator.permutation(n)[:limit]
    drawn = np.unique(generator.integers(0, n, 2 * limit))
    return generator.permutation(drawn)[:limit]
