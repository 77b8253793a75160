"""One shard of documents of stage sample: from activations to sampler states and codes on disk, in any process.

A shard is also the checkpoint: what a killed run had finished is not done again.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import polars as pl
import torch

from flows.sources import SourceGroup, open_source
from flows.spent import Spent
from flows.stages.sampler_files import codes_file, state_file
from labeling import evidence
from labeling.codes import save_codes
from labeling.events import EventCollector
from labeling.sampler import Sizes, summarize
from labeling.tensor_files import save_tensors
from labeling.types import SPLITS
from labeling.workspace import Workspace


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
class ShardCost:
    """What one shard took, in the process that worked on it."""

    whole: Spent = field(default_factory=Spent)
    reading: Spent = field(default_factory=Spent)
    """Of that, what the source took: of a model and its dictionaries, forward and encode."""


def sample_shard(job: SampleShard) -> ShardCost:
    """Run the model over one shard of documents; write sampler states and codes."""
    cost = ShardCost()
    with cost.whole.counted():
        _sample(job, cost.reading)
    return cost


def _sample(job: SampleShard, reading: Spent) -> None:
    workspace = Workspace(job.root)
    source = open_source(job.group, workspace)
    windows = pl.read_parquet(evidence.shard_file(workspace, "windows", job.corpus_id, job.shard))
    collectors = [_collector(windows) for _ in source.feature_sets]
    batches = source.events(windows, sequence=job.sequence)
    while True:
        with reading.counted():
            batch = next(batches, None)
        if batch is None:
            break
        collectors[batch.feature_set].add(
            batch.feature, window=batch.window, position=batch.position, value=batch.value
        )
    for sample_id, collector, info in zip(job.sample_ids, collectors, source.feature_sets, strict=True):
        events = collector.sorted()
        sizes = Sizes(info.n_features, top=job.top, reservoir=job.reservoir, seed=job.seed, n_splits=len(SPLITS))
        save_codes(codes_file(workspace, sample_id, job.shard), events, n_features=info.n_features)
        save_tensors(state_file(workspace, sample_id, job.shard), summarize(events, sizes).tensors())


def _collector(windows: pl.DataFrame) -> EventCollector:
    split = windows["split"].replace_strict(list(SPLITS), range(len(SPLITS)), return_dtype=pl.Int64)
    ids, splits = (torch.from_numpy(column.to_numpy().copy()) for column in (windows["window_id"], split))
    return EventCollector(ids, split=splits, width=int(windows["n_tokens"].to_numpy().max()))
