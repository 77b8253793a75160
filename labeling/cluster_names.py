"""Clusters and their members' labels in, names out: the words that set a cluster's labels apart from the others'.

Offline and stable: the same labels give the same names. A cluster whose labels say too little gets no name and the
reason for it, never a made-up one. It does not know how the clusters or the labels came about.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from labeling.types import IntArray

NameSource = Literal["distinctive_words", "too_few_labels", "nothing_distinctive"]

WORD = r"\w+|[^\w\s\"'`´‘’“”,;.…]+"
"""A word, or a run of signs such as `):` without the quotation marks and commas that labels are made with."""
LIFT = 2.0
"""A word counts as distinctive when it is at least this many times as frequent in the cluster as outside."""


@dataclass(frozen=True)
class ClusterName:
    """`text` is None exactly when `source` says why there is no name."""

    text: str | None
    source: NameSource


def name_clusters(
    cluster: IntArray,
    labels: Mapping[int, str],
    *,
    words: int = 3,
    minimum_labels: int = 3,
    minimum_share: float = 0.1,
) -> tuple[ClusterName, ...]:
    """Name each cluster with its most distinctive words, as in `import / module / package`.

    `cluster` [n] holds each feature's cluster (-1: none), `labels` the label of each labeled feature. A word's weight
    is the share of the cluster's labels it stands in, times its inverse document frequency among the labels of all
    other clusters (TF-IDF with a label as the document, smoothed by half a label). Words of fewer than
    `minimum_share` of the cluster's labels are left out, because they name one member rather than the cluster.
    """
    n_clusters = int(cluster.max(initial=-1)) + 1
    labeled = [f for f in sorted(labels) if cluster[f] >= 0 and re.search(WORD, labels[f])]
    if not labeled:
        return (ClusterName(None, "too_few_labels"),) * n_clusters
    count, vocabulary = _count_words([labels[f] for f in labeled], cluster[labeled], n_clusters)
    total = np.asarray(count.sum(axis=0)).ravel()
    size = np.bincount(cluster[labeled], minlength=n_clusters)
    return tuple(
        ClusterName(None, "too_few_labels")
        if size[c] < minimum_labels
        else _name(
            vocabulary[count[[c]].indices],
            inside=count[[c]].data,
            outside=total[count[[c]].indices] - count[[c]].data,
            n_inside=int(size[c]),
            n_outside=len(labeled) - int(size[c]),
            words=words,
            minimum_share=minimum_share,
        )
        for c in range(n_clusters)
    )


def _count_words(texts: Sequence[str], cluster: IntArray, n_clusters: int) -> tuple[Any, np.ndarray]:
    """Sparse matrix [n_clusters, vocabulary]: labels of the cluster that hold the word; and the sorted vocabulary."""
    from scipy.sparse import csr_matrix
    from sklearn.feature_extraction.text import CountVectorizer

    vectorizer = CountVectorizer(binary=True, token_pattern=WORD, dtype=np.int64)
    holds = vectorizer.fit_transform(texts)  # [labels, vocabulary]
    ones = np.ones(len(texts), dtype=np.int64)
    belongs = csr_matrix((ones, (cluster, np.arange(len(texts)))), shape=(n_clusters, len(texts)))
    count = (belongs @ holds).tocsr()
    count.sort_indices()
    return count, vectorizer.get_feature_names_out()


def _name(
    vocabulary: np.ndarray,
    *,
    inside: IntArray,
    outside: IntArray,
    n_inside: int,
    n_outside: int,
    words: int,
    minimum_share: float,
) -> ClusterName:
    share = inside / n_inside
    share_outside = (0.5 + outside) / (1 + n_outside)  # half a label more, so that log 0 never occurs
    weight = share * -np.log(share_outside)
    distinctive = (n_outside > 0) & (share >= LIFT * share_outside) & (inside >= math.ceil(minimum_share * n_inside))
    weighed = zip(vocabulary[distinctive].tolist(), weight[distinctive].tolist(), strict=True)
    chosen: list[str] = []
    for word, _ in sorted(weighed, key=lambda w: (_is_sign(w[0]), -w[1], w[0])):
        if len(chosen) < words and not any(_same_stem(word, earlier) for earlier in chosen):
            chosen.append(word)
    return ClusterName(" / ".join(chosen), "distinctive_words") if chosen else ClusterName(None, "nothing_distinctive")


def _is_sign(word: str) -> bool:
    """Signs name a cluster only after its words."""
    return re.fullmatch(r"\w+", word) is None


def _same_stem(one: str, other: str) -> bool:
    """Whether one word goes on from the other: `module` and `modules` say the same thing twice."""
    short, long = sorted((one, other), key=len)
    return len(short) >= 4 and long.startswith(short)
