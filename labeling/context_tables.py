"""The tables of a sample: contexts, panel, features, feature splits, top tokens, for a range of features at a time.

Brings together the sampler's state, the codes on disk and the windows, a block of features after the other; every choice
itself is in `contexts.py` and `hard_negatives.py`. Writes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
import torch
from scipy import sparse

from labeling.active_windows import ActiveWindows, find_active, firing_sets
from labeling.bins import HISTOGRAM_BINS, bin_of
from labeling.codes import CodeReader
from labeling.context_frames import contexts_frame, panel_activity_frame, token_frame
from labeling.contexts import (
    QUOTAS,
    STRATUM_CODE,
    ChosenContexts,
    Firing,
    Negatives,
    choose_panel,
    count_strata,
    firing_limits,
    pick_first,
    pick_negatives,
    stratify_firing,
    stratify_silent,
    top_rows,
)
from labeling.evidence import PANEL
from labeling.feature_table import FeatureTable
from labeling.hard_negatives import (
    TopTokens,
    WindowSets,
    find_top_tokens,
    first_sets,
    inverse_frequency,
    similarity,
    token_counts,
    weigh_terms,
    window_sets,
)
from labeling.sampler import SUM_UNIT, SamplerState, mix
from labeling.types import HARD, QUANTILES, SPLITS, STRATA, FloatArray, IntArray, Split
from labeling.window_tokens import Parts, Survey, WindowTokens, add_windows, survey_windows

CANDIDATE_TOKENS = 40
"""Tokens of a feature that same-token negatives may be looked for with, the strongest first: a feature that fires
whenever its strongest tokens occur leaves no silent window with them."""
CELLS_AT_ONCE = 1 << 20
"""Pairs of a feature and a pool window that are looked at together: few enough for a processor's cache."""
HARD_SHARE = {split: -(-quota.hard // len(HARD)) for split, quota in QUOTAS.items()}
"""Windows of a split that each kind of hard negatives should have."""


@dataclass(frozen=True, eq=False)
class PoolSplit:
    """Pool windows of one split, `m` of them."""

    row: IntArray  # [m] rows among the pool's windows, ascending
    with_token: WindowSets  # one set a token of the vocabulary
    terms: sparse.csr_matrix  # [m, vocabulary] TF-IDF, float64


@dataclass(frozen=True, eq=False)
class Pool:
    """What all features of a sample share: windows negatives are drawn from, their terms, and the panel."""

    survey: Survey
    parts: Parts
    panel: IntArray  # ids of the panel's windows, in panel order
    weight: FloatArray  # [vocabulary] of each token in TF-IDF; 0 leaves it out
    terms: sparse.csr_matrix  # [pool windows, vocabulary] TF-IDF
    splits: Mapping[Split, PoolSplit]

    @property
    def windows(self) -> WindowTokens:
        return self.survey.pool

    def including(self, wanted: IntArray) -> tuple[WindowTokens, sparse.csr_matrix]:
        """The pool's windows and those of the ids `wanted`, with their terms."""
        windows = add_windows(self.windows, wanted, parts=self.parts, survey=self.survey)
        if windows is self.windows:
            return windows, self.terms
        return windows, weigh_terms(token_counts(windows.tokens, len(self.weight)), self.weight)


def prepare_pool(parts: Parts, *, pool_size: int, panel_size: int, seed: int) -> Pool:
    """Draw the pool and the panel, and index the pool's words once for all features."""
    survey = survey_windows(parts, pool_size=pool_size, seed=seed)
    windows, n_vocabulary = survey.pool, len(survey.vocabulary)
    counts = token_counts(windows.tokens, n_vocabulary)
    weight = inverse_frequency(survey.holding, survey.total_windows)
    terms = weigh_terms(counts, weight)
    splits: dict[Split, PoolSplit] = {}
    for s, split in enumerate(SPLITS):
        row = windows.of_split(s)
        held = counts[row].tocoo()
        with_token = window_sets(held.col, held.row, n_sets=n_vocabulary)
        splits[split] = PoolSplit(row, with_token, terms[row].astype(np.float64))
    score = windows.window[splits["score"].row]
    panel = score[choose_panel(score, size=min(panel_size, pool_size), seed=seed)]
    return Pool(survey, parts, panel, weight, terms, splits)


@dataclass(frozen=True)
class ContextTables:
    """Tables of a range of features, columns as in the store."""

    contexts: pl.DataFrame
    panel_activity: pl.DataFrame
    feature_tokens: pl.DataFrame


@dataclass(frozen=True, eq=False)
class Block:
    """Some features of a range, with all that is known of them before negatives are looked for."""

    features: IntArray  # [f]
    firing: Mapping[Split, Firing]
    top: Mapping[Split, tuple[IntArray, FloatArray]]
    active: ActiveWindows
    tokens: TopTokens
    windows: WindowTokens
    terms: sparse.csr_matrix  # of `windows`


def build_tables(
    state: SamplerState,
    table: FeatureTable,
    *,
    pool: Pool,
    codes: CodeReader,
    features: IntArray,
    neighbors: IntArray,
    fires: Sequence[WindowSets],
    sample_id: str,
    seed: int,
    cells_at_once: int = CELLS_AT_ONCE,
) -> ContextTables:
    """Choose and describe the contexts of `features` (ascending), of which `neighbors` [f, k] are near (-1 for none).

    `codes` reads activations of all features; `fires` is what `firing_windows` says of them.
    """
    contexts, panels, tokens = [], [], []
    for block in blocks(state, table, pool=pool, codes=codes, features=features, cells_at_once=cells_at_once):
        near = neighbors[np.searchsorted(features, block.features)]
        mined = mine_negatives(block, near, table=table, pool=pool, fires=fires)
        chosen: list[ChosenContexts] = []
        for split in SPLITS:
            chosen.append(_active_contexts(table, block, split))
            chosen.append(_silent_contexts(mined[split], pool, block, split, seed))
        contexts.append(contexts_frame(chosen, block.features, block.windows, block.active, sample_id))
        panels.append(_panel_activity(table, pool, block, mined["score"], sample_id))
        tokens.append(token_frame(block.tokens, pool.survey.vocabulary, block.features, sample_id))
    return ContextTables(pl.concat(contexts), pl.concat(panels), pl.concat(tokens))


def blocks(
    state: SamplerState,
    table: FeatureTable,
    *,
    pool: Pool,
    codes: CodeReader,
    features: IntArray,
    cells_at_once: int = CELLS_AT_ONCE,
) -> Iterator[Block]:
    """A range of features, as many at a time as memory and caches should see together."""
    firing = {split: stratify_firing(state, table, split=split, features=features) for split in SPLITS}
    top = {split: top_rows(state, split=split, features=features) for split in SPLITS}
    ids = np.unique(np.concatenate([a.ravel() for s in SPLITS for a in (firing[s].window, top[s][0])]))
    windows, terms = pool.including(ids[ids >= 0])
    step = max(1, cells_at_once // max(1, len(pool.windows)))
    for first in range(0, len(features), step):
        some = slice(first, first + step)
        active = find_active(codes, features[some], windows.window)
        firing_here = {split: firing[split].take(some) for split in SPLITS}
        top_here = {split: (top[split][0][some], top[split][1][some]) for split in SPLITS}
        tokens = _top_tokens(active, windows, firing_here["explain"], top_here["explain"][0])
        yield Block(features[some], firing_here, top_here, active, tokens, windows, terms)


def firing_windows(codes: CodeReader, table: FeatureTable, pool: Pool) -> list[WindowSets]:
    """Pool windows in which each feature of the dictionary fires, by split: what neighbors are looked up in."""
    windows = pool.windows
    column = np.zeros(len(windows), np.int32)
    for part in pool.splits.values():
        column[part.row] = np.arange(len(part.row))
    return firing_sets(
        codes, table.tau, window=windows.window, split=windows.split, column=column, n_splits=len(SPLITS)
    )


def panel_table(pool: Pool, sample_id: str) -> pl.DataFrame:
    """The shared random panel."""
    columns = {"sample_id": sample_id, "rank": np.arange(len(pool.panel)), "window_id": pool.panel}
    return pl.DataFrame(columns, schema=PANEL.schema)


def feature_tables(
    state: SamplerState, table: FeatureTable, *, n_tokens: int, sample_id: str
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Tables `features` and `feature_splits` of the whole sample."""
    ids = np.arange(state.n_features)
    firing, sums, maximum = table.firing_tokens.sum(0), state.sums(), state.maximum()
    features = pl.DataFrame(
        {
            "sample_id": sample_id,
            "feature": ids,
            "status": table.status,
            "tau": table.tau,
            "tau25": table.tau25,
            "max_activation": table.maximum,
            "firing_tokens": firing,
            "firing_rate": firing / n_tokens,
            "n_tokens": n_tokens,
        }
    )
    splits = [
        pl.DataFrame(
            {
                "sample_id": sample_id,
                "feature": ids,
                "split": split,
                "firing_tokens": table.firing_tokens[s],
                "firing_windows": table.firing_windows[s],
                "firing_windows25": table.firing_windows25[s],
                "grey_windows": table.active_windows[s] - table.firing_windows[s],
                "silent_windows": table.silent_windows[s],
                "sum": sums[s].double().numpy() * SUM_UNIT,
                "max": maximum[s].numpy(),
                "token_histogram": state.token_histogram(s, ids).astype(np.int32),
                "window_histogram": state.window_histogram(s, ids).astype(np.int32),
                "histogram_start": state.histogram_top.numpy().astype(np.int64) - HISTOGRAM_BINS + 1,
            }
        ).with_columns(pl.col("token_histogram", "window_histogram").arr.to_list())
        for s, split in enumerate(SPLITS)
    ]
    return features, pl.concat(splits)


def _top_tokens(active: ActiveWindows, windows: WindowTokens, firing: Firing, top: IntArray) -> TopTokens:
    """Top tokens from the windows of `explain` that stand for a feature: the only ones they may come from."""
    window = np.concatenate([top, firing.window], 1)
    place, column = np.nonzero(window >= 0)
    row = windows.rows_of(window[place, column])
    cell = np.unique(place * len(windows) + row)
    place, row = np.divmod(cell, max(1, len(windows)))
    sizes, entries = active.entries_of(active.pair[place, row])
    token = windows.tokens[np.repeat(row, sizes), active.position[entries]].astype(np.int64)
    return find_top_tokens(
        np.repeat(place, sizes), token, active.value[entries], n_features=len(window), n=CANDIDATE_TOKENS
    )


def mine_negatives(
    block: Block, neighbors: IntArray, *, table: FeatureTable, pool: Pool, fires: Sequence[WindowSets]
) -> dict[Split, Negatives]:
    """Divide each split's silent windows of the pool into random ones and hard ones.

    `neighbors` [f, k] of the block's features, `fires` as from `firing_windows`.
    """
    pair = block.active.pair.take(block.windows.rows_of(pool.windows.window), axis=1)
    mined: dict[Split, Negatives] = {}
    for s, split in enumerate(SPLITS):
        part, wanted = pool.splits[split], HARD_SHARE[split]
        active = pair.take(part.row, axis=1) >= 0
        has_token = first_sets(part.with_token, block.tokens.token, silent=~active, wanted=wanted)
        mined[split] = stratify_silent(
            active,
            has_top_token=has_token,
            neighbor_fires=first_sets(fires[s], neighbors, silent=~active & ~has_token, wanted=wanted),
            similarity=similarity(part.terms, _firing_incidence(block.firing[split], block.windows), block.terms),
            silent=table.silent_windows[s, block.features],
        )
    return mined


def _firing_incidence(firing: Firing, windows: WindowTokens) -> sparse.csr_matrix:
    """1 where a window of the reservoir stands for a feature and fires: [f, n windows]."""
    feature, place = np.nonzero(np.isin(firing.stratum, [STRATUM_CODE[q] for q in QUANTILES]))
    row = windows.rows_of(firing.window[feature, place])
    ones = np.ones(len(row), dtype=np.float32)
    return sparse.csr_matrix((ones, (feature, row)), shape=(len(firing.window), len(windows)))


def _active_contexts(table: FeatureTable, block: Block, split: Split) -> ChosenContexts:
    """Top windows, quantiles and grey ones."""
    quota, firing, features = QUOTAS[split], block.firing[split], block.features
    picked = pick_first(firing.stratum, firing_limits(firing.stratum, quota))
    window, value = block.top[split]
    strongest = np.where((window >= 0) & (value > table.tau[features, None]), STRATUM_CODE["top"], -1)
    strongest[:, quota.top :] = -1
    stratum = np.concatenate([strongest, np.where(picked, firing.stratum, -1)], 1)
    window = np.concatenate([window, firing.window], 1)
    value = np.concatenate([value, firing.value], 1)
    place, column = np.nonzero(stratum >= 0)
    code = stratum[place, column]
    return ChosenContexts(
        place=place,
        split=np.full(len(place), SPLITS.index(split)),
        stratum=code,
        row=block.windows.rows_of(window[place, column]),
        population=firing.population[place, code],
        sampled=count_strata(stratum, range(len(STRATA)))[place, code],
        max_activation=value[place, column],
    )


def _silent_contexts(negatives: Negatives, pool: Pool, block: Block, split: Split, seed: int) -> ChosenContexts:
    quota, window = QUOTAS[split], pool.windows.window[pool.splits[split].row]
    order = mix(torch.from_numpy(block.features)[:, None], torch.from_numpy(window)[None, :], seed + 1)
    place, column = pick_negatives(negatives, order.int().numpy(), hard=quota.hard, random=quota.random)
    code = negatives.stratum[place, column].astype(np.int64)
    cell = place * len(STRATA) + code
    sampled = np.bincount(cell, minlength=len(block.features) * len(STRATA))
    return ChosenContexts(
        place=place,
        split=np.full(len(place), SPLITS.index(split)),
        stratum=code,
        row=block.windows.rows_of(window[column]),
        population=negatives.population[place, code],
        sampled=sampled[cell],
        max_activation=np.zeros(len(place), dtype=np.float32),
    )


def _panel_activity(
    table: FeatureTable, pool: Pool, block: Block, negatives: Negatives, sample_id: str
) -> pl.DataFrame:
    """The stratum of every panel window that is not plain `random` for a feature."""
    firing, window = block.firing["score"], np.sort(pool.panel)
    column = np.searchsorted(pool.windows.window[pool.splits["score"].row], window)
    pair = block.active.pair.take(block.windows.rows_of(window), axis=1)
    active = np.append(block.active.maximum, np.float32(0))[pair]  # -1, which is silent, takes the last
    bins = bin_of(torch.from_numpy(active)).numpy()
    quantile = STRATUM_CODE["q1"] + (bins[:, :, None] >= firing.quantile_bins[:, None, :]).sum(-1)
    quantile = np.where(active > table.tau[block.features, None], quantile, STRATUM_CODE["grey"])
    stratum = np.where(active > 0, quantile, negatives.stratum.take(column, axis=1))
    population = np.maximum(firing.population, negatives.population)
    place, rank = np.nonzero(stratum != STRATUM_CODE["random"])
    code = stratum[place, rank]
    return panel_activity_frame(
        sample_id,
        feature=block.features[place],
        window=window[rank],
        stratum=code,
        population=population[place, code],
        max_activation=active[place, rank],
    )
