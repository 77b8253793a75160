"""Shards that wait for a provider, several at once in threads of this process.

A shard ends with its slowest answer. While it waits for that, the requests of the next ones are under way: no feature
waits for another, and the provider is never idle between two shards.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextvars import copy_context
from itertools import islice

from flows.shards import Job, Result, run_serially
from labeling.errors import FeatlasError
from labeling.llm._background import Together


def run_overlapping(
    work: Callable[[Job], Result], jobs: Sequence[Job], *, at_once: int
) -> Iterator[tuple[Job, Result]]:
    """Yield each job with its result when it is finished, whichever comes first. Jobs see the caller's context variables.

    Raise what a job raised: at once, with the requests of the others given up; or, when a user can mend it
    (FeatlasError), after those under way have ended, because what they asked is paid for.
    """
    if at_once < 2 or len(jobs) < 2:
        yield from run_serially(work, jobs, name="")  # which an interrupt stops at once, whatever it does
        return
    together = Together()

    def run(job: Job) -> Result:
        with together.joined():
            return work(job)

    def start(some: Iterator[Job]) -> dict[Future[Result], Job]:
        return {threads.submit(copy_context().run, run, job): job for job in some}

    with ThreadPoolExecutor(at_once, thread_name_prefix="featlas-shard") as threads:
        waiting = iter(jobs)
        under_way = start(islice(waiting, at_once))
        try:
            while under_way:
                for future in _finished(under_way):
                    try:
                        result = future.result()
                    except FeatlasError:
                        wait(under_way)
                        raise
                    yield under_way.pop(future), result
                    under_way |= start(islice(waiting, 1))
        except BaseException:
            together.give_up()
            raise


def _finished(under_way: dict[Future[Result], Job]) -> list[Future[Result]]:
    """Those that have ended, in the order in which they were started."""
    ended = wait(under_way, return_when=FIRST_COMPLETED).done
    return [future for future in under_way if future in ended]
