"""Stage sample: run model and dictionaries over the corpus once, then choose contexts for every feature.

First a shard of documents at a time (activations to sampler state and codes on disk), then, all states merged, a range
of features at a time (state and codes to contexts). Both kinds of shards can be lost and done again on their own.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
import torch

from flows.session import Session
from flows.sources import SourceGroup, close_sources, group_feature_sets, open_source
from flows.stages.cache_activations import cache_activations
from flows.stages.choose_contexts import FEATURES_PER_SHARD, ContextShard, context_shard
from flows.stages.prepare_corpus import PreparedCorpus, find_corpus, prepare_corpus
from flows.stages.sample_shard import SampleShard, sample_shard
from flows.stages.sampler_files import directions_file, load_state, state_file
from labeling.context_tables import feature_tables
from labeling.contexts import CHOICE_VERSION
from labeling.errors import FeatlasError
from labeling.feature_table import FeatureTable, describe_features
from labeling.identity import identify
from labeling.sampler import SamplerState, merge
from labeling.sources import FeatureSetInfo, FeatureSource, NamesFeatures
from labeling.tensor_files import save_tensors
from labeling.types import SPLITS, TAU_SHARE
from labeling.workspace import Workspace

TORCH_THREADS = 2
"""Taken unasked by one process: of more a small model gains little."""
MERGED_AT_ONCE = 16
"""States of shards that are in memory together."""


@dataclass(frozen=True)
class Sample:
    """One feature set on one corpus: what the later stages work on."""

    sample_id: str
    feature_set: FeatureSetInfo
    corpus: PreparedCorpus


def silence_is_known(sample: Sample) -> bool:
    """Whether windows without an activation are known to have none; without that every score would be a guess."""
    return sample.feature_set.extent == "all"


def sample_all(session: Session) -> list[Sample]:
    """Sample every feature set of the config. Raise FeatlasError for a corpus or dictionary that cannot be used."""
    threads = session.config.sample.threads or min(TORCH_THREADS, session.cores)
    groups = group_feature_sets(session.config, threads=threads)
    samples = [sample for group in groups for sample in _sample_group(session, group)]
    close_sources()
    if session.workers is not None:
        session.workers.close()  # they hold models too
    return samples


def find_samples(session: Session) -> list[Sample]:
    """The samples of the config that are complete; nothing is computed but what tells them apart."""
    groups = group_feature_sets(session.config, threads=1)
    found: list[Sample] = []
    for group in groups:
        source = open_source(group, session.workspace, say=session.progress.say)
        corpus = find_corpus(session, source, max_tokens=group.max_tokens)
        if corpus is not None:
            samples = [Sample(_sample_id(session, info, corpus), info, corpus) for info in source.feature_sets]
            found += [sample for sample in samples if session.store.shard_done("sample", sample.sample_id, 0)]
    close_sources()
    return found


def _sample_group(session: Session, group: SourceGroup) -> list[Sample]:
    source = open_source(group, session.workspace, say=session.progress.say)
    for info in source.feature_sets:
        _check_selections(session, info)
    corpus = prepare_corpus(session, source, max_tokens=group.max_tokens)
    samples = [Sample(_sample_id(session, info, corpus), info, corpus) for info in source.feature_sets]
    open_ids = [s.sample_id for s in samples if not session.store.shard_done("sample", s.sample_id, 0)]
    if open_ids:
        _tell_of_earlier_samples(session, [s for s in samples if s.sample_id in open_ids])
        _sample_shards(session, source, group, samples)
        for index, sample in enumerate(samples):
            if sample.sample_id in open_ids:
                if isinstance(source, NamesFeatures):
                    _save_names(session, sample, source.feature_names())
                _finish_sample(session, sample, source.directions(index))
    for sample in samples if session.config.sample.cache_activations else []:
        cache_activations(session, source, sample.feature_set, sample_id=sample.sample_id, corpus=sample.corpus)
    return samples


def _tell_of_earlier_samples(session: Session, fresh: Sequence[Sample]) -> None:
    """A changed setting is easily overlooked, and then everything is labeled, and paid for, anew."""
    for sample in fresh:
        name, earlier = sample.feature_set.name, session.store.read("samples", feature_set=sample.feature_set.name)
        if len(earlier.filter(pl.col("sample_id") != sample.sample_id)):
            session.progress.say(
                f"{name}: text or sample settings are not those of the sample that is there, so a new one is made. Labels and "
                "scores of the old one stay in the tables under its sample_id; pages, exports and the scoreboard show the new one"
            )


def _sample_shards(session: Session, source: FeatureSource, group: SourceGroup, samples: list[Sample]) -> None:
    """Run source and dictionaries over all documents that are not done yet."""
    settings, corpus = session.config.sample, samples[0].corpus
    # two processes gain little over two threads
    parallel = source.parallel and session.processes > TORCH_THREADS and corpus.n_shards > 1
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
    for job, cost in session.runner(sample_shard, jobs, name="sample", parallel=parallel):
        for sample in samples:
            session.store.finish_shard("activations", sample.sample_id, job.shard, rows=0, seconds=cost.whole.seconds)
        done += 1
        name = ", ".join(s.feature_set.name for s in samples)
        session.progress.advance(f"sample {name}", done=done, total=corpus.n_shards, unit="shards")


def _save_names(session: Session, sample: Sample, names: pl.DataFrame) -> None:
    if len(names):
        session.store.save("feature_names", names.with_columns(pl.lit(sample.sample_id).alias("sample_id")))


def _check_selections(session: Session, info: FeatureSetInfo) -> None:
    """Raise UsageError for features that the dictionary does not have, before hours are spent on sampling."""
    for selection in (session.config.label.features, session.config.score.features):
        if info.control_for is None and selection.sql is None:
            selection.within(info.n_features)


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
        choice=CHOICE_VERSION,
    )


def _finish_sample(session: Session, sample: Sample, directions: np.ndarray | None) -> None:
    """Merge the shards' states, decide which features are worth labeling, and choose contexts."""
    workspace, store, settings = session.workspace, session.store, session.config.sample
    started = time.perf_counter()
    state = _merged(workspace, sample)
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
            end=min(first + FEATURES_PER_SHARD, state.n_features),
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
            f"contexts {sample.feature_set.name}", done=job.end, total=state.n_features, unit="features"
        )
    store.finish_shard("sample", sample.sample_id, 0, rows=state.n_features, seconds=time.perf_counter() - started)


def _merged(workspace: Workspace, sample: Sample) -> SamplerState:
    """State of all shards, some at a time."""
    files = [state_file(workspace, sample.sample_id, shard) for shard in range(sample.corpus.n_shards)]
    states: list[SamplerState] = []
    for first in range(0, len(files), MERGED_AT_ONCE):
        states = [merge([*states, *map(load_state, files[first : first + MERGED_AT_ONCE])])]
    return states[0]


def _described(state: SamplerState, corpus: PreparedCorpus) -> FeatureTable:
    n_windows = np.array([corpus.n_windows[split] for split in SPLITS])
    return describe_features(state, n_windows, n_tokens=corpus.n_tokens, tau_share=TAU_SHARE)


def _save_directions(workspace: Workspace, sample_id: str, directions: np.ndarray | None) -> None:
    if directions is not None:
        tensor = torch.from_numpy(np.ascontiguousarray(directions, dtype=np.float32))
        save_tensors(directions_file(workspace, sample_id), {"directions": tensor})


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
