"""Shards that compute on the CPU, spread over worker processes of this machine; all others run in this process, those
that wait for a provider in threads.

Workers are started when they are first needed and end with the run. They write evidence files and answer with small
results; the store stays with the process that started them. Nothing depends on how many there are.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from types import TracebackType

from flows.overlapping import run_overlapping
from flows.shards import Job, Result, run_serially
from labeling.allocator import give_back_freed_memory
from labeling.errors import FeatlasError
from labeling.interruptible import first_ended

AHEAD = 2
"""Jobs handed out for each worker: one under way, one waiting. What has been handed out is lost in a crash."""
ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "POLARS_MAX_THREADS")
"""What numeric libraries read when they are imported."""


class WorkerProcesses:
    """A ShardRunner with up to `processes` workers, each of one thread. Close it, or use it as a context manager."""

    def __init__(self, processes: int) -> None:
        self._processes = processes
        self._pool: ProcessPoolExecutor | None = None

    def __call__(
        self,
        work: Callable[[Job], Result],
        jobs: Sequence[Job],
        *,
        name: str,
        parallel: bool = False,
        overlap: int = 1,
    ) -> Iterator[tuple[Job, Result]]:
        """Run `work` on every job, as `ShardRunner` says.

        Raise what a job raised, and FeatlasError when a worker died.
        """
        if overlap > 1:
            yield from run_overlapping(work, jobs, at_once=overlap)
            return
        if not parallel or self._processes < 2 or len(jobs) < 2:
            yield from run_serially(work, jobs, name=name)
            return
        waiting = iter(jobs)
        try:
            under_way = deque(self._hand_out(work, islice(waiting, AHEAD * self._processes)))
            while under_way:
                job, future = under_way.popleft()
                first_ended([future])
                result = future.result()
                under_way.extend(self._hand_out(work, islice(waiting, 1)))
                yield job, result
        except BrokenProcessPool as error:
            raise FeatlasError(
                f"A worker process died in {name}: killed from outside, for want of memory, or because a script of your own "
                "calls Featlas without `if __name__ == '__main__':`. What was finished is stored; the same command "
                "resumes. With `--set sample.threads=1` one process does all the work and needs the least memory."
            ) from error

    def _hand_out(self, work: Callable[[Job], Result], jobs: Iterator[Job]) -> Iterator[tuple[Job, Future[Result]]]:
        if self._pool is None:
            # a forked child would inherit locks that threads of torch and polars hold
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(self._processes, mp_context=context, initializer=_start_worker)
        for job in jobs:
            yield job, self._pool.submit(_run, work, job)

    def close(self, *, at_once: bool = False) -> None:
        """End the workers, after the jobs they have or at once."""
        if self._pool is None:
            return
        workers = list((self._pool._processes or {}).values()) if at_once else []  # the executor can't kill before 3.14
        self._pool.shutdown(wait=not at_once, cancel_futures=True)
        for worker in workers:
            worker.kill()
            worker.join()
        self._pool = None

    def __enter__(self) -> WorkerProcesses:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(at_once=kind is not None)


def _run(work: Callable[[Job], Result], job: Job) -> Result:
    try:
        return work(job)
    finally:
        give_back_freed_memory()  # a worker that waits should hold little


def _start_worker() -> None:
    """Prepare a new worker, before anything heavy is imported into it."""
    os.environ.update(dict.fromkeys(ONE_THREAD, "1"))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the one who started us decides
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A worker whose parent was killed would wait for work forever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
