"""One event loop for the whole process, in a thread of its own: every request to a language model is sent from it.

So calls from several threads, notebooks and event loops overlap and share connections and limits. Knows no models.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from typing import Any, Generic, TypeVar

from labeling.interruptible import wait_for

Result = TypeVar("Result")


class Together:
    """What several threads have asked, to be given up as one: an interrupt reaches the main thread only."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._jobs: set[_Job[Any]] = set()
        self._given_up = False

    @contextmanager
    def joined(self) -> Iterator[None]:
        """What this thread asks meanwhile belongs to it."""
        token = _TOGETHER.set(self)
        try:
            yield
        finally:
            _TOGETHER.reset(token)

    def give_up(self) -> None:
        """Cancel what is under way, and all that comes after: whoever waits gets asyncio.CancelledError."""
        with self._lock:
            self._given_up = True
            for job in self._jobs:
                job.cancel()

    @contextmanager
    def watching(self, job: _Job[Any]) -> Iterator[None]:
        with self._lock:
            self._jobs.add(job)
            if self._given_up:
                job.cancel()
        try:
            yield
        finally:
            with self._lock:
                self._jobs.discard(job)


_TOGETHER: ContextVar[Together | None] = ContextVar("_TOGETHER", default=None)


def run_and_wait(work: Coroutine[Any, Any, Result]) -> Result:
    """Run `work` in the background and wait for it. Not for code that runs in the background itself.

    An interrupt (Ctrl-C) of the waiting thread cancels this work alone, waits until it has ended, and is raised again.
    """
    if threading.current_thread() is _BACKGROUND.thread:
        work.close()
        raise RuntimeError("this code runs in the event loop that would have to answer it: await model.complete(...)")
    job, together = _Job(work, _BACKGROUND.loop()), _TOGETHER.get()
    try:
        with nullcontext() if together is None else together.watching(job):
            job.start()
            wait_for(job.ended)
    except BaseException:
        job.cancel()
        wait_for(job.ended)
        raise
    return job.result()


async def run_in_background(work: Coroutine[Any, Any, Result]) -> Result:
    """Await `work`, which runs in the background, from whatever event loop."""
    loop = _BACKGROUND.loop()
    if asyncio.get_running_loop() is loop:
        return await work
    return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, loop))


class _Job(Generic[Result]):
    def __init__(self, work: Coroutine[Any, Any, Result], loop: asyncio.AbstractEventLoop) -> None:
        self._work = work
        self._loop = loop
        self._task: asyncio.Task[Result] | None = None
        self.ended = threading.Event()

    def start(self) -> None:
        """Not when it was canceled before."""
        self._loop.call_soon_threadsafe(self._start)

    def cancel(self) -> None:
        self._loop.call_soon_threadsafe(self._cancel)

    def result(self) -> Result:
        assert self._task is not None
        return self._task.result()

    def _start(self) -> None:
        if self._task is not None:
            return
        self._task = self._loop.create_task(self._work)
        self._task.add_done_callback(lambda _: self.ended.set())

    def _cancel(self) -> None:
        self._start()
        assert self._task is not None
        self._task.cancel()


class _Background:
    def __init__(self) -> None:
        self._starting = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self.thread: threading.Thread | None = None

    def loop(self) -> asyncio.AbstractEventLoop:
        """The running loop, started by whoever needs it first. A forked child has lost the thread and gets its own."""
        with self._starting:
            if self._loop is None or self.thread is None or not self.thread.is_alive():
                self._loop = asyncio.new_event_loop()
                self.thread = threading.Thread(target=_run, args=(self._loop,), name="featlas-llm", daemon=True)
                self.thread.start()
            return self._loop


def _run(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    while True:
        try:
            loop.run_forever()
        except (KeyboardInterrupt, SystemExit):  # raised by a task, which keeps it for whoever waits
            continue


_BACKGROUND = _Background()
