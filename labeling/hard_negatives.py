"""What makes a silent window hard: it has the feature's token, a neighbor fires in it, or it reads alike.

Each function gives one property of pool windows for some features, [f, m]. Which window ends up in which stratum is
decided in `contexts.py`. Pure arrays; the TF-IDF is scikit-learn's.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import sparse

from labeling.codes import Codes, WindowMaxima
from labeling.types import FloatArray, IntArray, Windows

BoolArray = npt.NDArray[np.bool_]

COMMON_SHARE = 0.2
"""Tokens in more than this share of windows say nothing about likeness and are left out of TF-IDF."""


@dataclass(frozen=True)
class TopTokens:
    """The tokens a feature fires on most, up to `T` a feature, by total activation in its evidence."""

    token: IntArray  # [f, T] index into the vocabulary, -1 where there are fewer
    mean_activation: FloatArray  # [f, T] raw
    occurrences: IntArray  # [f, T]


def find_top_tokens(codes: Codes, windows: Windows, *, features: IntArray, n: int) -> TopTokens:
    """Tokens by total activation. `codes` should hold evidence windows of the `explain` split only."""
    place = np.searchsorted(features, codes.feature)
    token = windows.tokens[windows.rows_of(codes.window), codes.position].astype(np.int64)
    key, group = np.unique(place * len(windows.vocabulary) + token, return_inverse=True)
    total = np.bincount(group, weights=codes.value, minlength=len(key))
    count = np.bincount(group, minlength=len(key))
    place, token = np.divmod(key, len(windows.vocabulary))
    order = np.lexsort((token, -total, place))
    place, token, total, count = place[order], token[order], total[order], count[order]
    rank = np.arange(len(place)) - np.searchsorted(place, place)
    kept = rank < n
    shape = (len(features), n)
    found = TopTokens(np.full(shape, -1), np.zeros(shape, np.float32), np.zeros(shape, np.int64))
    found.token[place[kept], rank[kept]] = token[kept]
    found.mean_activation[place[kept], rank[kept]] = (total / count)[kept]
    found.occurrences[place[kept], rank[kept]] = count[kept]
    return found


def token_incidence(windows: Windows) -> sparse.csr_matrix:
    """How often each token stands in each window, [n, vocabulary]."""
    row, position = np.nonzero(windows.tokens >= 0)
    ones = np.ones(len(row), dtype=np.float32)
    shape = (len(windows), len(windows.vocabulary))
    return sparse.csr_matrix((ones, (row, windows.tokens[row, position])), shape=shape)


def contains_top_token(incidence: sparse.csr_matrix, tokens: IntArray, *, silent: BoolArray, wanted: int) -> BoolArray:
    """Whether a window contains a feature's top token: [f, m].

    `tokens` [f, T], the first the strongest, -1 padded; `silent` [f, m]. Only as many top tokens count as it takes to
    find `wanted` silent windows: each further token is a weaker sign of the feature, and so an easier negative.
    """
    found = np.zeros(silent.shape, dtype=np.bool_)
    for column in tokens.T:
        short = np.flatnonzero(((found & silent).sum(1) < wanted) & (column >= 0))
        if len(short):
            found[short] |= np.asarray(incidence[:, column[short]].toarray().T > 0)
    return found


def activity(maxima: WindowMaxima, *, features: IntArray, window: IntArray) -> FloatArray:
    """Largest activation of each feature in each window, 0 where silent: [f, m]. Both lists ascend."""
    dense = np.zeros((len(features), len(window)), dtype=np.float32)
    if not dense.size:  # without directions a feature has no neighbors
        return dense
    row = np.searchsorted(features, maxima.feature).clip(max=len(features) - 1)
    column = np.searchsorted(window, maxima.window).clip(max=len(window) - 1)
    here = (features[row] == maxima.feature) & (window[column] == maxima.window)
    dense[row[here], column[here]] = maxima.value[here]
    return dense


def neighbor_fires(fires: BoolArray, neighbors: IntArray, *, silent: BoolArray, wanted: int) -> BoolArray:
    """Whether a neighbor of a feature fires: [f, m].

    `fires` [g, m]; `neighbors` [f, k] rows of it, the nearest first, -1 for none; `silent` [f, m] the windows asked
    about. Only as many neighbors count as it takes to find `wanted` of these: farther ones are easier negatives, and
    several busy neighbors together fire nearly everywhere.
    """
    found = np.zeros(silent.shape, dtype=np.bool_)
    for column in neighbors.T:
        short = np.flatnonzero(((found & silent).sum(1) < wanted) & (column >= 0))
        if len(short):
            found[short] |= fires[column[short]]
    return found


def weigh_terms(incidence: sparse.csr_matrix) -> sparse.csr_matrix:
    """TF-IDF of windows [n, vocabulary], rows of length 1, without the commonest tokens."""
    from sklearn.feature_extraction.text import TfidfTransformer

    share = np.asarray((incidence > 0).mean(0)).ravel()
    rare = incidence @ sparse.diags((share <= COMMON_SHARE).astype(np.float32))
    return sparse.csr_matrix(TfidfTransformer(sublinear_tf=True).fit_transform(rare), dtype=np.float32)


def similarity(terms: sparse.csr_matrix, firing: sparse.csr_matrix, pool: IntArray) -> FloatArray:
    """Mean cosine of each pool window (rows `pool` of `terms`) to a feature's firing windows: [f, m].

    `firing` [f, n]: 1 where window n stands for feature f.
    """
    counts = np.maximum(np.asarray(firing.sum(1)).ravel(), 1)
    queries = sparse.diags(1 / counts) @ firing @ terms
    return np.asarray((queries @ terms[pool].T).toarray(), dtype=np.float32)
