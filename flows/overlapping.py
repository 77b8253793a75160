"""Shards that wait for a provider, several at once in threads of this process.

A shard ends with its slowest answer. While it waits for that, the requests of the next ones are under way: no feature
waits for another, and the provider is never idle between two shards.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from itertools import islice

from flows.shards import Job, Result
from labeling.errors import FeatlasError
from labeling.interruptible import first_ended
from labeling.llm._background import Together


def run_overlapping(
    work: Callable[[Job], Result], jobs: Sequence[Job], *, at_once: int
) -> Iterator[tuple[Job, Result]]:
    """Yield each job with its result when it is finished, whichever comes first. Jobs see the caller's context variables.

    Raise what a job raised: at once, with the requests of the others given up; or, when a user can mend it
    (FeatlasError), after those under way have ended and were yielded, because what they asked is paid for.
    """
    if at_once < 2 or len(jobs) < 2:
        for job in jobs:  # which an interrupt stops at once, whatever it does
            yield job, work(job)
        return
    together, stopped = Together(), list[FeatlasError]()

    def run(job: Job) -> Result:
        with together.joined():
            return work(job)

    with ThreadPoolExecutor(at_once, thread_name_prefix="featlas-shard") as threads:
        waiting, under_way = iter(jobs), dict[Future[Result], Job]()
        try:
            while True:
                room = 0 if stopped else at_once - len(under_way)
                for job in islice(waiting, room):
                    under_way[threads.submit(copy_context().run, run, job)] = job
                if not under_way:
                    break
                for future in _finished(under_way):
                    job = under_way.pop(future)
                    try:
                        result = future.result()
                    except FeatlasError as error:
                        stopped.append(error)
                    else:
                        yield job, result
        except BaseException:
            together.give_up()
            raise
    if stopped:
        raise stopped[0]


def _finished(under_way: dict[Future[Result], Job]) -> list[Future[Result]]:
    """Those that have ended, in the order in which they were started."""
    ended = first_ended(under_way)
    return [future for future in under_way if future in ended]
