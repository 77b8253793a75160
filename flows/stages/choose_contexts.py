"""The second half of stage sample: a range of features' contexts, from merged sampler state and the codes on disk."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import polars as pl

from flows.stages.sampler_files import codes_file, load_directions, load_state, state_file
from labeling import evidence
from labeling.codes import read_codes
from labeling.context_tables import Pool, build_tables, panel_table, prepare_pool
from labeling.feature_table import describe_features
from labeling.neighbors import nearest_neighbors
from labeling.sampler import SamplerState
from labeling.types import SPLITS, TAU_SHARE, IntArray
from labeling.windows import load_windows
from labeling.workspace import Workspace

FEATURES_PER_SHARD = 512
POOL_WINDOWS = 20_000
"""Windows of each split that negatives are drawn from; a split with fewer is used whole."""
NEIGHBORS_FOR_NEGATIVES = 5


@dataclass(frozen=True)
class ContextShard:
    """One range of features of one sample."""

    root: Path
    sample_id: str
    corpus_id: str
    n_shards: int
    first: int
    end: int
    """First feature of the range, and the one after its last."""
    panel: int
    seed: int

    @property
    def shard(self) -> int:
        return self.first // FEATURES_PER_SHARD


def context_shard(job: ContextShard) -> pl.DataFrame:
    """Choose the contexts of one range of features, write them, and return the features' top tokens."""
    workspace = Workspace(job.root)
    state = _merged_state(state_file(workspace, job.sample_id))
    pool = _pool(job.root, job.corpus_id, job.panel, job.seed)
    n_windows = np.array([(pool.windows.split == split).sum() for split in SPLITS])
    n_tokens = int(pool.windows.n_tokens.sum())
    table = describe_features(state, n_windows, n_tokens=n_tokens, tau_share=TAU_SHARE)
    features = np.arange(job.first, job.end)
    neighbors = decoder_neighbors(workspace, job.sample_id, state.n_features)[features]
    needed = np.union1d(features, neighbors[neighbors >= 0])
    codes = read_codes([codes_file(workspace, job.sample_id, shard) for shard in range(job.n_shards)], needed)
    tables = build_tables(
        state,
        table,
        pool=pool,
        codes=codes,
        features=features,
        neighbors=neighbors,
        sample_id=job.sample_id,
        seed=job.seed,
    )
    evidence.write_shard(workspace, "contexts", job.sample_id, job.shard, tables.contexts)
    evidence.write_shard(workspace, "panel_activity", job.sample_id, job.shard, tables.panel_activity)
    if job.first == 0:
        evidence.write_shard(workspace, "panel", job.sample_id, 0, panel_table(pool, job.sample_id))
    return tables.feature_tokens


@lru_cache(maxsize=1)
def _merged_state(path: Path) -> SamplerState:
    return load_state(path)


@lru_cache(maxsize=1)
def _pool(root: Path, corpus_id: str, panel: int, seed: int) -> Pool:
    """Windows and their terms, loaded once a process for all ranges of features."""
    windows = load_windows(evidence.scan(Workspace(root), "windows", corpus_id).collect())
    return prepare_pool(windows, pool_size=POOL_WINDOWS, panel_size=panel, seed=seed)


@lru_cache(maxsize=1)
def decoder_neighbors(workspace: Workspace, sample_id: str, n_features: int) -> IntArray:
    """Nearest features by decoder cosine, [n_features, k]; -1 everywhere when directions are unknown."""
    directions = load_directions(workspace, sample_id)
    if directions is None:
        return np.full((n_features, NEIGHBORS_FOR_NEGATIVES), -1)
    return nearest_neighbors(directions, count=NEIGHBORS_FOR_NEGATIVES).neighbor
