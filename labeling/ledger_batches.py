"""One row of the ledger's table of batches, and which requests belong to one. It commits nothing, and knows no provider."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import astuple, dataclass, fields
from typing import Literal, get_args

from labeling.half_surrogates import writable

BatchState = Literal["preparing", "submitted", "ended", "collected", "failed", "canceled"]
BATCH_STATES: tuple[BatchState, ...] = get_args(BatchState)
UNDER_WAY: tuple[BatchState, ...] = ("preparing", "submitted", "ended")
"""States in which the requests of a batch may still be answered by it."""


@dataclass(frozen=True)
class BatchRow:
    """One batch. Times are Unix seconds; None means not yet, or not known."""

    batch: str
    """Our id."""
    provider: str
    model: str
    """`provider/model`."""
    provider_batch: str | None
    """The provider's id, once it has answered."""
    state: BatchState
    n_requests: int
    created_at: float
    submitted_at: float | None = None
    ended_at: float | None = None
    detail: str | None = None


_COLUMNS = ", ".join(field.name for field in fields(BatchRow))


def read_batches(connection: sqlite3.Connection) -> Iterator[BatchRow]:
    """All batches, oldest first."""
    return (BatchRow(*row) for row in connection.execute(f"SELECT {_COLUMNS} FROM batches ORDER BY created_at, batch"))


def write_batch(connection: sqlite3.Connection, row: BatchRow) -> None:
    values = [writable(value) if isinstance(value, str) else value for value in astuple(row)]
    marks = ", ".join("?" * len(values))
    connection.execute(f"INSERT OR REPLACE INTO batches ({_COLUMNS}) VALUES ({marks})", values)
