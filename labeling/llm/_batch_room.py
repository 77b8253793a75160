"""How many requests the next batch may hold after the provider has refused one for what it would add to its queue.

Providers limit what may wait in batches at a time (OpenAI counts prompt tokens a model) and say so only after they have
taken a batch. It is then tried with half as many requests, one batch at a time, and with twice as many after a batch
that was taken. What it goes by are the ledger's rows, so that the next process goes on from there. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence

from labeling.ledger import BatchRow

TOO_MUCH = "too much at once: "
"""Before the provider's words, in the detail of a batch that was refused for its size."""
MEMORY_SECONDS = 24 * 3600.0
"""Then the queue has changed: batches end within a day."""


def most_requests(rows: Sequence[BatchRow], *, now: float) -> int | None:
    """Requests of the next batch, from a model's batches, oldest first; None when nothing was refused within a day.

    `now` is in Unix seconds.
    """
    decided = [
        row
        for row in rows
        if now - row.created_at < MEMORY_SECONDS and row.n_requests and (was_too_much(row) or _was_taken(row))
    ]
    if not any(was_too_much(row) for row in decided):
        return None
    last = decided[-1]
    return max(1, last.n_requests // 2) if was_too_much(last) else 2 * last.n_requests


def was_too_much(row: BatchRow) -> bool:
    return row.state == "failed" and (row.detail or "").startswith(TOO_MUCH)


def _was_taken(row: BatchRow) -> bool:
    return row.provider_batch is not None and row.state in ("ended", "collected", "canceled")
