"""Places for requests under way, shared by shards that ask at the same time: the earliest goes first.

So the shards end one after the other, and the next one fills up what an ending one leaves free. Given
out in turn instead, all of them would end, and leave the provider idle, together.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Slots:
    """`count` places. Used from one event loop."""

    def __init__(self, count: int) -> None:
        self._free = count
        self._arrivals = itertools.count()
        self._ranks = itertools.count()
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []

    def new_rank(self) -> int:
        """The rank of one who asks; it comes before those that are given later."""
        return next(self._ranks)

    @asynccontextmanager
    async def one(self, rank: int) -> AsyncIterator[None]:
        """Hold a place for a request of a rank, as soon as nobody of an earlier one wants it."""
        await self._take(rank)
        try:
            yield
        finally:
            self._give_back()

    async def _take(self, rank: int) -> None:
        if self._free and not self._waiting:
            self._free -= 1
            return
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (rank, next(self._arrivals), place))
        try:
            await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled():
                self._give_back()
            raise

    def _give_back(self) -> None:
        while self._waiting:
            _, _, place = heapq.heappop(self._waiting)
            if not place.done():  # whoever was cancelled has left
                place.set_result(None)
                return
        self._free += 1
