"""One event loop for the whole process, in a thread of its own: every request to a language model is sent from it.

So calls from several threads, notebooks and event loops overlap and share connections and limits. Knows no models.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any, Generic, TypeVar

Result = TypeVar("Result")


def run_and_wait(work: Coroutine[Any, Any, Result]) -> Result:
    """Run `work` in the background and wait for it. Not for code that runs in the background itself.

    An interrupt (Ctrl-C) of the waiting thread cancels this work alone, waits until it has ended, and is raised again.
    """
    if threading.current_thread() is _BACKGROUND.thread:
        work.close()
        raise RuntimeError("this code runs in the event loop that would have to answer it: await model.complete(...)")
    job = _Job(work, _BACKGROUND.loop())
    try:
        job.ended.wait()
    except BaseException:
        job.cancel()
        job.ended.wait()
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
        loop.call_soon_threadsafe(self._start)

    def cancel(self) -> None:
        self._loop.call_soon_threadsafe(self._cancel)  # after `_start`, which was called before

    def result(self) -> Result:
        assert self._task is not None
        return self._task.result()

    def _start(self) -> None:
        self._task = self._loop.create_task(self._work)
        self._task.add_done_callback(lambda _: self.ended.set())

    def _cancel(self) -> None:
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
