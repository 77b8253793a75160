"""What makes a silent window hard: it has the feature's token, a neighbor fires in it, or it reads alike.

Each function gives one property of pool windows for some features, [f, m]. Which window ends up in which stratum is
decided in `contexts.py`. Pure arrays. A feature's row never depends on which features are asked for with it: sums go
through a window's terms in the order of the vocabulary, and never through a matrix product whose order is its own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import sparse

from labeling.codes import ranges
from labeling.types import FloatArray, IntArray

BoolArray = npt.NDArray[np.bool_]

COMMON_SHARE = 0.2
"""Tokens in more than this share of windows say nothing about likeness and are left out of TF-IDF."""


@dataclass(frozen=True)
class TopTokens:
    """The tokens a feature fires on most, up to `T` a feature, by total activation in its evidence."""

    token: IntArray  # [f, T] index into the vocabulary, -1 where there are fewer
    mean_activation: FloatArray  # [f, T] raw
    occurrences: IntArray  # [f, T]


def find_top_tokens(place: IntArray, token: IntArray, value: FloatArray, *, n_features: int, n: int) -> TopTokens:
    """Tokens by total activation.

    Three arrays with one entry an activation in evidence windows of the `explain` split: place of the feature among
    those asked for, token, raw activation.
    """
    n_vocabulary = int(token.max(initial=0)) + 1
    key, group = np.unique(place * n_vocabulary + token, return_inverse=True)
    total = np.bincount(group, weights=value, minlength=len(key))
    count = np.bincount(group, minlength=len(key))
    place, token = np.divmod(key, n_vocabulary)
    order = np.lexsort((token, -total, place))
    place, token, total, count = place[order], token[order], total[order], count[order]
    rank = np.arange(len(place)) - np.searchsorted(place, place)
    kept = rank < n
    shape = (n_features, n)
    found = TopTokens(np.full(shape, -1), np.zeros(shape, np.float32), np.zeros(shape, np.int64))
    found.token[place[kept], rank[kept]] = token[kept]
    found.mean_activation[place[kept], rank[kept]] = (total / count)[kept]
    found.occurrences[place[kept], rank[kept]] = count[kept]
    return found


@dataclass(frozen=True)
class WindowSets:
    """`k` sets of pool windows: those that hold a token, those in which a feature fires."""

    ends: IntArray  # [k + 1] set i is column[ends[i]:ends[i + 1]]
    column: npt.NDArray[np.int32]  # [n] pool window of the split


NO_SETS = WindowSets(np.zeros(1, np.int64), np.zeros(0, np.int32))


def window_sets(key: npt.NDArray[np.integer], column: npt.NDArray[np.int32], *, n_sets: int) -> WindowSets:
    """Sets from pairs (key, window) in any order."""
    narrow = key.astype(np.int16) if n_sets <= 1 << 15 else key  # 16 bits are sorted without comparing
    counts = np.bincount(key, minlength=n_sets)
    return WindowSets(np.append(0, counts.cumsum()), column[np.argsort(narrow, kind="stable")])


def first_sets(sets: WindowSets, keys: IntArray, *, silent: BoolArray, wanted: int) -> BoolArray:
    """Whether a window is in one of a feature's sets: [f, m].

    `keys` [f, k] sets of each feature, the most telling first, -1 for none; `silent` [f, m] the windows asked about.
    Only as many sets count as it takes to find `wanted` of these: each further token is a weaker sign of the feature,
    each farther neighbor an easier negative, and several busy neighbors together fire nearly everywhere.
    """
    found = np.zeros(silent.shape, dtype=np.bool_)
    have = np.zeros(len(silent), dtype=np.int64)
    for column in keys.T:
        short = np.flatnonzero((have < wanted) & (column >= 0))
        if not len(short):
            continue
        begins, sizes = sets.ends[column[short]], sets.ends[column[short] + 1] - sets.ends[column[short]]
        found[np.repeat(short, sizes), sets.column[ranges(begins, sizes)]] = True
        have[short] = np.count_nonzero(found[short] & silent[short], axis=1)
    return found


def token_counts(tokens: npt.NDArray[np.int32], n_vocabulary: int) -> sparse.csr_matrix:
    """How often each token stands in each window of [n, width] (-1 is padding): [n, vocabulary]."""
    ordered = np.sort(tokens, axis=1)
    first = ordered >= 0
    first[:, 1:] &= ordered[:, 1:] != ordered[:, :-1]
    place = np.flatnonzero(first)
    row, token = place // tokens.shape[1], ordered.ravel()[place]
    # up to the next token of the window, or to its end
    count = np.minimum(np.append(place[1:], first.size), (row + 1) * tokens.shape[1]) - place
    ends = np.append(0, np.count_nonzero(first, axis=1).cumsum())
    return sparse.csr_matrix((count.astype(np.float32), token, ends), shape=(len(tokens), n_vocabulary))


def inverse_frequency(holding: IntArray, n_windows: int) -> FloatArray:
    """The weight of each token: log((1 + n) / (1 + windows that hold it)) + 1, and 0 for the commonest."""
    idf = np.log(np.float32(n_windows + 1) / (holding.astype(np.float32) + np.float32(1))) + np.float32(1)
    return np.where(holding * (1.0 / n_windows) <= COMMON_SHARE, idf, np.float32(0))


def weigh_terms(counts: sparse.csr_matrix, weight: FloatArray) -> sparse.csr_matrix:
    """TF-IDF of windows [n, vocabulary] with logarithmic counts, rows of length 1 (Salton and Buckley 1988).

    As scikit-learn's TfidfTransformer computes it, in float32; how many windows hold a token is taken from all windows
    of the corpus, of which `counts` has some.
    """
    row = np.repeat(np.arange(counts.shape[0]), np.diff(counts.indptr))
    rare = weight[counts.indices] > 0
    row, token = row[rare], counts.indices[rare]
    value = (np.log(counts.data[rare]) + np.float32(1)) * weight[token]
    length = np.sqrt(np.bincount(row, weights=value * value, minlength=counts.shape[0]))
    ends = np.append(0, np.bincount(row, minlength=counts.shape[0]).cumsum())
    return sparse.csr_matrix(((value / length[row]).astype(np.float32), token, ends), shape=counts.shape)


def similarity(pool: sparse.csr_matrix, firing: sparse.csr_matrix, terms: sparse.csr_matrix) -> FloatArray:
    """Mean cosine of each pool window to a feature's firing windows: [f, m].

    `pool` [m, vocabulary] and `terms` [n, vocabulary]: weighed terms of the pool and of windows that may fire;
    `firing` [f, n]: 1 where window n stands for feature f.
    """
    counts = np.maximum(np.asarray(firing.sum(1)).ravel(), 1)
    queries = (sparse.diags_array(1 / counts) @ firing @ terms).tocsr()
    used = np.zeros(terms.shape[1], dtype=np.bool_)
    used[queries.indices] = True
    column = np.cumsum(used) - 1
    dense = np.zeros((int(used.sum()), firing.shape[0]))  # each term of a window adds one row of it
    dense[column[queries.indices], np.repeat(np.arange(firing.shape[0]), np.diff(queries.indptr))] = queries.data
    kept = used[pool.indices]
    ends = np.append(0, np.cumsum(kept))[pool.indptr]
    shared = sparse.csr_matrix((pool.data[kept], column[pool.indices[kept]], ends), shape=(pool.shape[0], len(dense)))
    return np.ascontiguousarray((shared @ dense).T, dtype=np.float32)
