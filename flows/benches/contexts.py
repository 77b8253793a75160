"""The bench `contexts`: CPU seconds of choosing contexts and of mining hard negatives, beside the forward pass before them.

The embedded model with a wide dictionary is sampled as the stage does it, in one process with one thread. What all
ranges of features share (pool, terms, where each feature fires) is loaded anew for each row, and counted.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from flows.benches import BenchOptions, Row, at_most, plain
from flows.benches._wide_dictionary import open_embedded_model, write_dictionary

if TYPE_CHECKING:
    from flows.shards import Job, Result
    from flows.stages.choose_contexts import ContextShard
    from labeling.config import Config
    from labeling.sources.torch import TorchSource

TARGET_SHARE = 0.25
FEW_FEATURES = 1_000


@dataclass(frozen=True)
class ContextsBench:
    """Contexts of all features of a dictionary on some tokens."""

    tokens: int = 300_000
    features: int = 4_096

    def measure(self) -> list[Row]:
        source = open_embedded_model()
        with tempfile.TemporaryDirectory(prefix="featlas-bench-") as name:
            folder = Path(name)
            write_dictionary(folder / "dictionary", source, n_features=self.features)
            jobs, n_tokens = _sample(folder, self.tokens)
            forward = _forward_seconds(source, folder / "workspace", jobs[0].corpus_id)
            every = _context_seconds(jobs)
            few = _context_seconds(_of_first_features(jobs, FEW_FEATURES))
            mining = _mining_seconds(jobs)
        return [
            plain("tokens read", n_tokens, "tokens"),
            plain("forward, CPU", forward, "s"),
            plain(f"contexts of all {self.features:,} features, CPU", every, "s"),
            at_most("contexts over forward", every / forward, TARGET_SHARE, "x"),
            plain("mining of all hard negatives, CPU", mining, "s"),
            at_most("mining over forward", mining / forward, TARGET_SHARE, "x"),
            plain(f"contexts of {FEW_FEATURES:,} features over forward", few / forward, "x"),
        ]


def create(*, options: BenchOptions) -> ContextsBench:
    """Make the bench. Raise UsageError for options that it does not use."""
    options.only("contexts")
    return ContextsBench()


def _sample(folder: Path, tokens: int) -> tuple[list[ContextShard], int]:
    """Run the first half of the stage; give the jobs of the second, which are not run, and the tokens read."""
    from flows.progress import silent_progress
    from flows.session import open_session
    from flows.shards import run_serially
    from flows.stages.sample import sample_all

    contexts: list[ContextShard] = []

    def runner(
        work: Callable[[Job], Result], jobs: Sequence[Job], *, name: str, parallel: bool = False, overlap: int = 1
    ) -> Iterator[tuple[Job, Result]]:
        if name == "contexts":
            contexts.extend(jobs)  # type: ignore[arg-type]  # so are those of this name
            return iter(())
        return run_serially(work, jobs, name=name, parallel=parallel, overlap=overlap)

    config, progress = _config(folder / "dictionary", tokens), silent_progress()
    with open_session(folder / "workspace", config, command="bench", progress=progress, runner=runner) as session:
        samples = sample_all(session)
    return contexts, samples[0].corpus.n_tokens


def _config(dictionary: Path, tokens: int) -> Config:
    from labeling.config import CorpusConfig
    from labeling.config_files import demo_config

    demo = demo_config(environment={}, overrides={"sample.threads": 1})
    features = replace(demo.features[0], name="wide", dictionary=str(dictionary))
    return replace(demo, features=(features,), corpus=CorpusConfig(max_tokens=tokens))


def _forward_seconds(source: TorchSource, workspace: Path, corpus_id: str) -> float:
    """CPU seconds of the model alone over the same windows, in the same shards."""
    import polars as pl

    from labeling import evidence
    from labeling.config import SampleConfig
    from labeling.workspace import Workspace

    spent = 0.0
    for file in evidence.shard_files(Workspace(workspace), "windows", corpus_id):
        windows = pl.read_parquet(file)
        started = time.process_time()
        for _ in source.hidden(windows, sequence=SampleConfig().sequence):
            pass
        spent += time.process_time() - started
    return spent


def _context_seconds(jobs: Sequence[ContextShard]) -> float:
    from flows.stages.choose_contexts import context_shard, what_is_common

    what_is_common.cache_clear()
    started = time.process_time()
    for job in jobs:
        context_shard(job)
    return time.process_time() - started


def _of_first_features(jobs: Sequence[ContextShard], n: int) -> list[ContextShard]:
    return [replace(job, end=min(job.end, n)) for job in jobs if job.first < n]


def _mining_seconds(jobs: Sequence[ContextShard]) -> float:
    """CPU seconds of all that only hard negatives need; reading the features' own activations is not among it."""
    import numpy as np

    from flows.stages.choose_contexts import decoder_neighbors, what_is_common
    from labeling.context_tables import blocks, mine_negatives
    from labeling.workspace import Workspace

    what_is_common.cache_clear()
    started = time.process_time()
    common = what_is_common(replace(jobs[0], first=0, end=0))
    spent = time.process_time() - started
    for job in jobs:
        features = np.arange(job.first, job.end)
        for block in blocks(common.state, common.table, pool=common.pool, codes=common.codes, features=features):
            started = time.process_time()
            near = decoder_neighbors(Workspace(job.root), job.sample_id, block.features)
            mine_negatives(block, near, table=common.table, pool=common.pool, fires=common.fires)
            spent += time.process_time() - started
    return spent
