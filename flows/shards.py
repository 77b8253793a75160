"""How shards of work are run: one after the other here, on all cores in `worker_processes.py`, as Prefect tasks in
`prefect_tasks.py`.

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
        self, work: Callable[[Job], Result], jobs: Sequence[Job], *, name: str, parallel: bool = False
    ) -> Iterator[tuple[Job, Result]]:
        """Run `work` on every job and yield each with its result as it is finished, in the order of the jobs.

        `parallel` says that jobs may run at once in processes of their own: they compute on the CPU, and do not share
        a GPU, a provider's limits, or anything that is costly to make twice.
        """


def run_serially(
    work: Callable[[Job], Result],
    jobs: Sequence[Job],
    *,
    name: str,  # noqa: ARG001
    parallel: bool = False,  # noqa: ARG001
) -> Iterator[tuple[Job, Result]]:
    """One job after the other in this process."""
    for job in jobs:
        yield job, work(job)
