"""Submits requests of the ledger in batches, looks after what is under way, reads what has ended.

A batch is recorded before it is submitted and again with the provider's id after. A process that died in between leaves
it `preparing`: it is then looked for in the provider's listing, taken over where it is found, and given up only once the
listing shows that it is not there, so that nothing is submitted twice. What is too large is submitted in halves. Knows
no SDK and no stage.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from labeling.errors import BudgetReached, FeatlasError
from labeling.ledger import BatchRow, Ledger
from labeling.ledger_batches import UNDER_WAY
from labeling.llm._batch_books import BatchBooks, in_good_hands
from labeling.llm._batch_room import TOO_MUCH, most_requests
from labeling.llm._batch_submission import TOO_LONG, BatchSubmission, of_each_request
from labeling.llm._batches import QUEUE_FULL, TOO_LARGE, BatchClient, BatchLimits, BatchStatus, CallFailed
from labeling.llm._budget import Budget
from labeling.llm._dispatch import DEFAULT_RETRY, RetryPolicy
from labeling.llm._faults import Fault
from labeling.llm._patience import DEFAULT_PATIENCE, Patience, RepeatedCalls

log = logging.getLogger(__name__)


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
        patience: Patience = DEFAULT_PATIENCE,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._books = BatchBooks(ledger, budget)
        self._connect = connect
        self._clients: dict[str, BatchClient] = {}
        self._patience = patience
        self._calls = RepeatedCalls(retry, sleep, random.SystemRandom())
        self._submission = BatchSubmission(
            self._books, self._calls, limits=limits, settle_seconds=patience.settle_seconds
        )
        self._refused_alone: dict[str, str] = {}
        """By model, what was said when the provider's queue had no room for a single request."""
        self.held_back: str | None = None
        """Why `submit` left requests pending the last time, where that was not for what they cost."""

    @property
    def failed(self) -> set[str]:
        """Keys of requests that failed in a batch that was read here."""
        return self._books.failed

    @property
    def n_answered(self) -> int:
        """Answers that were read here."""
        return self._books.n_answered

    @property
    def budget_reached(self) -> BudgetReached | None:
        """Raise it when what is under way has ended."""
        return self._books.budget_reached

    def submit(self, keys: Sequence[str], model: str) -> list[BatchRow]:
        """Submit registered requests that nobody has answered or sent, in as few batches as the limits allow.

        What a limit of cost or the provider's queue has no room for stays pending. Raise FeatlasError when the provider
        can't be reached or refuses; what it has taken until then is recorded.
        """
        client = self._client(model)
        most = most_requests(self._books.rows(model), now=time.time())
        self.held_back = None
        if most is not None and self.under_way(model):
            self._hold_back(model)
            return []
        self._stop_if_queue_stays_full(model)
        rows = []
        for part in self._submission.parts(client, keys, most):
            rows += self._submission.submit(client, part, model)
            if most is not None and len(part) < len(keys):
                self._hold_back(model)
                break
        return [row for row in rows if row.state in UNDER_WAY]

    def under_way(self, model: str | None = None) -> list[BatchRow]:
        """Batches whose requests may still be answered, of one model or of all."""
        return self._books.under_way(model)

    def look(self, model: str | None = None) -> list[BatchRow]:
        """Look at every batch once, and commit the results of those that have ended. Return what is still under way."""
        for row in self.under_way(model):
            client = self._client(row.model)
            try:
                if row.state == "preparing":
                    self._look_for(client, row)
                else:
                    self._look_at(client, row)
            except CallFailed as failed:  # the next look may have more luck
                log.warning("batch %s: %s (%s)", row.batch, failed.fault.reason, failed.fault.detail)
        return self.under_way(model)

    def wait(self, model: str | None, say: Callable[[Sequence[BatchRow]], None]) -> None:
        """Look until no batch is under way; `say` is told after every look."""
        pause = self._patience.first_look_seconds
        while left := self.look(model):
            say(left)
            self._calls.sleep(pause)
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
            self._calls.patiently(lambda: client.cancel(provider_batch))
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

    def _hold_back(self, model: str) -> None:
        self.held_back = (
            f"{model}: the provider has refused a batch as too much at once, so one batch is submitted at a time; the rest "
            "stays pending until it has ended"
        )
        log.info("%s", self.held_back)

    def _stop_if_queue_stays_full(self, model: str) -> None:
        if said := self._refused_alone.pop(model, None):
            raise FeatlasError(
                f"The provider's queue for {model} has no room for a batch of a single request, and none of this workspace "
                f"is under way ({said}). Other batches of the account fill it, or their end is not yet counted. Requests "
                "without an answer stay pending: run again later, or ask interactively with --mode interactive."
            )

    # --- looking after what is under way

    def _look_for(self, client: BatchClient, row: BatchRow) -> None:
        """Find out what became of a batch that a process was submitting when it died."""
        if in_good_hands(row):
            return
        row = replace(row, n_requests=len(self._books.keys(row)))
        found = self._submission.find(client, row)
        if found.provider_batch is not None:
            self._look_at(client, self._books.submitted(row, found.provider_batch))
        elif found.found_nothing:
            self._books.give_up(row, "the process that submitted it died, and the provider never got it")
            self._submission.discard(client, row)

    def _look_at(self, client: BatchClient, row: BatchRow) -> None:
        provider_batch = row.provider_batch
        assert provider_batch is not None
        status = self._calls.patiently(lambda: client.look(provider_batch))
        if status.state == "failed":
            self._refuse(row, status)
        elif status.state == "ended":
            self._books.collect(row, status, client.results(provider_batch))
        else:
            return
        # Only now: what is not stored can be read again.
        self._calls.if_possible(lambda: client.clean_up(provider_batch), f"delete the files of batch {row.batch}")

    def _refuse(self, row: BatchRow, status: BatchStatus) -> None:
        """Record a batch that the provider has looked at and won't work on. Its requests may fit into smaller ones."""
        if status.refused_as not in (TOO_LARGE, QUEUE_FULL):
            self._books.fail(row, of_each_request(Fault("batch_failed", True, status.detail)))
        elif row.n_requests > 1 or status.refused_as == QUEUE_FULL:
            log.warning("batch %s of %s requests: %s%s", row.batch, row.n_requests, TOO_MUCH, status.detail)
            self._books.give_up(row, TOO_MUCH + status.detail)
            if row.n_requests == 1 and not self.under_way(row.model):
                self._refused_alone[row.model] = status.detail
        else:
            self._books.fail(row, Fault(TOO_LONG, False, status.detail))
