"""Lets attempts through to one endpoint, in the order they came, as fast as its `Pace` allows.

The clock and the timers are those of the event loop it is used in; all decisions are `Pace`'s.
"""

from __future__ import annotations

import asyncio
from collections import deque

from labeling.llm._rate import NOTHING, Cost, Feedback, Pace, Ticket


class Gate:
    """Used from one event loop. Waiting requests are few: there is one a worker."""

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self._waiting: deque[tuple[asyncio.Future[Ticket], Cost]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    async def enter(self, cost: Cost) -> Ticket:
        """Wait until an attempt may start. Hand the ticket back with `leave`."""
        loop = asyncio.get_running_loop()
        if not self._waiting and self._pace.wait_seconds(cost, loop.time()) == 0:
            return self._pace.start(cost, loop.time())
        waiting: asyncio.Future[Ticket] = loop.create_future()
        self._waiting.append((waiting, cost))
        self._let_in()
        try:
            return await waiting
        except asyncio.CancelledError:
            if waiting.done() and not waiting.cancelled() and waiting.exception() is None:
                self.leave(waiting.result(), NOTHING)
            raise

    def leave(self, ticket: Ticket, feedback: Feedback) -> None:
        """Say what an attempt taught; `NOTHING` for one that was given up."""
        self._pace.finish(ticket, feedback, asyncio.get_running_loop().time())
        self._let_in()

    def dismiss(self, error: Exception) -> None:
        """Raise `error` in everything that waits."""
        while self._waiting:
            waiting, _ = self._waiting.popleft()
            if not waiting.done():
                waiting.set_exception(error)

    def _let_in(self) -> None:
        """Start what may start now, and come back when the next one may."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        loop = asyncio.get_running_loop()
        while self._waiting:
            waiting, cost = self._waiting[0]
            if not waiting.done():
                wait = self._pace.wait_seconds(cost, loop.time())
                if wait is None:  # `leave` comes back
                    return
                if wait > 0:
                    self._timer = loop.call_later(wait, self._let_in)
                    return
                waiting.set_result(self._pace.start(cost, loop.time()))
            self._waiting.popleft()
