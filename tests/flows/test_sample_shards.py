"""Shards of documents are the checkpoints of stage sample: what was finished before a kill is not done again."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from flows.progress import silent_progress
from flows.session import open_session
from flows.shards import Job, Result
from flows.stages.sample import sample_all
from flows.stages.sample_shard import SampleShard
from labeling.config_files import load_config
from tests.flows.mini import write_config


class Killed(BaseException):
    """Stands for a signal: nothing catches it."""


class Runner:
    """Runs jobs in turn, notes the shards of documents, and dies instead of starting one more than `shards` of them."""

    def __init__(self, shards: int | None = None) -> None:
        self.done: list[int] = []
        self._shards = shards

    def __call__(
        self,
        work: Callable[[Job], Result],
        jobs: Sequence[Job],
        *,
        name: str,
        parallel: bool = False,
        overlap: int = 1,
    ) -> Iterator[tuple[Job, Result]]:
        for job in jobs:
            if not isinstance(job, SampleShard):
                raise Killed
            if len(self.done) == self._shards:
                raise Killed
            self.done.append(job.shard)
            yield job, work(job)


@pytest.mark.slow
def test_a_run_that_dies_goes_on_after_the_last_finished_shard(tmp_path: Path) -> None:
    config = load_config(write_config(tmp_path, control=False), environment={}, overrides={})
    shards: list[list[int]] = []
    for runner in (Runner(shards=2), Runner(shards=1), Runner()):
        with (
            pytest.raises(Killed),
            open_session(tmp_path / "w", config, command="t", progress=silent_progress(), runner=runner) as session,
        ):
            sample_all(session)
        shards.append(runner.done)
    last = shards[2][-1]
    assert last >= 3
    assert shards == [[0, 1], [2], list(range(3, last + 1))]
    states = list((tmp_path / "w" / "sampler").glob("*/state-*.safetensors"))
    assert len(states) == last + 1
    assert max(map(os.path.getsize, states)) < 64 * 4_096
