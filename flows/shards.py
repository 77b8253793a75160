"""How shards of work are run: one after the other here, on all cores in `worker_processes.py`, several that wait for a
provider at once in `overlapping.py`, as Prefect tasks in `prefect_tasks.py`.

A stage cuts its work into jobs (frozen dataclasses that can go to another process) and hands them with a top-level
function to a runner. Jobs may write evidence files; only the caller of the runner writes to the store.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, TypeVar

Job = TypeVar("Job")
Result = TypeVar("Result")


class ShardRunner(Protocol):
    def __call__(
        self,
        work: Callable[[Job], Result],
        jobs: Sequence[Job],
        *,
        name: str,
        parallel: bool = False,
        overlap: int = 1,
    ) -> Iterator[tuple[Job, Result]]:
        """Run `work` on every job and yield each with its result as it is finished.

        `parallel` says that jobs may run at once in processes of their own: they compute on the CPU, and do not share
        a GPU, a provider's limits, or anything that is costly to make twice. `overlap` says how many may run at once
        in threads of this process: they mostly wait for a provider. Such jobs may be finished in any order; all others
        are yielded in theirs.
        """


def run_serially(
    work: Callable[[Job], Result],
    jobs: Sequence[Job],
    *,
    name: str,  # noqa: ARG001
    parallel: bool = False,  # noqa: ARG001
    overlap: int = 1,  # noqa: ARG001
) -> Iterator[tuple[Job, Result]]:
    """One job after the other in this process."""
    for job in jobs:
        yield job, work(job)
