"""A language model with a ledger in front: what is answered is not asked, and what comes back is stored before it is used.

Slot, budget, ledger and model come in this order: a request gets a place among those under way, what it may cost is set
aside, it is claimed, then it is sent. So no more are claimed at any time than the model takes, however many calls run.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from labeling.errors import FeatlasError
from labeling.ledger import CHUNK, Ledger
from labeling.llm import ConnectedModel, LanguageModel
from labeling.llm._background import run_in_background
from labeling.llm._slots import Slots
from labeling.llm._workers import run_bounded
from labeling.types import Completion, LLMRequest, LLMResult

if TYPE_CHECKING:
    from labeling.llm._budget import Budget

POLL_SECONDS = 0.1
WORKERS = 64
"""At work at once for a model that does not say how many requests it takes."""

_SLOTS: WeakKeyDictionary[LanguageModel, Slots] = WeakKeyDictionary()
"""Of each model, for all ledgers in front of it: shards that run at the same time have one each."""
_SHARING = threading.Lock()


class LedgerModel:
    """A LanguageModel that asks `inner` only for what the ledger has no answer to, and stores what comes back.

    What has failed before is asked again, unless it was after `failed_since` (Unix seconds, None for never): when a run
    began, so that shards that ask the same question get one result.
    """

    def __init__(
        self,
        inner: LanguageModel,
        ledger: Ledger,
        budget: Budget | None = None,
        *,
        failed_since: float | None = None,
    ) -> None:
        self._inner = inner
        self._ledger = ledger
        self._budget = budget
        self._failed_since = failed_since
        self.max_in_flight = inner.max_in_flight if isinstance(inner, ConnectedModel) else WORKERS
        self._slots = _slots_of(inner, self.max_in_flight)
        self._rank = self._slots.new_rank()  # one for second questions, too: they come before those of later shards
        self.reused = 0
        """Distinct requests that were answered already, or have failed since then."""
        self.sent = 0
        self.sent_again = 0
        """Of `sent`, those that were under way when an earlier process died."""

    async def complete(self, requests: Sequence[LLMRequest]) -> list[LLMResult]:
        """Requests are taken from the sequence and registered block by block, when their turn comes."""
        return await run_in_background(self._complete(requests))  # where the slots are

    async def _complete(self, requests: Sequence[LLMRequest]) -> list[LLMResult]:
        ahead, stopped = _Ahead(self._ledger, requests), list[FeatlasError]()

        async def answer(index: int) -> LLMResult:
            key, request, stored = ahead.take(index)
            if stored is not None:
                return stored
            async with self._slots.one(self._rank):
                if stopped:  # while this one waited for its place
                    raise stopped[0]
                try:
                    return await self._answer(key, request)
                except FeatlasError as error:
                    stopped.append(error)
                    raise

        try:
            async with self.connected():
                return await run_bounded(range(len(requests)), answer, workers=self.max_in_flight)
        finally:
            self.reused += ahead.reused

    def connected(self) -> AbstractAsyncContextManager[None]:
        """Keep the inner model's connections open between calls."""
        return self._inner.connected() if isinstance(self._inner, ConnectedModel) else nullcontext()

    async def _answer(self, key: str, request: LLMRequest) -> LLMResult:
        if self._budget is None:
            return await self._claim_and_ask(key, request)
        # Before the claim, which forgets what is known of an earlier failure.
        reservation = await self._budget.wait_for_room(request)
        billed: LLMResult | None = None

        def note(result: LLMResult) -> None:
            nonlocal billed
            billed = result

        try:
            return await self._claim_and_ask(key, request, note)
        finally:
            self._budget.settle(reservation, billed)

    async def _claim_and_ask(
        self, key: str, request: LLMRequest, note: Callable[[LLMResult], None] = lambda _: None
    ) -> LLMResult:
        """The result, stored or new. `note` is told what came back now, which the ledger adds to earlier attempts."""
        while not (claim := self._ledger.claim(key, failed_since=self._failed_since)).granted:
            if claim.result is not None:
                self.reused += 1
                return claim.result
            await asyncio.sleep(POLL_SECONDS)
        self.sent += 1
        self.sent_again += claim.interrupted
        try:
            (result,) = await self._inner.complete([request])
        except BaseException as error:
            # What stops the run is a refusal of the provider; after anything else an answer may be on its way.
            self._ledger.release(key, may_be_answered=not isinstance(error, FeatlasError))
            raise
        note(result)
        return self._ledger.finish(key, result)


def _slots_of(model: LanguageModel, count: int) -> Slots:
    with _SHARING:  # shards start together, each in its thread
        return _SLOTS.setdefault(model, Slots(count))


class _Ahead:
    """The block of requests whose turn it is: registered together, and looked up together. Indices only grow."""

    def __init__(self, ledger: Ledger, requests: Sequence[LLMRequest]) -> None:
        self._ledger = ledger
        self._requests = requests
        self._block = range(0)
        self._rendered: list[LLMRequest] = []
        self._keys: list[str] = []
        self._stored: dict[str, Completion] = {}
        self.reused = 0
        """Distinct requests that were answered already, those that were equal in one block counted once."""

    def take(self, index: int) -> tuple[str, LLMRequest, Completion | None]:
        """Key, request and stored answer."""
        if index not in self._block:
            self._block = range(index, min(index + CHUNK, len(self._requests)))
            self._rendered = [self._requests[i] for i in self._block]
            self._keys = self._ledger.register(self._rendered)
            self._stored = self._ledger.answers(dict.fromkeys(self._keys))
            self.reused += len(self._stored)
        position = index - self._block.start
        return self._keys[position], self._rendered[position], self._stored.get(self._keys[position])
