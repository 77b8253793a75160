"""Claims and answers that come together are committed together: one transaction for a turn of the event loop.

A commit costs about as much as everything else the ledger does for an answer. Whoever waits gets control back after the
commit, so that nothing is used before it is stored. One group belongs to one event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from labeling.ledger import Claim, Ledger
from labeling.types import LLMResult

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")


class LedgerGroup:
    """The asynchronous face of a ledger. Raise what `Ledger.claim` and `Ledger.finish` raise."""

    def __init__(self, ledger: Ledger) -> None:
        self._claims = _Turn(ledger.claim_each)
        self._answers = _Turn(ledger.finish_many)

    async def claim(self, key: str) -> Claim:
        """Like `Ledger.claim`. When the caller is canceled meanwhile, the claim is made all the same: release it."""
        return await self._claims.add(key)

    async def finish(self, key: str, result: LLMResult) -> LLMResult:
        """Like `Ledger.finish`. The answer is committed also when the caller is canceled meanwhile."""
        return await self._answers.add((key, result))


class _Turn(Generic[Item, Outcome]):
    """Collects items until the event loop comes round, then works on all of them at once."""

    def __init__(self, work: Callable[[Sequence[Item]], Sequence[Outcome]]) -> None:
        self._work = work
        self._waiting: list[tuple[Item, asyncio.Future[Outcome]]] = []

    def add(self, item: Item) -> asyncio.Future[Outcome]:
        loop = asyncio.get_running_loop()
        if not self._waiting:
            loop.call_soon(self._flush)
        future: asyncio.Future[Outcome] = loop.create_future()
        self._waiting.append((item, future))
        return future

    def _flush(self) -> None:
        waiting, self._waiting = self._waiting, []
        try:
            outcomes = self._work([item for item, _ in waiting])
        except Exception as error:  # noqa: BLE001 - each of those who wait raises it
            for _, future in waiting:
                if not future.done():
                    future.set_exception(error)
            return
        for (_, future), outcome in zip(waiting, outcomes, strict=True):
            if not future.done():
                future.set_result(outcome)
