"""The tables of a sample: contexts, panel, features, feature splits, top tokens, for a range of features at a time.

Brings together the sampler's state, the codes on disk and the windows; every choice itself is in `contexts.py` and
`hard_negatives.py`. Writes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl
import torch
from scipy import sparse

from labeling.bins import HISTOGRAM_BINS, bin_of
from labeling.codes import Codes, window_maxima
from labeling.contexts import (
    QUOTAS,
    STRATUM_CODE,
    ChosenContexts,
    Firing,
    Negatives,
    choose_panel,
    choose_pool,
    pick_first,
    pick_negatives,
    stratify_firing,
    stratify_silent,
    top_rows,
)
from labeling.evidence import CONTEXTS, PANEL, PANEL_ACTIVITY
from labeling.feature_table import FeatureTable
from labeling.hard_negatives import (
    TopTokens,
    activity,
    contains_top_token,
    find_top_tokens,
    neighbor_fires,
    similarity,
    token_incidence,
    weigh_terms,
)
from labeling.sampler import SUM_UNIT, SamplerState, mix
from labeling.types import HARD, QUANTILES, SPLITS, STRATA, IntArray, Split, Windows

TOP_TOKENS = 10
"""Tokens of a feature that are stored."""
CANDIDATE_TOKENS = 40
"""Tokens of a feature that same-token negatives may be looked for with, the strongest first: a feature that fires
whenever its strongest tokens occur leaves no silent window with them."""


@dataclass(frozen=True)
class Pool:
    """What all features of a sample share: windows negatives are drawn from, their terms, and the panel."""

    windows: Windows
    rows: dict[Split, IntArray]  # pool rows of each split, ascending
    panel: IntArray  # rows of the panel, in panel order
    by_token: dict[Split, sparse.csc_matrix]  # [pool rows of the split, vocabulary], quick to read by token
    terms: sparse.csr_matrix  # [n windows, vocabulary] TF-IDF


def prepare_pool(windows: Windows, *, pool_size: int, panel_size: int, seed: int) -> Pool:
    """Draw the pool and the panel, and index the windows' words once for all features."""
    rows = choose_pool(windows, size=pool_size, seed=seed)
    incidence = token_incidence(windows)
    return Pool(
        windows=windows,
        rows={split: rows[windows.split[rows] == split] for split in SPLITS},
        panel=choose_panel(windows, size=min(panel_size, pool_size), seed=seed),
        by_token={split: incidence[rows[windows.split[rows] == split]].tocsc() for split in SPLITS},
        terms=weigh_terms(incidence),
    )


@dataclass(frozen=True)
class ContextTables:
    """Tables of a range of features, columns as in the store."""

    contexts: pl.DataFrame
    panel_activity: pl.DataFrame
    feature_tokens: pl.DataFrame


def build_tables(
    state: SamplerState,
    table: FeatureTable,
    *,
    pool: Pool,
    codes: Codes,
    features: IntArray,
    neighbors: IntArray,
    sample_id: str,
    seed: int,
) -> ContextTables:
    """Choose and describe the contexts of `features` (ascending).

    `codes` holds all activations of `features` and of their `neighbors` ([f, k] feature ids, -1 for none).
    """
    windows = pool.windows
    firing = {split: stratify_firing(state, table, split=split, features=features) for split in SPLITS}
    shown = _evidence_codes(state, firing["explain"], codes, features)
    tokens = find_top_tokens(shown, windows, features=features, n=CANDIDATE_TOKENS)
    chosen: list[ChosenContexts] = []
    panel = PANEL_ACTIVITY.schema.to_frame()
    for split in SPLITS:
        silent = _silent_strata(table, pool, codes, firing[split], tokens, features, neighbors, split)
        chosen.append(_active_contexts(state, table, firing[split], windows, features, split))
        chosen.append(_silent_contexts(silent, pool, features, split, seed))
        if split == "score":
            panel = _panel_activity(table, pool, firing[split], silent, codes, features, sample_id)
    return ContextTables(
        contexts=_contexts_frame(chosen, windows, codes, sample_id),
        panel_activity=panel,
        feature_tokens=_token_frame(tokens, windows, features, sample_id),
    )


def panel_table(pool: Pool, sample_id: str) -> pl.DataFrame:
    """The shared random panel."""
    columns = {"sample_id": sample_id, "rank": np.arange(len(pool.panel)), "window_id": pool.windows.window[pool.panel]}
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


def _evidence_codes(state: SamplerState, firing: Firing, codes: Codes, features: IntArray) -> Codes:
    """Activations in the windows of `explain` that stand for a feature: the only ones its top tokens may come from."""
    top, _ = top_rows(state, split="explain", features=features)
    window = np.concatenate([top, firing.window], 1)
    feature = np.broadcast_to(features[:, None], window.shape)
    return codes.take(_among(codes, feature[window >= 0], window[window >= 0]))


def _among(codes: Codes, features: IntArray, windows: IntArray) -> npt.NDArray[np.bool_]:
    """Which activations belong to one of the pairs (features, windows). Codes are in order, so each pair is a slice."""
    have, wanted = _pair(codes.feature, codes.window), np.unique(_pair(features, windows))
    change = np.zeros(len(have) + 1, dtype=np.int64)
    np.add.at(change, np.searchsorted(have, wanted, side="left"), 1)
    np.add.at(change, np.searchsorted(have, wanted, side="right"), -1)
    return np.asarray(change[:-1].cumsum() > 0)


def _pair(feature: IntArray, window: IntArray) -> IntArray:
    return np.asarray((feature.astype(np.int64) << 32) | window)


def _silent_strata(
    table: FeatureTable,
    pool: Pool,
    codes: Codes,
    firing: Firing,
    tokens: TopTokens,
    features: IntArray,
    neighbors: IntArray,
    split: Split,
) -> Negatives:
    rows = pool.rows[split]
    window = pool.windows.window[rows]
    maxima = window_maxima(codes)
    active = activity(maxima, features=features, window=window) > 0
    third = -(-QUOTAS[split].hard // len(HARD))
    has_token = contains_top_token(pool.by_token[split], tokens.token, silent=~active, wanted=third)
    near = np.unique(neighbors[neighbors >= 0])
    fires = activity(maxima, features=near, window=window) > table.tau[near, None]
    place = np.where(neighbors >= 0, np.searchsorted(near, neighbors), -1)
    return stratify_silent(
        active,
        has_top_token=has_token,
        neighbor_fires=neighbor_fires(fires, place, silent=~active & ~has_token, wanted=third),
        similarity=similarity(pool.terms, _firing_incidence(firing, pool.windows), rows),
        silent=table.silent_windows[SPLITS.index(split), features],
    )


def _firing_incidence(firing: Firing, windows: Windows) -> sparse.csr_matrix:
    """1 where a window of the reservoir stands for a feature and fires: [f, n windows]."""
    feature, place = np.nonzero(np.isin(firing.stratum, [STRATUM_CODE[q] for q in QUANTILES]))
    row = windows.rows_of(firing.window[feature, place])
    ones = np.ones(len(row), dtype=np.float32)
    return sparse.csr_matrix((ones, (feature, row)), shape=(len(firing.window), len(windows)))


def _active_contexts(
    state: SamplerState, table: FeatureTable, firing: Firing, windows: Windows, features: IntArray, split: Split
) -> ChosenContexts:
    """Top windows, quantiles and grey ones."""
    quota = QUOTAS[split]
    limits = np.zeros(len(STRATA), dtype=np.int64)
    limits[[STRATUM_CODE[q] for q in QUANTILES]] = quota.quantile
    limits[STRATUM_CODE["grey"]] = quota.grey
    window, value = top_rows(state, split=split, features=features)
    strongest = np.where((window >= 0) & (value > table.tau[features, None]), STRATUM_CODE["top"], -1)
    strongest[:, quota.top :] = -1
    stratum = np.concatenate([strongest, np.where(pick_first(firing.stratum, limits), firing.stratum, -1)], 1)
    window = np.concatenate([window, firing.window], 1)
    value = np.concatenate([value, firing.value], 1)
    feature, place = np.nonzero(stratum >= 0)
    code = stratum[feature, place]
    sampled = np.stack([(stratum == c).sum(1) for c in range(len(STRATA))], 1)
    return ChosenContexts(
        feature=features[feature],
        split=np.full(len(feature), SPLITS.index(split)),
        stratum=code,
        row=windows.rows_of(window[feature, place]),
        population=firing.population[feature, code],
        sampled=sampled[feature, code],
        max_activation=value[feature, place],
    )


def _silent_contexts(negatives: Negatives, pool: Pool, features: IntArray, split: Split, seed: int) -> ChosenContexts:
    quota, rows = QUOTAS[split], pool.rows[split]
    ids = torch.from_numpy(pool.windows.window[rows])
    order = mix(torch.from_numpy(features)[:, None], ids[None, :], seed + 1).numpy()
    mask = pick_negatives(negatives, order, hard=quota.hard, random=quota.random)
    feature, column = np.nonzero(mask)
    code = negatives.stratum[feature, column].astype(np.int64)
    sampled = np.stack([(mask & (negatives.stratum == c)).sum(1) for c in range(len(STRATA))], 1)
    return ChosenContexts(
        feature=features[feature],
        split=np.full(len(feature), SPLITS.index(split)),
        stratum=code,
        row=rows[column],
        population=negatives.population[feature, code],
        sampled=sampled[feature, code],
        max_activation=np.zeros(len(feature), dtype=np.float32),
    )


def _panel_activity(
    table: FeatureTable,
    pool: Pool,
    firing: Firing,
    negatives: Negatives,
    codes: Codes,
    features: IntArray,
    sample_id: str,
) -> pl.DataFrame:
    """The stratum of every panel window that is not plain `random` for a feature."""
    column = np.searchsorted(pool.rows["score"], np.sort(pool.panel))
    window = pool.windows.window[pool.rows["score"][column]]
    active = activity(window_maxima(codes), features=features, window=window)
    place = bin_of(torch.from_numpy(active)).numpy()
    quantile = STRATUM_CODE["q1"] + (place[:, :, None] >= firing.quantile_bins[:, None, :]).sum(-1)
    quantile = np.where(active > table.tau[features, None], quantile, STRATUM_CODE["grey"])
    stratum = np.where(active > 0, quantile, negatives.stratum[:, column])
    population = np.maximum(firing.population, negatives.population)
    feature, place = np.nonzero(stratum != STRATUM_CODE["random"])
    code = stratum[feature, place]
    return pl.DataFrame(
        {
            "sample_id": [sample_id] * len(feature),
            "feature": features[feature],
            "window_id": window[place],
            "stratum": np.array(STRATA)[code],
            "population": population[feature, code],
            "max_activation": active[feature, place],
        },
        schema=PANEL_ACTIVITY.schema,
    )


def _contexts_frame(chosen: list[ChosenContexts], windows: Windows, codes: Codes, sample_id: str) -> pl.DataFrame:
    """All contexts with the activations in them, as sparse positions and values."""
    row = np.concatenate([c.row for c in chosen])
    frame = pl.DataFrame(
        {
            "feature": np.concatenate([c.feature for c in chosen]).astype(np.int32),
            "split": np.array(SPLITS)[np.concatenate([c.split for c in chosen])],
            "stratum": np.array(STRATA)[np.concatenate([c.stratum for c in chosen])],
            "window_id": windows.window[row],
            "document_id": windows.document_id[row],
            "population": np.concatenate([c.population for c in chosen]),
            "sampled": np.concatenate([c.sampled for c in chosen]),
            "max_activation": np.concatenate([c.max_activation for c in chosen]),
        }
    )
    active = frame.filter(pl.col("max_activation") > 0)
    wanted = codes.take(_among(codes, active["feature"].to_numpy(), active["window_id"].to_numpy()))
    sparse_values = (
        pl.DataFrame(
            {
                "feature": wanted.feature.astype(np.int32),
                "window_id": wanted.window,
                "positions": wanted.position.astype(np.int16),
                "activations": wanted.value,
            }
        )
        .group_by("feature", "window_id", maintain_order=True)
        .agg("positions", "activations")
    )
    empty = [pl.lit([], dtype=pl.List(t)) for t in (pl.Int16, pl.Float32)]
    return (
        frame.join(sparse_values, on=["feature", "window_id"], how="left")
        .with_columns(
            pl.lit(sample_id).alias("sample_id"),
            pl.col("sampled").cast(pl.Int32),
            pl.coalesce("positions", empty[0]).alias("positions"),
            pl.coalesce("activations", empty[1]).alias("activations"),
        )
        .select(CONTEXTS.schema.names())
        .sort(CONTEXTS.sorted_by)
    )


def _token_frame(tokens: TopTokens, windows: Windows, features: IntArray, sample_id: str) -> pl.DataFrame:
    feature, rank = np.nonzero(tokens.token[:, :TOP_TOKENS] >= 0)
    return pl.DataFrame(
        {
            "sample_id": [sample_id] * len(feature),
            "feature": features[feature],
            "rank": rank,
            "token": [windows.vocabulary[i] for i in tokens.token[feature, rank]],
            "mean_activation": tokens.mean_activation[feature, rank],
            "occurrences": tokens.occurrences[feature, rank],
        }
    )
