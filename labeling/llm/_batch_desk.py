"""Keeps the books of batches: submits requests of the ledger, looks after what is under way, commits what comes back.

A batch is recorded before it is submitted and again with the provider's id after. A process that died in between leaves
it `preparing`: it is then looked for in the provider's listing, taken over where it is found, and given up only once the
listing shows that it is not there, so that nothing is submitted twice. Knows no SDK and no stage.
"""

from __future__ import annotations

import json
import logging
import random
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, TypeVar

from labeling.errors import BudgetReached, FeatlasError
from labeling.ledger import BatchRow, Ledger
from labeling.ledger_batches import UNDER_WAY
from labeling.ledger_file import is_alive, this_process
from labeling.llm._batches import BatchClient, BatchLimits, BatchStatus, CallFailed
from labeling.llm._dispatch import DEFAULT_RETRY, RetryPolicy
from labeling.llm._faults import AGAIN, Fault
from labeling.llm._prices import BATCH_SHARE
from labeling.types import JSON, Completion, CompletionFailure, LLMResult

if TYPE_CHECKING:
    from labeling.llm._budget import Budget, Reservation

Value = TypeVar("Value")
log = logging.getLogger(__name__)

COMMIT_TOGETHER = 500
CLOCK_SKEW_SECONDS = 600.0
"""How far the provider's clock may be behind ours."""
NOT_TAKEN = ("unreachable", "rate_limited")
"""Faults after which a batch was certainly not made."""
_SUBMITTING: set[str] = set()
"""Batches that this process is submitting at this moment."""


@dataclass(frozen=True)
class Patience:
    """How long to wait for what."""

    first_look_seconds: float = 1.0
    longest_look_seconds: float = 60.0
    """Between two looks at a batch; the time grows from the first to this."""
    settle_seconds: float = 10.0
    """A batch that is not in the listing is looked for once more after this time: it may have been on its way."""


@dataclass(frozen=True)
class _Search:
    """What the provider's listing says about a batch that may or may not be there."""

    provider_batch: str | None
    undecided: bool = False
    """One that may be it has not ended, and only its results would tell."""


class BatchDesk:
    """Batches of one ledger. `connect` makes the client of a `provider/model`. One thread at a time."""

    def __init__(
        self,
        ledger: Ledger,
        connect: Callable[[str], BatchClient],
        *,
        budget: Budget | None = None,
        limits: BatchLimits | None = None,
        retry: RetryPolicy = DEFAULT_RETRY,
        patience: Patience = Patience(),
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._ledger = ledger
        self._connect = connect
        self._clients: dict[str, BatchClient] = {}
        self._budget = budget
        self._limits = limits
        self._retry = retry
        self._patience = patience
        self._sleep = sleep
        self._random = random.SystemRandom()
        self._reservations: dict[str, Reservation] = {}
        self.failed: set[str] = set()
        """Keys of requests that failed in a batch that was read here."""
        self.n_answered = 0
        """Answers that were read here."""
        self.budget_reached: BudgetReached | None = None
        """Raise it when what is under way has ended."""

    def submit(self, keys: Sequence[str], model: str) -> list[BatchRow]:
        """Submit registered requests that nobody has answered or sent, in as few batches as the limits allow.

        What a limit of cost has no room for stays pending. Raise FeatlasError when the provider can't be reached or
        refuses; what it has taken until then is recorded.
        """
        client = self._client(model)
        rows = []
        for part in self._parts(client, keys):
            row = self._prepare(part, model)
            if row is not None:
                rows.append(self._send(client, row, part))
        return [row for row in rows if row.state in UNDER_WAY]

    def under_way(self, model: str | None = None) -> list[BatchRow]:
        """Batches whose requests may still be answered, of one model or of all."""
        return [row for row in self._ledger.batches() if row.state in UNDER_WAY and model in (None, row.model)]

    def look(self, model: str | None = None) -> list[BatchRow]:
        """Look at every batch once, and commit the results of those that have ended. Return what is still under way."""
        for row in self.under_way(model):
            client = self._client(row.model)
            if row.state == "preparing":
                self._look_for(client, row)
            else:
                self._look_at(client, row)
        return self.under_way(model)

    def wait(self, model: str | None, say: Callable[[Sequence[BatchRow]], None]) -> None:
        """Look until no batch is under way; `say` is told after every look."""
        pause = self._patience.first_look_seconds
        while left := self.look(model):
            say(left)
            self._sleep(pause)
            pause = min(pause * 1.5, self._patience.longest_look_seconds)

    def cancel(self, row: BatchRow) -> None:
        """Ask the provider to stop a batch. What it has answered until then is read when the batch has ended."""
        if row.provider_batch is None:
            raise FeatlasError(
                f"The batch {row.batch} has no id of the provider yet, so it can't be canceled. `featlas batches collect` "
                "finds out what became of it."
            )
        client, provider_batch = self._client(row.model), row.provider_batch
        try:
            self._patiently(lambda: client.cancel(provider_batch))
        except CallFailed as failed:
            raise FeatlasError(
                f"The provider did not cancel the batch {row.batch} ({failed.fault.detail}). It may have ended: "
                "`featlas batches collect` fetches its results."
            ) from failed

    def _client(self, model: str) -> BatchClient:
        if model not in self._clients:
            self._clients[model] = self._connect(model)
        return self._clients[model]

    # --- submitting

    def _parts(self, client: BatchClient, keys: Sequence[str]) -> Iterator[dict[str, JSON]]:
        """Rendered requests by key, cut where a batch is full or the budget has no more room."""
        limits, part, size = self._limits or client.limits, dict[str, JSON](), 0
        for key in dict.fromkeys(keys):
            request = self._ledger.request(key)
            rendered = client.render(key, request)
            try:
                length = len(json.dumps(rendered, ensure_ascii=False).encode()) + 1
            except UnicodeEncodeError as error:
                self._finish(
                    {key: Fault("unsendable", False, f"the prompt holds what UTF-8 can't write: {error.reason}")}
                )
                continue
            if part and (len(part) >= limits.requests or size + length > limits.bytes):
                yield part
                part, size = {}, 0
            if self._budget is not None:
                try:
                    reservation = self._budget.try_reserve(request, price_share=BATCH_SHARE)
                except BudgetReached as error:
                    self.budget_reached = error
                    break
                if reservation is None:
                    break
                self._reservations[key] = reservation
            part[key] = rendered
            size += length
        if part:
            yield part

    def _prepare(self, part: Mapping[str, JSON], model: str) -> BatchRow | None:
        """Record a batch with the requests that are still to be had; None when there are none."""
        row = BatchRow(
            batch=uuid.uuid4().hex,
            provider=model.partition("/")[0],
            model=model,
            provider_batch=None,
            state="preparing",
            n_requests=0,
            created_at=time.time(),
            detail=_OWNED_BY + this_process(),
        )
        with _being_submitted(row.batch):
            self._ledger.save_batch(row)
            claimed = self._ledger.claim_many(part, batch=row.batch)
            for key in part.keys() - set(claimed):
                self._settle(key, None)
            if not claimed:
                self._ledger.save_batch(replace(row, state="canceled", detail="nothing was left to ask"))
                return None
            row = replace(row, n_requests=len(claimed))
            self._ledger.save_batch(row)
        return row

    def _send(self, client: BatchClient, row: BatchRow, part: Mapping[str, JSON]) -> BatchRow:
        keys = self._ledger.requests_of_batch(row.batch)
        requests = [part[key] for key in keys]
        attempt = 0
        with _being_submitted(row.batch):
            while True:
                attempt += 1
                try:
                    return self._submitted(row, client.submit(row.batch, requests))
                except CallFailed as failed:
                    fault, nothing_made = failed.fault, failed.nothing_made
                except FeatlasError as error:
                    self._give_up(row, str(error))
                    raise
                if not fault.retryable:
                    return self._fail(row, fault)
                log.debug("%s: submitting failed: %s", row.model, fault.detail)
                if fault.reason not in NOT_TAKEN and not nothing_made:
                    search = self._search_or_stop(client, row, keys, fault)
                    if search.provider_batch is not None:
                        return self._submitted(row, search.provider_batch)
                    if search.undecided:
                        return row
                if attempt >= self._retry.max_attempts:
                    self._give_up(row, fault.detail)
                    raise FeatlasError(
                        f"{row.model} took no batch in {attempt} attempts ({fault.reason}: {fault.detail}). {AGAIN}"
                    )
                self._sleep(self._retry.wait_seconds(attempt, fault.retry_after_seconds, self._random.random()))

    def _search_or_stop(self, client: BatchClient, row: BatchRow, keys: Sequence[str], fault: Fault) -> _Search:
        try:
            return self._search(client, row, keys)
        except CallFailed as failed:
            raise FeatlasError(
                f"{row.model} was sent a batch and the reply was lost ({fault.detail}), and its list of batches can't be "
                f"read either ({failed.fault.detail}). Run again: the batch is then looked for, and submitted again only "
                "if the provider does not have it."
            ) from failed

    def _submitted(self, row: BatchRow, provider_batch: str) -> BatchRow:
        row = replace(row, provider_batch=provider_batch, state="submitted", submitted_at=time.time(), detail=None)
        self._ledger.save_batch(row)
        return row

    def _give_up(self, row: BatchRow, why: str) -> None:
        """The provider does not have the batch: its requests are free again."""
        keys = self._ledger.requests_of_batch(row.batch)
        self._ledger.release_many(keys)
        self._ledger.save_batch(replace(row, state="failed", detail=why))
        for key in keys:
            self._settle(key, None)

    def _fail(self, row: BatchRow, fault: Fault) -> BatchRow:
        """The provider refused the batch as a whole: so says each of its requests."""
        keys = self._ledger.requests_of_batch(row.batch)
        # Another batch may be taken, so the requests may be asked for again.
        self._finish(dict.fromkeys(keys, Fault("batch_failed", True, fault.detail)))
        row = replace(row, state="failed", ended_at=time.time(), detail=fault.detail)
        self._ledger.save_batch(row)
        return row

    # --- looking for what a dead process may have submitted

    def _look_for(self, client: BatchClient, row: BatchRow) -> None:
        owner = (row.detail or "").removeprefix(_OWNED_BY)
        mine = owner == this_process()
        if row.batch in _SUBMITTING if mine else bool(owner) and is_alive(owner):
            return
        keys = self._ledger.requests_of_batch(row.batch)
        row = replace(row, n_requests=len(keys))
        try:
            search = self._search(client, row, keys)
        except CallFailed as failed:  # the next look may have more luck
            log.warning("batch %s: %s (%s)", row.batch, failed.fault.reason, failed.fault.detail)
            return
        if search.provider_batch is not None:
            self._look_at(client, self._submitted(row, search.provider_batch))
        elif not search.undecided:
            self._give_up(row, "the process that submitted it died, and the provider never got it")

    def _search(self, client: BatchClient, row: BatchRow, keys: Sequence[str]) -> _Search:
        """Look for a batch in the provider's listing; twice, because it may be on its way."""
        search = self._patiently(lambda: self._search_once(client, row, set(keys)))
        if search.provider_batch is None and not search.undecided:
            self._sleep(self._patience.settle_seconds)
            search = self._patiently(lambda: self._search_once(client, row, set(keys)))
        return search

    def _search_once(self, client: BatchClient, row: BatchRow, keys: set[str]) -> _Search:
        known = {other.provider_batch for other in self._ledger.batches()}
        undecided = False
        for seen in client.recent(row.created_at - CLOCK_SKEW_SECONDS):
            if seen.name == row.batch:
                return _Search(seen.provider_batch)
            if seen.name is not None or seen.provider_batch in known or seen.n_requests != len(keys):
                continue
            if not seen.ended:
                undecided = True
            elif {key for key, _ in client.results(seen.provider_batch)} == keys:
                return _Search(seen.provider_batch)
        return _Search(None, undecided)

    # --- reading results

    def _look_at(self, client: BatchClient, row: BatchRow) -> None:
        provider_batch = row.provider_batch
        assert provider_batch is not None
        try:
            status = self._patiently(lambda: client.look(provider_batch))
            if status.state == "failed":
                self._fail(row, Fault("batch_failed", True, status.detail))
            elif status.state == "ended":
                row = replace(row, state="ended", ended_at=row.ended_at or time.time())
                self._ledger.save_batch(row)
                self._collect(client, row, status)
        except CallFailed as failed:  # the next look may have more luck
            log.warning("batch %s: %s (%s)", row.batch, failed.fault.reason, failed.fault.detail)

    def _collect(self, client: BatchClient, row: BatchRow, status: BatchStatus) -> None:
        """Commit the result of each request that has none yet."""
        assert row.provider_batch is not None
        waiting = set(self._ledger.requests_of_batch(row.batch))
        took = (row.ended_at or 0.0) - (row.submitted_at or row.ended_at or 0.0)
        for some in _together(client.results(row.provider_batch), COMMIT_TOGETHER):
            found = {key: outcome for key, outcome in some if key in waiting}
            self._finish(found, seconds=took)
            waiting -= found.keys()
        left = Fault(status.left_over, True, "the batch ended without a result for this request")
        for some_keys in _together(sorted(waiting), COMMIT_TOGETHER):
            self._finish(dict.fromkeys(some_keys, left))
        canceled = status.left_over == "batch_canceled"
        detail = f"{len(waiting):,} without a result ({status.left_over})" if waiting else None
        self._ledger.save_batch(replace(row, state="canceled" if canceled else "collected", detail=detail))

    def _finish(self, outcomes: Mapping[str, Completion | Fault], *, seconds: float = 0.0) -> None:
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

    def _patiently(self, call: Callable[[], Value]) -> Value:
        """Repeat a call that changes nothing while the provider is busy. Raise CallFailed when it stays so."""
        attempt = 0
        while True:
            attempt += 1
            try:
                return call()
            except CallFailed as failed:
                if not failed.fault.retryable or attempt >= self._retry.max_attempts:
                    raise
                wait = self._retry.wait_seconds(attempt, failed.fault.retry_after_seconds, self._random.random())
            self._sleep(wait)


_OWNED_BY = "process "
"""Before the name of the process that is submitting, in the detail of a batch that is `preparing`."""


def _result(outcome: Completion | Fault, seconds: float) -> LLMResult:
    if isinstance(outcome, Completion):
        return replace(outcome, latency_seconds=seconds, batch=True)
    answer = None if outcome.answer is None else replace(outcome.answer, latency_seconds=seconds, batch=True)
    return CompletionFailure(outcome.reason, outcome.retryable, outcome.detail, answer)


def _together(values: Iterable[Value], count: int) -> Iterator[list[Value]]:
    rest = iter(values)
    while some := list(islice(rest, count)):
        yield some


@contextmanager
def _being_submitted(batch: str) -> Iterator[None]:
    _SUBMITTING.add(batch)
    try:
        yield
    finally:
        _SUBMITTING.discard(batch)
