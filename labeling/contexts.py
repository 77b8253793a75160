"""From sampler state to contexts: which windows stand for a feature, in which stratum, out of how many.

Positives come from the sampler's reservoir, cut at activation quantiles whose sizes were counted exactly. Negatives
come from a *pool* of windows (all of a split when it is small) whose activations are all known, so that silence is
checked and never assumed. Hard negatives are label-independent: every label of a feature is judged on the same items.
See METHODS in docs/methods.md for why negatives decide what a score is worth.

Pure: arrays in, arrays out. It knows nothing of files, models or tables.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from labeling.bins import bin_of
from labeling.feature_table import FeatureTable
from labeling.sampler import SamplerState, mix
from labeling.shares import share_out
from labeling.types import HARD, QUANTILES, SPLITS, STRATA, FloatArray, IntArray, Split, Stratum

BoolArray = npt.NDArray[np.bool_]

SIMILAR_WINDOWS = 200
"""How many of the silent windows most similar to firing ones make up the stratum `hard_text`, at most ..."""
SIMILAR_SHARE = 0.25
"""... and at most this share of those in no harder stratum, so that a small split keeps `random` windows."""
STRATUM_CODE: dict[Stratum, int] = {stratum: code for code, stratum in enumerate(STRATA)}
CHOICE_VERSION = 2
"""Part of the identity of samples: raise it whenever other windows would be chosen from the same state."""
LAST_RANK = (1 << 31) - 1
"""The highest random rank of a window."""
SILENT_CODES = tuple(STRATUM_CODE[name] for name in (*HARD, "random"))


@dataclass(frozen=True)
class Quota:
    """How many windows a feature gets in one split: per quantile on average, and in all of a kind."""

    top: int
    quantile: int
    grey: int
    hard: int
    random: int


QUOTAS: dict[Split, Quota] = {
    "explain": Quota(top=20, quantile=20, grey=0, hard=24, random=24),
    "select": Quota(top=0, quantile=6, grey=0, hard=15, random=15),
    "score": Quota(top=5, quantile=10, grey=10, hard=25, random=25),
}


def choose_pool(window: IntArray, split: npt.NDArray[np.int8], *, size: int, seed: int) -> IntArray:
    """Places of the windows that negatives are drawn from: up to `size` of each split, uniform, ascending.

    `window` [n] ids, `split` [n] indices into SPLITS. The pool of a pool and of further windows is that of all of them.
    """
    order = _by_hash(window, seed)
    return np.sort(np.concatenate([order[split[order] == s][:size] for s in range(len(SPLITS))]))


def choose_panel(window: IntArray, *, size: int, seed: int) -> IntArray:
    """Places of the shared random panel among the pool's windows of the `score` split: uniform, in random order."""
    return _by_hash(window, seed)[:size]


def _by_hash(window: IntArray, seed: int) -> IntArray:
    ids = torch.from_numpy(window)
    return np.lexsort((window, mix(torch.full_like(ids, -1), ids, seed).numpy()))


@dataclass(frozen=True)
class ChosenContexts:
    """Contexts of some features, one a row (`n` rows)."""

    place: IntArray  # [n] place of the feature among those asked for
    split: IntArray  # [n] index into SPLITS
    stratum: IntArray  # [n] index into STRATA
    row: IntArray  # [n] among the windows they were chosen from
    population: IntArray  # [n]
    sampled: IntArray  # [n]
    max_activation: FloatArray  # [n] raw; 0 for silent windows


@dataclass(frozen=True)
class Firing:
    """Active windows drawn for `f` features in one split: the sampler's reservoir and top rows."""

    stratum: IntArray  # [f, R] index into STRATA, -1 where empty
    window: IntArray  # [f, R]
    value: FloatArray  # [f, R]
    population: IntArray  # [f, len(STRATA)] exact sizes of q1..q5, grey and top; 0 elsewhere
    quantile_bins: IntArray  # [f, 4] first bin of q2..q5

    def take(self, some: slice) -> Firing:
        """Some of the features."""
        return Firing(
            self.stratum[some], self.window[some], self.value[some], self.population[some], self.quantile_bins[some]
        )


def stratify_firing(state: SamplerState, table: FeatureTable, *, split: Split, features: IntArray) -> Firing:
    """Sort reservoir windows into quantiles of activation.

    Quantile edges are histogram edges, so the number of windows in each is exact; a quantile holds about a fifth of the
    firing windows, as closely as eight bins an octave allow. Activations of one bin are never parted: a feature with a
    single value has all its firing windows in one quantile, and the others empty.
    """
    s, n = SPLITS.index(split), len(features)
    histogram = state.window_histogram(s, features)  # [f, bins]
    first_bin = state.histogram_top.numpy().astype(np.int64)[features] - histogram.shape[1] + 1
    bins = first_bin[:, None] + np.arange(histogram.shape[1])
    firing = np.where(bins >= table.tau_bin[features, None], histogram, 0)
    quantile_bins = _quantile_bins(firing, first_bin)

    window, value = state.drawn_windows(s, features)
    place = bin_of(torch.from_numpy(value)).numpy()
    stratum = STRATUM_CODE["q1"] + (place[:, :, None] >= quantile_bins[:, None, :]).sum(-1)
    stratum = np.where(place < table.tau_bin[features, None], STRATUM_CODE["grey"], stratum)

    population = np.zeros((n, len(STRATA)), dtype=np.int64)
    in_quantile = (bins[:, :, None] >= quantile_bins[:, None, :]).sum(-1)
    for q, name in enumerate(QUANTILES):
        population[:, STRATUM_CODE[name]] = (firing * (in_quantile == q)).sum(1)
    population[:, STRATUM_CODE["grey"]] = histogram.sum(1) - firing.sum(1)
    population[:, STRATUM_CODE["top"]] = firing.sum(1)
    return Firing(np.where(window >= 0, stratum, -1), window, value, population, quantile_bins)


def _quantile_bins(firing: IntArray, first_bin: IntArray) -> IntArray:
    """First bin of q2..q5 for each feature: the bin edges nearest to the quintiles of [f, bins] counts."""
    below = np.concatenate([np.zeros((len(firing), 1), np.int64), firing.cumsum(1)], 1)  # windows below bin j
    wanted = below[:, -1:, None] * np.arange(1, 5) / 5  # [f, 1, 4]
    return np.asarray(np.abs(below[:, :, None] - wanted).argmin(1) + first_bin[:, None])


def firing_limits(stratum: IntArray, quota: Quota) -> IntArray:
    """How many windows to take of each stratum in each row of [f, R]: [f, len(STRATA)], 0 for silent ones and `top`.

    Equal activations stand in one quantile and leave others short or empty; what one lacks, the others make up.
    """
    codes = [STRATUM_CODE[name] for name in QUANTILES]
    there = count_strata(stratum, codes)[:, codes]
    given = np.minimum(there, quota.quantile)
    uneven = np.flatnonzero((given < quota.quantile).any(1) & (there > quota.quantile).any(1))
    given[uneven] = share_out(there[uneven], quota.quantile * len(codes))
    limits = np.zeros((len(stratum), len(STRATA)), dtype=np.int64)
    limits[:, codes] = given
    limits[:, STRATUM_CODE["grey"]] = quota.grey
    return limits


def pick_first(stratum: IntArray, limits: IntArray) -> BoolArray:
    """The first `limits[row, stratum]` entries of each stratum in each row of [f, R]; -1 is never picked."""
    picked = np.zeros(stratum.shape, dtype=np.bool_)
    for code in np.flatnonzero(limits.any(0)):
        here = stratum == code
        picked |= here & (here.cumsum(1) <= limits[:, code, None])
    return picked


@dataclass(frozen=True)
class Negatives:
    """Strata of the silent windows of a pool, for `f` features and `m` pool windows of one split."""

    stratum: npt.NDArray[np.int8]  # [f, m] hard_* or random; -1 where the feature is active
    population: IntArray  # [f, len(STRATA)] windows of the split in each, scaled up from the pool to the exact total


def stratify_silent(
    active: BoolArray, *, has_top_token: BoolArray, neighbor_fires: BoolArray, similarity: FloatArray, silent: IntArray
) -> Negatives:
    """Divide silent windows into disjoint strata, hardest claims first (all arguments but the last [f, m]).

    hard_token: contains one of the feature's top tokens. hard_neighbor: not that, and a neighboring feature fires.
    hard_text: neither, and among the most similar to firing windows: SIMILAR_WINDOWS, fewer in a small
    split. The rest is random.
    `silent` [f]: exact number of silent windows in the split; populations add up to it.
    """
    stratum = np.full(active.shape, STRATUM_CODE["random"], dtype=np.int8)
    stratum[neighbor_fires] = STRATUM_CODE["hard_neighbor"]
    stratum[has_top_token] = STRATUM_CODE["hard_token"]
    stratum[active] = -1
    left = stratum == STRATUM_CODE["random"]
    most = np.minimum(SIMILAR_WINDOWS, np.ceil(SIMILAR_SHARE * np.count_nonzero(left, axis=1))).astype(np.int64)
    stratum[_largest(np.where(left, similarity, 0), most)] = STRATUM_CODE["hard_text"]
    counted = count_strata(stratum, SILENT_CODES)
    total = np.maximum(counted.sum(1), 1)
    population = np.round(counted * (silent / total)[:, None]).astype(np.int64)
    population[:, STRATUM_CODE["random"]] += silent - population.sum(1)
    return Negatives(stratum, np.where(counted > 0, np.maximum(population, counted), 0))


def count_strata(stratum: npt.NDArray[Any], codes: Sequence[int]) -> IntArray:
    """How often each of `codes` stands in each row of [f, m]: [f, len(STRATA)], 0 for other codes."""
    counted = np.zeros((len(stratum), len(STRATA)), dtype=np.int64)
    for code in codes:
        counted[:, code] = np.count_nonzero(stratum == code, axis=1)
    return counted


def _largest(values: FloatArray, n: IntArray) -> BoolArray:
    """Mask of the `n` [f] largest positive entries of each row of [f, m]; ties go to the lower column."""
    width = min(int(n.max(initial=0)), values.shape[1])
    if not width:
        return np.zeros(values.shape, dtype=np.bool_)
    largest = -np.sort(-np.partition(values, -width, axis=1)[:, -width:], axis=1)
    last = np.take_along_axis(largest, np.clip(n - 1, 0, width - 1)[:, None], axis=1)
    above, ties = values > last, values == last
    room = n[:, None] - np.count_nonzero(above, axis=1)[:, None]
    crowded = np.flatnonzero(np.count_nonzero(ties, axis=1) > room[:, 0])
    ties[crowded] &= ties[crowded].cumsum(1) <= room[crowded]
    return np.asarray((above | ties) & (values > 0) & (n[:, None] > 0))


def pick_negatives(
    negatives: Negatives, order: npt.NDArray[np.int32], *, hard: int, random: int
) -> tuple[IntArray, IntArray]:
    """Choose silent windows: a third of `hard` from each hard stratum, shortfalls filled from the others.

    `order` [f, m]: a random rank of 31 bits per window; of each stratum the lowest ranks are taken, equal ones from the
    left. Returns places (feature, window), in order.
    """
    codes = [STRATUM_CODE[name] for name in HARD]
    counted = count_strata(negatives.stratum, SILENT_CODES)
    limits = np.zeros((len(order), len(STRATA)), dtype=np.int64)
    limits[:, codes] = share_out(counted[:, codes], hard)
    limits[:, STRATUM_CODE["random"]] = np.minimum(counted[:, STRATUM_CODE["random"]], random)
    feature, column, code = _low_ranks(negatives.stratum, order, limits, counted)
    by_rank = np.lexsort((order[feature, column], code, feature))  # stable: equal ranks from the left
    feature, column, code = feature[by_rank], column[by_rank], code[by_rank]
    cell = feature * len(STRATA) + code
    picked = np.arange(len(cell)) - np.searchsorted(cell, cell) < limits[feature, code]
    chosen = np.sort(feature[picked] * order.shape[1] + column[picked])
    return np.divmod(chosen, order.shape[1])


def _low_ranks(
    stratum: npt.NDArray[np.int8], order: npt.NDArray[np.int32], limits: IntArray, counted: IntArray
) -> tuple[IntArray, IntArray, IntArray]:
    """Places (feature, window) and stratum of all windows whose rank may be among the `limits` lowest of its stratum.

    Ranks are uniform, so nearly always the lowest lie below a small multiple of the share that is wanted; where they
    don't, the whole stratum is taken.
    """
    share = (limits + 6 * np.sqrt(limits) + 6) / np.maximum(counted, 1)
    highest = np.where(limits > 0, np.minimum(share, 1.0) * LAST_RANK, -1).astype(np.int32)
    while True:
        low = np.zeros(stratum.shape, dtype=np.bool_)
        for code in SILENT_CODES:
            low |= (stratum == code) & (order <= highest[:, code, None])
        feature, column = np.nonzero(low)
        code_of = stratum[feature, column].astype(np.int64)
        found = np.bincount(feature * len(STRATA) + code_of, minlength=limits.size).reshape(limits.shape)
        if (found >= limits).all():
            return feature, column, code_of
        highest[found < limits] = LAST_RANK


def top_rows(state: SamplerState, *, split: Split, features: IntArray) -> tuple[IntArray, FloatArray]:
    """Strongest windows of each feature, [f, K]: ids (-1 where empty) and largest activations."""
    return state.top_windows(SPLITS.index(split), features)
