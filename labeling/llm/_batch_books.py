"""What the ledger and the budget are told about batches: recorded before submission, again after, and with its results.

Every step is committed before the next one, so that a process may die between any two of them. It asks no provider.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, TypeVar

from labeling.errors import BudgetReached
from labeling.ledger import BatchRow, Ledger
from labeling.ledger_batches import UNDER_WAY
from labeling.ledger_file import is_alive, this_process
from labeling.llm._batches import BatchStatus
from labeling.llm._faults import Fault
from labeling.llm._prices import BATCH_SHARE
from labeling.types import Completion, CompletionFailure, LLMRequest, LLMResult

if TYPE_CHECKING:
    from labeling.llm._budget import Budget, Reservation

Value = TypeVar("Value")

COMMIT_TOGETHER = 500
OWNED_BY = "process "
"""Before the name of the process that is submitting, in the detail of a batch that is `preparing`."""
_SUBMITTING: set[str] = set()
"""Batches that this process is submitting at this moment."""


class BatchBooks:
    """Rows of batches and of their requests in one ledger, and what is set aside for them in one budget."""

    def __init__(self, ledger: Ledger, budget: Budget | None) -> None:
        self._ledger = ledger
        self._budget = budget
        self._reservations: dict[str, Reservation] = {}
        self.failed: set[str] = set()
        """Keys of requests that failed in a batch that was read here."""
        self.n_answered = 0
        """Answers that were read here."""
        self.budget_reached: BudgetReached | None = None
        """Raise it when what is under way has ended."""

    def request(self, key: str) -> LLMRequest:
        return self._ledger.request(key)

    def keys(self, row: BatchRow) -> list[str]:
        """Requests that the batch has not answered, in the order of registration."""
        return self._ledger.requests_of_batch(row.batch)

    def rows(self, model: str | None) -> list[BatchRow]:
        """All batches of one model or of all, oldest first."""
        return [row for row in self._ledger.batches() if model in (None, row.model)]

    def under_way(self, model: str | None) -> list[BatchRow]:
        return [row for row in self.rows(model) if row.state in UNDER_WAY]

    def provider_batches(self) -> set[str]:
        """The provider's ids of all batches that have one."""
        return {row.provider_batch for row in self.rows(None) if row.provider_batch is not None}

    def reserve(self, key: str, request: LLMRequest) -> bool:
        """Set the worst case of a request aside. False when there is no room for it, now or at all."""
        if self._budget is None or key in self._reservations:
            return True
        try:
            reservation = self._budget.try_reserve(request, price_share=BATCH_SHARE)
        except BudgetReached as error:
            self.budget_reached = error
            return False
        if reservation is not None:
            self._reservations[key] = reservation
        return reservation is not None

    def prepare(self, keys: Iterable[str], model: str) -> BatchRow | None:
        """Record a batch with the requests that are still to be had; None when there are none."""
        row = BatchRow(
            batch=uuid.uuid4().hex,
            provider=model.partition("/")[0],
            model=model,
            provider_batch=None,
            state="preparing",
            n_requests=0,
            created_at=time.time(),
            detail=OWNED_BY + this_process(),
        )
        wanted = list(keys)
        with being_submitted(row.batch):
            self._ledger.save_batch(row)
            claimed = self._ledger.claim_many(wanted, batch=row.batch)
            for key in set(wanted) - set(claimed):
                self._settle(key, None)
            if not claimed:
                self._ledger.save_batch(replace(row, state="canceled", detail="nothing was left to ask"))
                return None
            row = replace(row, n_requests=len(claimed))
            self._ledger.save_batch(row)
        return row

    def submitted(self, row: BatchRow, provider_batch: str) -> BatchRow:
        row = replace(row, provider_batch=provider_batch, state="submitted", submitted_at=time.time(), detail=None)
        self._ledger.save_batch(row)
        return row

    def give_up(self, row: BatchRow, why: str, *, keep_reserved: bool = False) -> BatchRow:
        """The provider does not have the batch, or won't work on it: its requests are free again.

        With `keep_reserved` they are about to be submitted anew, and what is set aside for them stays.
        """
        keys = self.keys(row)
        self._ledger.release_many(keys)
        row = replace(row, state="failed", detail=why)
        self._ledger.save_batch(row)
        if not keep_reserved:
            for key in keys:
                self._settle(key, None)
        return row

    def fail(self, row: BatchRow, fault: Fault) -> BatchRow:
        """The provider refused the batch as a whole: so says each of its requests."""
        self.finish(dict.fromkeys(self.keys(row), fault))
        row = replace(row, state="failed", ended_at=time.time(), detail=fault.detail)
        self._ledger.save_batch(row)
        return row

    def collect(self, row: BatchRow, status: BatchStatus, results: Iterable[tuple[str, Completion | Fault]]) -> None:
        """Commit the result of each request that has none yet."""
        row = replace(row, state="ended", ended_at=row.ended_at or time.time())
        self._ledger.save_batch(row)
        waiting = set(self.keys(row))
        took = (row.ended_at or 0.0) - (row.submitted_at or row.ended_at or 0.0)
        for some in _together(results, COMMIT_TOGETHER):
            found = {key: outcome for key, outcome in some if key in waiting}
            self.finish(found, seconds=took)
            waiting -= found.keys()
        left = Fault(status.left_over, True, "the batch ended without a result for this request")
        for some_keys in _together(sorted(waiting), COMMIT_TOGETHER):
            self.finish(dict.fromkeys(some_keys, left))
        canceled = status.left_over == "batch_canceled"
        detail = f"{len(waiting):,} without a result ({status.left_over})" if waiting else None
        self._ledger.save_batch(replace(row, state="canceled" if canceled else "collected", detail=detail))

    def finish(self, outcomes: Mapping[str, Completion | Fault], *, seconds: float = 0.0) -> None:
        """Commit the outcomes of some requests, which took so long together."""
        results = {key: _result(outcome, seconds) for key, outcome in outcomes.items()}
        self._ledger.finish_many(results.items())
        for key, result in results.items():
            self._settle(key, result)
            if isinstance(result, CompletionFailure):
                self.failed.add(key)
            else:
                self.n_answered += 1

    def _settle(self, key: str, result: LLMResult | None) -> None:
        reservation = self._reservations.pop(key, None)
        if self._budget is not None and reservation is not None:
            self._budget.settle(reservation, result)


def in_good_hands(row: BatchRow) -> bool:
    """Whether a living process is submitting a batch that is `preparing`."""
    owner = (row.detail or "").removeprefix(OWNED_BY)
    if owner == this_process():
        return row.batch in _SUBMITTING
    return bool(owner) and is_alive(owner)


@contextmanager
def being_submitted(batch: str) -> Iterator[None]:
    _SUBMITTING.add(batch)
    try:
        yield
    finally:
        _SUBMITTING.discard(batch)


def _result(outcome: Completion | Fault, seconds: float) -> LLMResult:
    if isinstance(outcome, Completion):
        return replace(outcome, latency_seconds=seconds, batch=True)
    answer = None if outcome.answer is None else replace(outcome.answer, latency_seconds=seconds, batch=True)
    return CompletionFailure(outcome.reason, outcome.retryable, outcome.detail, answer)


def _together(values: Iterable[Value], count: int) -> Iterator[list[Value]]:
    rest = iter(values)
    while some := list(islice(rest, count)):
        yield some
