"""Submits one batch after the other: cuts requests to the provider's limits, and halves what is still too large.

A batch is recorded before it is submitted and again with the provider's id after; where the reply is lost, the batch is
looked for before it is submitted again.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from labeling.errors import FeatlasError
from labeling.ledger import BatchRow
from labeling.llm._batch_books import BatchBooks, being_submitted
from labeling.llm._batch_search import CLOCK_SKEW_SECONDS, Search, search
from labeling.llm._batches import TOO_LARGE, BatchClient, BatchLimits, CallFailed
from labeling.llm._faults import AGAIN, Fault
from labeling.llm._patience import RepeatedCalls
from labeling.types import JSON

log = logging.getLogger(__name__)

NOT_TAKEN = ("unreachable", "rate_limited")
"""Faults after which a batch was certainly not made."""
TOO_LONG = "context_too_long"
"""Reason of a request that is too large for a batch of its own, as where it is asked by itself."""


class BatchSubmission:
    """Submits for one desk. `limits` None are those of the provider."""

    def __init__(
        self, books: BatchBooks, calls: RepeatedCalls, *, limits: BatchLimits | None, settle_seconds: float
    ) -> None:
        self._books = books
        self._calls = calls
        self._limits = limits
        self._settle_seconds = settle_seconds

    def parts(self, client: BatchClient, keys: Sequence[str], most: int | None) -> Iterator[dict[str, JSON]]:
        """Rendered requests by key, cut where a batch is full or the budget has no more room. `most` is full, too."""
        limits, part, size = self._limits or client.limits, dict[str, JSON](), 0
        if most is not None:
            limits = replace(limits, requests=min(most, limits.requests))
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

    def submit(self, client: BatchClient, part: Mapping[str, JSON], model: str) -> list[BatchRow]:
        """Submit requests as one batch, or in halves where the provider says that it is too large."""
        row = self._books.prepare(part, model)
        if row is None:
            return []
        try:
            return [self._send(client, row, part)]
        except _TooLarge as error:
            keys = self._books.keys(row)
            if len(keys) == 1:
                return [self._books.fail(row, Fault(TOO_LONG, False, str(error)))]
            self._books.give_up(row, f"submitted again in halves: {error}", keep_reserved=True)
        half = len(keys) // 2
        return [
            row
            for some in (keys[:half], keys[half:])
            for row in self.submit(client, {key: part[key] for key in some}, model)
        ]

    def _send(self, client: BatchClient, row: BatchRow, part: Mapping[str, JSON]) -> BatchRow:
        """Submit a batch until the provider has it or has refused it. Raise _TooLarge where fewer would be taken."""
        keys = self._books.keys(row)
        requests = [part[key] for key in keys]
        attempt = 0
        with being_submitted(row.batch):
            while True:
                attempt += 1
                try:
                    return self._books.submitted(row, client.submit(row.batch, requests))
                except CallFailed as failed:
                    fault, nothing_made = failed.fault, failed.nothing_made
                except FeatlasError as error:
                    self._books.give_up(row, str(error))
                    self.discard(client, row)
                    raise
                if not fault.retryable:
                    self.discard(client, row)
                    if fault.reason == TOO_LARGE:
                        raise _TooLarge(fault.detail)
                    return self._books.fail(row, of_each_request(fault))
                log.debug("%s: submitting failed: %s", row.model, fault.detail)
                if fault.reason not in NOT_TAKEN and not nothing_made:
                    found = self._search_or_stop(client, row, fault)
                    if found.provider_batch is not None:
                        return self._books.submitted(row, found.provider_batch)
                    if found.undecided:
                        return row
                if fault.reason != "unreachable":
                    self.discard(client, row)
                if attempt >= self._calls.max_attempts:
                    self._books.give_up(row, fault.detail)
                    raise FeatlasError(
                        f"{row.model} took no batch in {attempt} attempts ({fault.reason}: {fault.detail}). {AGAIN}"
                    )
                self._calls.pause(attempt, fault)

    def _search_or_stop(self, client: BatchClient, row: BatchRow, fault: Fault) -> Search:
        try:
            return self.find(client, row)
        except CallFailed as failed:
            raise FeatlasError(
                f"{row.model} was sent a batch and the reply was lost ({fault.detail}), and its list of batches can't be "
                f"read either ({failed.fault.detail}). Run again: the batch is then looked for, and submitted again only "
                "if the provider does not have it."
            ) from failed

    def discard(self, client: BatchClient, row: BatchRow) -> None:
        """Delete what was uploaded for a batch that the provider does not have."""
        since = row.created_at - CLOCK_SKEW_SECONDS
        self._calls.if_possible(
            lambda: client.discard(row.batch, since), f"delete what was uploaded for batch {row.batch}"
        )

    def find(self, client: BatchClient, row: BatchRow) -> Search:
        """Look for a batch at the provider. Raise CallFailed when its listing can't be read."""
        return search(
            client,
            row,
            set(self._books.keys(row)),
            known=self._books.provider_batches(),
            calls=self._calls,
            settle_seconds=self._settle_seconds,
        )


class _TooLarge(Exception):
    """The provider takes no batch of this size."""


def of_each_request(fault: Fault) -> Fault:
    """Another batch may be taken, so the requests of a refused one may be asked for again."""
    return Fault("batch_failed", True, fault.detail)
