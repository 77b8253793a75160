"""The second half of stage sample: a range of features' contexts, from merged sampler state and the codes on disk."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from flows.stages.sampler_files import codes_file, load_directions, load_state, state_file
from labeling import evidence
from labeling.codes import CodeReader, code_reader
from labeling.context_tables import Pool, build_tables, firing_windows, panel_table, prepare_pool
from labeling.feature_table import FeatureTable, describe_features
from labeling.hard_negatives import NO_SETS, WindowSets
from labeling.neighbors import nearest_of, unit_directions
from labeling.sampler import SamplerState
from labeling.types import SPLITS, TAU_SHARE, FloatArray, IntArray
from labeling.window_tokens import COLUMNS
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
    common = what_is_common(replace(job, first=0, end=0))
    features = np.arange(job.first, job.end)
    tables = build_tables(
        common.state,
        common.table,
        pool=common.pool,
        codes=common.codes,
        features=features,
        neighbors=decoder_neighbors(workspace, job.sample_id, features),
        fires=common.fires,
        sample_id=job.sample_id,
        seed=job.seed,
    )
    evidence.write_shard(workspace, "contexts", job.sample_id, job.shard, tables.contexts)
    evidence.write_shard(workspace, "panel_activity", job.sample_id, job.shard, tables.panel_activity)
    if job.first == 0:
        evidence.write_shard(workspace, "panel", job.sample_id, 0, panel_table(common.pool, job.sample_id))
    return tables.feature_tokens


@dataclass(frozen=True, eq=False)
class Common:
    """What all ranges of features of a sample need."""

    state: SamplerState
    table: FeatureTable
    pool: Pool
    codes: CodeReader
    fires: Sequence[WindowSets]


@lru_cache(maxsize=1)
def what_is_common(job: ContextShard) -> Common:
    """Loaded once a process. `job` is that of no feature."""
    workspace = Workspace(job.root)
    parts = partial(_window_parts, job.root, job.corpus_id)
    pool = prepare_pool(parts, pool_size=POOL_WINDOWS, panel_size=job.panel, seed=job.seed)
    state = load_state(state_file(workspace, job.sample_id))
    table = describe_features(state, pool.survey.n_windows, n_tokens=pool.survey.n_tokens, tau_share=TAU_SHARE)
    codes = code_reader([codes_file(workspace, job.sample_id, shard) for shard in range(job.n_shards)])
    known = _unit_directions(workspace, job.sample_id) is not None
    return Common(state, table, pool, codes, firing_windows(codes, table, pool) if known else [NO_SETS] * len(SPLITS))


def _window_parts(root: Path, corpus_id: str) -> Iterator[pl.DataFrame]:
    for file in evidence.shard_files(Workspace(root), "windows", corpus_id):
        yield pl.read_parquet(file, columns=list(COLUMNS), glob=False)


def decoder_neighbors(workspace: Workspace, sample_id: str, features: IntArray) -> IntArray:
    """Nearest features of `features` by decoder cosine, [f, k]; -1 everywhere when directions are unknown."""
    directions = _unit_directions(workspace, sample_id)
    if directions is None:
        return np.full((len(features), NEIGHBORS_FOR_NEGATIVES), -1)
    neighbor, _ = nearest_of(features, *directions, count=NEIGHBORS_FOR_NEGATIVES)
    return neighbor


@lru_cache(maxsize=1)
def _unit_directions(workspace: Workspace, sample_id: str) -> tuple[FloatArray, npt.NDArray[np.bool_]] | None:
    directions = load_directions(workspace, sample_id)
    return None if directions is None else unit_directions(directions)
