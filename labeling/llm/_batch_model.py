"""A LanguageModel that asks in batches, in front of the ledger: notes what is missing, sends it together, reads it later.

`complete` waits for the answers, or with `wait=False` only notes the requests and answers `pending` for them, so that
many callers' requests can go out in one batch: `submit` sends what was noted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from labeling.ledger import BatchRow, Ledger
from labeling.llm._batch_desk import BatchDesk
from labeling.types import CompletionFailure, LLMRequest, LLMResult

PENDING = "pending"
"""Reason of a result that is not there yet. It is no failure and is never stored."""


def pending() -> CompletionFailure:
    return CompletionFailure(PENDING, True, "the answer is not there yet: the request is in a batch or waits for one")


class BatchModel:
    """Requests of one `model` through the desk's batches. Failures of this run's batches are not asked for again."""

    def __init__(
        self, model: str, ledger: Ledger, desk: BatchDesk, *, wait: bool = True, retry_failed: bool = False
    ) -> None:
        self.model = model
        self._ledger = ledger
        self._desk = desk
        self._wait = wait
        self._retry_failed = retry_failed
        self._noted: dict[str, None] = {}
        self._answered: set[str] = set()
        """Requests that had an answer when they were asked for here: whoever finds it unusable is not given another."""
        self.reused = 0
        """Distinct requests that were answered already when they were asked for."""
        self.sent_again = 0

    @property
    def n_noted(self) -> int:
        """Requests that the next `submit` will send."""
        return len(self._noted)

    async def complete(self, requests: Sequence[LLMRequest]) -> list[LLMResult]:
        results = await asyncio.to_thread(self._know, requests)
        while self._wait and any(is_pending(result) for result in results):
            await asyncio.to_thread(self.submit)
            await asyncio.to_thread(self._desk.wait, self.model, _say_nothing)
            if self._desk.budget_reached is not None:
                raise self._desk.budget_reached
            results = await asyncio.to_thread(self._know, requests)
        return results

    def submit(self) -> list[BatchRow]:
        """Send what was noted. Return the batches."""
        keys, self._noted = list(self._noted), {}
        return self._desk.submit(keys, self.model) if keys else []

    def _know(self, requests: Sequence[LLMRequest]) -> list[LLMResult]:
        """What is known of the requests; what is not known and not under way is noted."""
        keys = self._ledger.register(requests)
        distinct = dict.fromkeys(keys)
        known: dict[str, LLMResult] = {**self._ledger.answers(distinct)}
        self.reused += len(known)
        self._answered |= known.keys()
        missing = [key for key in distinct if key not in known]
        failures = self._ledger.failures(missing)
        known |= {key: failure for key, failure in failures.items() if self._stays(key, failure)}
        under_way = self._ledger.in_batches(missing)
        self._noted |= {key: None for key in missing if key not in known and key not in under_way}
        return [known.get(key) or pending() for key in keys]

    def _stays(self, key: str, failure: CompletionFailure) -> bool:
        """Whether a failure is the result: it came now, or the same would come again."""
        came_now = key in self._desk.failed or key in self._answered
        return came_now or not (failure.retryable or self._retry_failed)


def is_pending(result: LLMResult) -> bool:
    return isinstance(result, CompletionFailure) and result.reason == PENDING


def _say_nothing(_: Sequence[BatchRow]) -> None:
    pass
