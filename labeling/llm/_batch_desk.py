"""Submits requests of the ledger in batches, looks after what is under way, reads what has ended.

A batch is recorded before it is submitted and again with the provider's id after. A process that died in between leaves
it `preparing`: it is then looked for in the provider's listing, taken over where it is found, and given up only once the
listing shows that it is not there, so that nothing is submitted twice. Knows no SDK and no stage.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

from labeling.errors import BudgetReached, FeatlasError
from labeling.ledger import BatchRow, Ledger
from labeling.ledger_batches import UNDER_WAY
from labeling.llm._batch_books import BatchBooks, being_submitted, in_good_hands
from labeling.llm._batch_search import Search, search
from labeling.llm._batches import BatchClient, BatchLimits, CallFailed
from labeling.llm._budget import Budget
from labeling.llm._dispatch import DEFAULT_RETRY, RetryPolicy
from labeling.llm._faults import AGAIN, Fault
from labeling.llm._patience import DEFAULT_PATIENCE, Calls, Patience
from labeling.types import JSON

log = logging.getLogger(__name__)

NOT_TAKEN = ("unreachable", "rate_limited")
"""Faults after which a batch was certainly not made."""


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
        self._limits = limits
        self._patience = patience
        self._calls = Calls(retry, sleep)

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

        What a limit of cost has no room for stays pending. Raise FeatlasError when the provider can't be reached or
        refuses; what it has taken until then is recorded.
        """
        client = self._client(model)
        rows = []
        for part in self._parts(client, keys):
            row = self._books.prepare(part, model)
            if row is not None:
                rows.append(self._send(client, row, part))
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

    def _parts(self, client: BatchClient, keys: Sequence[str]) -> Iterator[dict[str, JSON]]:
        """Rendered requests by key, cut where a batch is full or the budget has no more room."""
        limits, part, size = self._limits or client.limits, dict[str, JSON](), 0
        for key in dict.fromkeys(keys):
            request = self._books.request(key)
            rendered = client.render(key, request)
            try:
                length = len(json.dumps(rendered, ensure_ascii=False).encode()) + 1
            except UnicodeEncodeError as error:
                detail = f"the prompt holds what UTF-8 can't write: {error.reason}"
                self._books.finish({key: Fault("unsendable", False, detail)})
                continue
            if part and (len(part) >= limits.requests or size + length > limits.bytes):
                yield part
                part, size = {}, 0
            if not self._books.reserve(key, request):
                break
            part[key] = rendered
            size += length
        if part:
            yield part

    def _send(self, client: BatchClient, row: BatchRow, part: Mapping[str, JSON]) -> BatchRow:
        keys = self._books.keys(row)
        requests = [part[key] for key in keys]
        attempt = 0
        with being_submitted(row.batch):
            while True:
                attempt += 1
                try:
                    return self._books.submitted(row, client.submit(row.batch, requests))
                except CallFailed as failed:
                    fault = failed.fault
                except FeatlasError as error:
                    self._books.give_up(row, str(error))
                    raise
                if not fault.retryable:
                    return self._books.fail(row, _of_each_request(fault))
                log.debug("%s: submitting failed: %s", row.model, fault.detail)
                if fault.reason not in NOT_TAKEN:
                    found = self._search_or_stop(client, row, fault)
                    if found.provider_batch is not None:
                        return self._books.submitted(row, found.provider_batch)
                    if found.undecided:
                        return row
                if attempt >= self._calls.max_attempts:
                    self._books.give_up(row, fault.detail)
                    raise FeatlasError(
                        f"{row.model} took no batch in {attempt} attempts ({fault.reason}: {fault.detail}). {AGAIN}"
                    )
                self._calls.pause(attempt, fault)

    def _search_or_stop(self, client: BatchClient, row: BatchRow, fault: Fault) -> Search:
        try:
            return self._search(client, row)
        except CallFailed as failed:
            raise FeatlasError(
                f"{row.model} was sent a batch and the reply was lost ({fault.detail}), and its list of batches can't be "
                f"read either ({failed.fault.detail}). Run again: the batch is then looked for, and submitted again only "
                "if the provider does not have it."
            ) from failed

    def _search(self, client: BatchClient, row: BatchRow) -> Search:
        return search(
            client,
            row,
            set(self._books.keys(row)),
            known=self._books.provider_batches(),
            calls=self._calls,
            settle_seconds=self._patience.settle_seconds,
        )

    # --- looking after what is under way

    def _look_for(self, client: BatchClient, row: BatchRow) -> None:
        """Find out what became of a batch that a process was submitting when it died."""
        if in_good_hands(row):
            return
        row = replace(row, n_requests=len(self._books.keys(row)))
        found = self._search(client, row)
        if found.provider_batch is not None:
            self._look_at(client, self._books.submitted(row, found.provider_batch))
        elif found.found_nothing:
            self._books.give_up(row, "the process that submitted it died, and the provider never got it")

    def _look_at(self, client: BatchClient, row: BatchRow) -> None:
        provider_batch = row.provider_batch
        assert provider_batch is not None
        status = self._calls.patiently(lambda: client.look(provider_batch))
        if status.state == "failed":
            self._books.fail(row, _of_each_request(Fault("batch_failed", True, status.detail)))
        elif status.state == "ended":
            self._books.collect(row, status, client.results(provider_batch))


def _of_each_request(fault: Fault) -> Fault:
    """Another batch may be taken, so the requests of a refused one may be asked for again."""
    return Fault("batch_failed", True, fault.detail)
