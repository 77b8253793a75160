"""A flow of three tiny shards, run by a test in a process of its own: prints what was recorded, and the error, as JSON.

python -m tests.flows.shards_on_prefect FOLDER fine|crash|mend
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path

from prefect import flow

from flows.prefect_tasks import run_as_tasks
from labeling.errors import FeatlasError


@dataclass(frozen=True)
class Tiny:
    folder: Path
    shard: int
    how: str


def square(job: Tiny) -> int:
    """Leave a trace of the attempt, then fail as the job says: only shard 1 does."""
    with (job.folder / f"{job.how}-{job.shard}").open("a") as trace:
        trace.write("x")
    if job.shard == 1 and job.how == "crash":
        raise ValueError("lost")
    if job.shard == 1 and job.how == "mend":
        raise FeatlasError("Mend it.")
    return job.shard**2


@flow(name="shards", persist_result=False)
def shards(folder: str, how: str) -> None:
    recorded, error = [], None
    try:
        for job, result in run_as_tasks(square, [Tiny(Path(folder), n, how) for n in range(3)], name=how):
            recorded.append([job.shard, result])
    except (FeatlasError, ValueError) as seen:
        error = type(seen).__name__
    attempts = {file.name: len(file.read_text()) for file in sorted(Path(folder).glob(f"{how}-*"))}
    sys.stdout.write(json.dumps({"recorded": recorded, "error": error, "attempts": attempts}))


if __name__ == "__main__":
    shards(sys.argv[1], sys.argv[2])
