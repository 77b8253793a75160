"""Flows of three tiny shards, run for tests in one process: prints what each recorded, and its error, as JSON.

python -m tests.flows.shards_on_prefect FOLDER fine crash mend overlap mend-overlap
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from prefect import flow

from flows.prefect_tasks import run_as_tasks
from labeling.errors import FeatlasError
from labeling.llm import ask
from labeling.types import LLMRequest, LLMResult


@dataclass(frozen=True)
class Tiny:
    folder: Path
    shard: int
    how: str


def square(job: Tiny) -> int:
    """Leave a trace of the attempt, then do as the job says: shard 1 fails, or shard 0 waits for shard 2, or for the
    failure of shard 1."""
    with (job.folder / f"{job.how}-{job.shard}").open("a") as trace:
        trace.write("x")
    if job.shard == 1 and job.how == "crash":
        raise ValueError("lost")
    if job.shard == 1 and job.how.startswith("mend"):
        raise FeatlasError("Mend it.")
    if job.shard == 0 and job.how == "mend-overlap":
        ask(Slow(), [])
    while job.shard == 0 and job.how == "overlap" and not (job.folder / "overlap-2").exists():
        time.sleep(0.05)
    return job.shard**2


class Slow:
    """A model that answers when shard 1 has long failed, unless its caller is given up."""

    async def complete(self, requests: Sequence[LLMRequest]) -> list[LLMResult]:
        await asyncio.sleep(2)
        return []


@flow(name="shards", persist_result=False)
def shards(folder: str, how: str) -> dict[str, object]:
    recorded, error = list[list[int]](), None
    try:
        jobs, overlap = [Tiny(Path(folder), n, how) for n in range(3)], 2 if how.endswith("overlap") else 1
        for job, result in run_as_tasks(square, jobs, name=how, overlap=overlap):
            recorded.append([job.shard, result])
    except (FeatlasError, ValueError) as seen:
        error = type(seen).__name__
    traces = (Path(folder) / f"{how}-{shard}" for shard in range(3))
    attempts = [len(trace.read_text()) for trace in traces if trace.exists()]
    return {"recorded": sorted(recorded), "error": error, "attempts": attempts}


if __name__ == "__main__":
    sys.stdout.write(json.dumps({how: shards(sys.argv[1], how) for how in sys.argv[2:]}))
