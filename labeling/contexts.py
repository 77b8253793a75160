"""From sampler state to contexts: which windows stand for a feature, in which stratum, out of how many.

Positives come from the sampler's reservoir, cut at activation quantiles whose sizes were counted exactly. Negatives
come from a *pool* of windows (all of a split when it is small) whose activations are all known, so that silence is
checked and never assumed. Hard negatives are label-independent: every label of a feature is judged on the same items.
See METHODS in docs/methods.md for why negatives decide what a score is worth.

Pure: arrays in, arrays out. It knows nothing of files, models or tables.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from labeling.bins import bin_of
from labeling.feature_table import FeatureTable
from labeling.sampler import SamplerState, mix
from labeling.types import HARD, QUANTILES, SPLITS, STRATA, FloatArray, IntArray, Split, Stratum, Windows

BoolArray = npt.NDArray[np.bool_]

SIMILAR_WINDOWS = 200
"""How many of the silent windows most similar to firing ones make up the stratum `hard_text`, at most ..."""
SIMILAR_SHARE = 0.25
"""... and at most this share of those in no harder stratum, so that a small split keeps `random` windows."""
STRATUM_CODE: dict[Stratum, int] = {stratum: code for code, stratum in enumerate(STRATA)}


@dataclass(frozen=True)
class Quota:
    """How many windows a feature gets in one split: per quantile, and in all of a kind."""

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


def choose_pool(windows: Windows, *, size: int, seed: int) -> IntArray:
    """Rows of the windows that negatives are drawn from: up to `size` of each split, uniform, ascending."""
    order = _by_hash(windows.window, seed)
    rows = [order[windows.split[order] == split][:size] for split in SPLITS]
    return np.sort(np.concatenate(rows))


def choose_panel(windows: Windows, *, size: int, seed: int) -> IntArray:
    """Rows of the shared random panel: uniform over the `score` split, part of the pool, in random order."""
    order = _by_hash(windows.window, seed)
    return np.asarray(order[windows.split[order] == "score"][:size])


def _by_hash(window: IntArray, seed: int) -> IntArray:
    ids = torch.from_numpy(window)
    return np.lexsort((window, mix(torch.full_like(ids, -1), ids, seed).numpy()))


@dataclass(frozen=True)
class ChosenContexts:
    """Contexts of some features, one a row (`n` rows). `row` counts in the Windows they were chosen from."""

    feature: IntArray  # [n]
    split: IntArray  # [n] index into SPLITS
    stratum: IntArray  # [n] index into STRATA
    row: IntArray  # [n]
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


def stratify_firing(state: SamplerState, table: FeatureTable, *, split: Split, features: IntArray) -> Firing:
    """Sort reservoir windows into quantiles of activation.

    Quantile edges are histogram edges, so the number of windows in each is exact; a quantile holds about a fifth of the
    firing windows, as closely as eight bins an octave allow.
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


def pick_first(stratum: IntArray, limits: npt.NDArray[np.int64]) -> BoolArray:
    """The first `limits[stratum]` entries of each stratum in each row of [f, R]; -1 is never picked."""
    picked = np.zeros(stratum.shape, dtype=np.bool_)
    for code in np.flatnonzero(limits):
        here = stratum == code
        picked |= here & (here.cumsum(1) <= limits[code])
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
    most = np.minimum(SIMILAR_WINDOWS, np.ceil(SIMILAR_SHARE * left.sum(1))).astype(np.int64)
    stratum[_largest(np.where(left, similarity, 0), most)] = STRATUM_CODE["hard_text"]
    counted = np.stack([(stratum == code).sum(1) for code in range(len(STRATA))], 1)
    total = np.maximum(counted.sum(1), 1)
    population = np.round(counted * (silent / total)[:, None]).astype(np.int64)
    population[:, STRATUM_CODE["random"]] += silent - population.sum(1)
    return Negatives(stratum, np.where(counted > 0, np.maximum(population, counted), 0))


def _largest(values: FloatArray, n: IntArray) -> BoolArray:
    """Mask of the `n` [f] largest positive entries of each row of [f, m]; ties go to the lower column."""
    width = min(int(n.max(initial=0)), values.shape[1])
    if not width:
        return np.zeros(values.shape, dtype=np.bool_)
    largest = -np.sort(-np.partition(values, -width, axis=1)[:, -width:], axis=1)
    last = np.take_along_axis(largest, np.clip(n - 1, 0, width - 1)[:, None], axis=1)
    above, ties = values > last, values == last
    room = n[:, None] - above.sum(1, keepdims=True)
    return np.asarray((above | (ties & (ties.cumsum(1) <= room))) & (values > 0) & (n[:, None] > 0))


def pick_negatives(negatives: Negatives, order: npt.NDArray[np.int64], *, hard: int, random: int) -> BoolArray:
    """Choose silent windows: a third of `hard` from each hard stratum, shortfalls filled from the others.

    `order` [f, m]: a random rank per window; the lowest ranks are taken. Returns a mask [f, m].
    """
    codes = [STRATUM_CODE[name] for name in HARD]
    available = np.stack([(negatives.stratum == code).sum(1) for code in codes], 1)
    limits = np.zeros((len(order), len(STRATA)), dtype=np.int64)
    limits[:, codes] = share_out(available, hard)
    limits[:, STRATUM_CODE["random"]] = random
    by_rank = np.argsort(order, axis=1, kind="stable")
    ranked = np.take_along_axis(negatives.stratum, by_rank, axis=1)
    picked = np.zeros(order.shape, dtype=np.bool_)
    for code in (*codes, STRATUM_CODE["random"]):
        here = ranked == code
        picked |= here & (here.cumsum(1) <= limits[:, code, None])
    mask = np.zeros_like(picked)
    np.put_along_axis(mask, by_rank, picked, axis=1)
    return mask


def share_out(available: IntArray, total: int) -> IntArray:
    """Divide `total` over the columns of [f, h] as evenly as what is available allows."""
    given = np.zeros_like(available)
    for _ in range(total):
        open_ = given < available
        least = np.where(open_, given, np.iinfo(np.int64).max)
        column = least.argmin(1)
        rows = np.flatnonzero(open_.any(1))
        given[rows, column[rows]] += 1
    return given


def top_rows(state: SamplerState, *, split: Split, features: IntArray) -> tuple[IntArray, FloatArray]:
    """Strongest windows of each feature, [f, K]: ids (-1 where empty) and largest activations."""
    return state.top_windows(SPLITS.index(split), features)
