"""Stage sample: run model and dictionaries over the corpus once, then choose contexts for every feature.

First a shard of documents at a time (activations to sampler state and codes on disk), then, all states merged, a range
of features at a time (state and codes to contexts). Both kinds of shards can be lost and done again on their own.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import polars as pl
import torch
from safetensors.torch import load_file

from flows.session import Session
from flows.sources import SourceGroup, close_sources, group_feature_sets, open_source
from flows.stages.prepare_corpus import PreparedCorpus, find_corpus, prepare_corpus
from labeling import evidence
from labeling.codes import Codes, read_codes, save_codes
from labeling.context_tables import Pool, build_tables, feature_tables, panel_table, prepare_pool
from labeling.errors import FeatlasError
from labeling.feature_table import FeatureTable, describe_features
from labeling.identity import identify
from labeling.neighbors import nearest_neighbors
from labeling.sampler import SamplerState, empty_state, merge, update
from labeling.sources import FeatureSetInfo
from labeling.tensor_files import save_tensors
from labeling.types import SPLITS, IntArray
from labeling.windows import load_windows
from labeling.workspace import Workspace

TAU_SHARE = 0.01
FEATURES_PER_SHARD = 512
POOL_WINDOWS = 20_000
"""Windows of each split that negatives are drawn from; a split with fewer is used whole."""
NEIGHBORS_FOR_NEGATIVES = 5
TORCH_THREADS = 2
"""Taken unasked by one process: of more a small model gains little."""


@dataclass(frozen=True)
class Sample:
    """One feature set on one corpus: what the later stages work on."""

    sample_id: str
    feature_set: FeatureSetInfo
    corpus: PreparedCorpus


@dataclass(frozen=True)
class SampleShard:
    """One shard of documents, for all feature sets of a group."""

    root: Path
    group: SourceGroup
    sample_ids: tuple[str, ...]
    corpus_id: str
    shard: int
    sequence: int
    top: int
    reservoir: int
    seed: int


@dataclass(frozen=True)
class ContextShard:
    """One range of features of one sample."""

    root: Path
    sample_id: str
    corpus_id: str
    n_shards: int
    first: int
    last: int
    """First feature of the range, and the one after its last."""
    panel: int
    seed: int

    @property
    def shard(self) -> int:
        return self.first // FEATURES_PER_SHARD


def sample_all(session: Session) -> list[Sample]:
    """Sample every feature set of the config. Raise FeatlasError for a corpus or dictionary that cannot be used."""
    threads = session.config.sample.threads or min(TORCH_THREADS, session.cores)
    groups = group_feature_sets(session.config, threads=threads)
    samples = [sample for group in groups for sample in _sample_group(session, group)]
    close_sources()
    return samples


def find_samples(session: Session) -> list[Sample]:
    """The samples of the config that are complete; nothing is computed but what tells them apart."""
    groups = group_feature_sets(session.config, threads=1)
    found: list[Sample] = []
    for group in groups:
        source = open_source(group)
        corpus = find_corpus(session, source, max_tokens=group.max_tokens)
        if corpus is not None:
            samples = [Sample(_sample_id(session, info, corpus), info, corpus) for info in source.feature_sets]
            found += [sample for sample in samples if session.store.shard_done("sample", sample.sample_id, 0)]
    close_sources()
    return found


def _sample_group(session: Session, group: SourceGroup) -> list[Sample]:
    source, settings = open_source(group), session.config.sample
    corpus = prepare_corpus(session, source, max_tokens=group.max_tokens)
    samples = [Sample(_sample_id(session, info, corpus), info, corpus) for info in source.feature_sets]
    open_ids = [s.sample_id for s in samples if not session.store.shard_done("sample", s.sample_id, 0)]
    if not open_ids:
        return samples
    parallel = source.parallel and session.cores > TORCH_THREADS  # two processes gain little over two threads
    shard_group = replace(group, threads=1) if parallel else group
    jobs = [
        SampleShard(
            root=session.workspace.root,
            group=shard_group,
            sample_ids=tuple(s.sample_id for s in samples),
            corpus_id=corpus.corpus_id,
            shard=shard,
            sequence=settings.sequence,
            top=settings.top,
            reservoir=settings.reservoir,
            seed=settings.seed,
        )
        for shard in range(corpus.n_shards)
        if not all(session.store.shard_done("activations", s.sample_id, shard) for s in samples)
    ]
    done = corpus.n_shards - len(jobs)
    for job, seconds in session.runner(sample_shard, jobs, name="sample", parallel=parallel):
        for sample in samples:
            session.store.finish_shard("activations", sample.sample_id, job.shard, rows=0, seconds=seconds)
        done += 1
        name = ", ".join(s.feature_set.name for s in samples)
        session.progress.advance(f"sample {name}", done=done, total=corpus.n_shards, unit="shards")
    for index, sample in enumerate(samples):
        if sample.sample_id in open_ids:
            _finish_sample(session, sample, source.directions(index))
    return samples


def _sample_id(session: Session, info: FeatureSetInfo, corpus: PreparedCorpus) -> str:
    settings = session.config.sample
    return identify(
        "sample",
        feature_set=info.name,
        fingerprint=info.fingerprint,
        hook=info.hook,
        corpus=corpus.corpus_id,
        sequence=settings.sequence,
        window=settings.window,
        tau_share=TAU_SHARE,
        top=settings.top,
        reservoir=settings.reservoir,
        panel=settings.panel,
        seed=settings.seed,
    )


def state_file(workspace: Workspace, sample_id: str, shard: int | None = None) -> Path:
    """Where the sampler state of a shard stands; the merged one without a number."""
    name = "state" if shard is None else f"state-{shard:05d}"
    return workspace.sampler / sample_id / f"{name}.safetensors"


def codes_file(workspace: Workspace, sample_id: str, shard: int) -> Path:
    return workspace.sampler / sample_id / f"codes-{shard:05d}.safetensors"


def sample_shard(job: SampleShard) -> float:
    """Run the model over one shard of documents; write sampler states and codes. Return wall seconds."""
    started = time.perf_counter()
    workspace, source = Workspace(job.root), open_source(job.group)
    windows = pl.read_parquet(evidence.shard_file(workspace, "windows", job.corpus_id, job.shard))
    first = int(windows["window_id"][0])
    split = torch.from_numpy(windows["split"].replace_strict(list(SPLITS), range(len(SPLITS))).to_numpy().copy())
    states = [empty_state(info.n_features, top=job.top, reservoir=job.reservoir) for info in source.feature_sets]
    codes: list[list[tuple[torch.Tensor, ...]]] = [[] for _ in states]
    for batch in source.events(windows, sequence=job.sequence):
        update(
            states[batch.feature_set],
            batch.feature,
            window=batch.window,
            split=split[batch.window - first].long(),
            value=batch.value,
            seed=job.seed,
        )
        codes[batch.feature_set].append((batch.feature, batch.window, batch.position, batch.value))
    for sample_id, state, parts, info in zip(job.sample_ids, states, codes, source.feature_sets, strict=True):
        file = codes_file(workspace, sample_id, job.shard)
        save_codes(file, _joined(parts), n_features=info.n_features)
        save_tensors(state_file(workspace, sample_id, job.shard), state.tensors())
    return time.perf_counter() - started


def _joined(parts: list[tuple[torch.Tensor, ...]]) -> Codes:
    if not parts:
        none = np.zeros(0, np.int64)
        return Codes(none, none, none, np.zeros(0, np.float32))
    feature, window, position, value = (torch.cat(column).numpy() for column in zip(*parts, strict=True))
    return Codes(feature, window, position, value)


def _load_state(path: Path) -> SamplerState:
    return SamplerState(**load_file(path))


def _finish_sample(session: Session, sample: Sample, directions: np.ndarray | None) -> None:
    """Merge the shards' states, decide which features are worth labeling, and choose contexts."""
    workspace, store, settings = session.workspace, session.store, session.config.sample
    started = time.perf_counter()
    state = _load_state(state_file(workspace, sample.sample_id, 0))
    for shard in range(1, sample.corpus.n_shards):
        state = merge(state, _load_state(state_file(workspace, sample.sample_id, shard)))
    table = _described(state, sample.corpus)
    if not (table.maximum > 0).any():
        raise FeatlasError(
            f"Every feature of {sample.feature_set.name} is dead: none of {sample.feature_set.n_features} features "
            f"was active on {sample.corpus.n_tokens:,} tokens. Does the dictionary {sample.feature_set.dictionary} "
            f"belong to {sample.feature_set.model} at {sample.feature_set.hook}?"
        )
    save_tensors(state_file(workspace, sample.sample_id), state.tensors())
    _save_directions(workspace, sample.sample_id, directions)
    _save_facts(session, sample, state, table)
    jobs = [
        ContextShard(
            root=workspace.root,
            sample_id=sample.sample_id,
            corpus_id=sample.corpus.corpus_id,
            n_shards=sample.corpus.n_shards,
            first=first,
            last=min(first + FEATURES_PER_SHARD, state.n_features),
            panel=settings.panel,
            seed=settings.seed,
        )
        for first in range(0, state.n_features, FEATURES_PER_SHARD)
        if not store.shard_done("contexts", sample.sample_id, first // FEATURES_PER_SHARD)
    ]
    for job, tokens in session.runner(context_shard, jobs, name="contexts", parallel=True):
        store.save("feature_tokens", tokens)
        for table_name in ("panel", "panel_activity", "contexts"):  # contexts last: its row says the shard is complete
            session.record_evidence(table_name, sample.sample_id, job.shard)
        session.progress.advance(
            f"contexts {sample.feature_set.name}", done=job.last, total=state.n_features, unit="features"
        )
    store.finish_shard("sample", sample.sample_id, 0, rows=state.n_features, seconds=time.perf_counter() - started)


def _described(state: SamplerState, corpus: PreparedCorpus) -> FeatureTable:
    n_windows = np.array([corpus.n_windows[split] for split in SPLITS])
    return describe_features(state, n_windows, n_tokens=corpus.n_tokens, tau_share=TAU_SHARE)


def _save_directions(workspace: Workspace, sample_id: str, directions: np.ndarray | None) -> None:
    if directions is not None:
        tensor = torch.from_numpy(np.ascontiguousarray(directions, dtype=np.float32))
        save_tensors(directions_file(workspace, sample_id), {"directions": tensor})


def directions_file(workspace: Workspace, sample_id: str) -> Path:
    """Where the decoder directions of a sample stand; absent when the source knows none."""
    return workspace.vectors / f"directions-{sample_id}.safetensors"


def load_directions(workspace: Workspace, sample_id: str) -> np.ndarray | None:
    """Decoder directions [n_features, d_model] float32, or None when unknown."""
    path = directions_file(workspace, sample_id)
    return load_file(path)["directions"].numpy() if path.exists() else None


def _save_facts(session: Session, sample: Sample, state: SamplerState, table: FeatureTable) -> None:
    info, corpus = sample.feature_set, sample.corpus
    features, splits = feature_tables(state, table, n_tokens=corpus.n_tokens, sample_id=sample.sample_id)
    session.store.save("feature_sets", _feature_set_row(session, info))
    session.store.save("features", features)
    session.store.save("feature_splits", splits)
    session.store.save("samples", _sample_row(session, sample))


def _feature_set_row(session: Session, info: FeatureSetInfo) -> pl.DataFrame:
    source = next((f.source for f in session.config.features if f.name == info.name), "torch")
    return pl.DataFrame(
        {
            "feature_set": [info.name],
            "source": [source],
            "model": [info.model],
            "hook": [info.hook],
            "dictionary": [info.dictionary],
            "architecture": [info.architecture],
            "n_features": [info.n_features],
            "d_model": [info.d_model],
            "fingerprint": [info.fingerprint],
            "control_for": [info.control_for],
        }
    )


def _sample_row(session: Session, sample: Sample) -> pl.DataFrame:
    settings, corpus = session.config.sample, sample.corpus
    return pl.DataFrame(
        {
            "sample_id": [sample.sample_id],
            "feature_set": [sample.feature_set.name],
            "corpus_id": [corpus.corpus_id],
            "corpus": [corpus.name],
            "tokenizer_id": [corpus.tokenizer_id],
            "sequence": [settings.sequence],
            "window_tokens": [settings.window],
            "tau_share": [TAU_SHARE],
            "seed": [settings.seed],
            "n_documents": [corpus.n_documents],
            "n_duplicates": [corpus.n_duplicates],
            "n_tokens": [corpus.n_tokens],
            "n_windows": [sum(corpus.n_windows.values())],
            "run_id": [session.run_id],
            "created_at": [session.now()],
        }
    )


def context_shard(job: ContextShard) -> pl.DataFrame:
    """Choose the contexts of one range of features, write them, and return the features' top tokens."""
    workspace = Workspace(job.root)
    state = _merged_state(state_file(workspace, job.sample_id))
    pool = _pool(job.root, job.corpus_id, job.panel, job.seed)
    n_windows = np.array([(pool.windows.split == split).sum() for split in SPLITS])
    n_tokens = int(pool.windows.n_tokens.sum())
    table = describe_features(state, n_windows, n_tokens=n_tokens, tau_share=TAU_SHARE)
    features = np.arange(job.first, job.last)
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
    return _load_state(path)


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
