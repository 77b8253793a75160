"""A flow of three tiny shards, run by a test in a process of its own: prints what was recorded, and the error, as JSON.

python -m tests.flows.shards_on_prefect FOLDER fine|crash|mend|overlap
"""

from __future__ import annotations

import json
import sys
import time
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
    """Leave a trace of the attempt, then do as the job says: shard 1 fails, or shard 0 waits for shard 2."""
    with (job.folder / f"{job.how}-{job.shard}").open("a") as trace:
        trace.write("x")
    if job.shard == 1 and job.how == "crash":
        raise ValueError("lost")
    if job.shard == 1 and job.how == "mend":
        raise FeatlasError("Mend it.")
    while job.shard == 0 and job.how == "overlap" and not (job.folder / "overlap-2").exists():
        time.sleep(0.05)
    return job.shard**2


@flow(name="shards", persist_result=False)
def shards(folder: str, how: str) -> None:
    recorded, error = [], None
    try:
        jobs, overlap = [Tiny(Path(folder), n, how) for n in range(3)], 2 if how == "overlap" else 1
        for job, result in run_as_tasks(square, jobs, name=how, overlap=overlap):
            recorded.append([job.shard, result])
    except (FeatlasError, ValueError) as seen:
        error = type(seen).__name__
    attempts = {file.name: len(file.read_text()) for file in sorted(Path(folder).glob(f"{how}-*"))}
    sys.stdout.write(json.dumps({"recorded": sorted(recorded), "error": error, "attempts": attempts}))


if __name__ == "__main__":
    shards(sys.argv[1], sys.argv[2])
