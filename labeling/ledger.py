"""Every request to a language model and its answer, one row each, so that no answer is lost or paid for twice.

A row goes pending -> sent -> answered | failed, and each answer is committed before anything uses it. A row left `sent`
by a process that died is sent again, and so is a failed one when it is asked for again. `ledger_model.py` puts a
ledger in front of a language model. It knows no provider, no prices and no DuckDB.
"""

from __future__ import annotations

import sqlite3
import threading
import time
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from labeling.errors import FeatlasError
from labeling.ledger_batches import UNDER_WAY, BatchRow, read_batches, write_batch
from labeling.ledger_check import problems
from labeling.ledger_file import (
    in_words,
    is_alive,
    open_ledger,
    open_to_read,
    reading,
    this_process,
    transaction,
)
from labeling.ledger_rows import (
    COMPLETION_COLUMNS,
    FAILURE_COLUMNS,
    WITHOUT_TEXT,
    Price,
    completion_of,
    failure_since,
    insert,
    read_completion,
    read_failure,
    read_request,
    reject,
    request_key,
    storable,
    update,
)
from labeling.ledger_summary import LedgerSummary, summarize
from labeling.types import Completion, CompletionFailure, LLMRequest, LLMResult

if TYPE_CHECKING:
    import polars as pl

__all__ = ["BatchRow", "Claim", "Ledger", "LedgerSummary", "Price", "request_key"]

CHUNK = 500
"""Rows a transaction or a query takes at once."""
LONGEST_SEND_SECONDS = 3600.0
"""A request that another process has had under way for longer is given up on."""

_SENDING: set[tuple[Path, str]] = set()
"""Ledger and key of the requests that this process has under way, in whatever thread."""


_UNDER_WAY_COLUMNS = (
    "request_key, state, owner, sent_at, "
    "CASE WHEN batch IS NOT NULL THEN (SELECT state FROM batches AS b WHERE b.batch = r.batch) END"
)
_CLAIM = (
    "UPDATE requests SET state = 'sent', owner = ?, batch = ?, sent_at = ?, attempts = attempts + 1, reason = NULL, "
    "retryable = NULL, detail = NULL, answer = NULL, stop_reason = NULL, number_tokens = NULL "
    "WHERE request_key = ?"
)


@dataclass(frozen=True)
class Claim:
    """The right to send a request, or what came of it, or neither, because somebody else is sending it."""

    granted: bool
    result: LLMResult | None = None
    """The answer, or a failure that is not asked again."""
    interrupted: bool = False
    """Whether a process that died had sent it before."""


class Ledger:
    """The ledger in one file. Several processes and threads may use it at once.

    `price` says what an answer cost when it is finished. With `read_only` nothing can be written, the file must be
    there, and no process that writes is held up. Raise FeatlasError when the file is damaged, of a newer version or
    another kind, locked, or the disk is full.
    """

    def __init__(self, path: Path, *, price: Price | None = None, read_only: bool = False) -> None:
        self.path = path.absolute()
        self._price = price
        self._connection = (open_to_read if read_only else open_ledger)(self.path)
        self._lock = threading.Lock()
        self._owner = this_process()

    def close(self) -> None:
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def register(self, requests: Sequence[LLMRequest]) -> list[str]:
        """Make a pending row for each request that has none. Return their keys, in order."""
        keys = [request_key(request) for request in requests]
        known = {key for (key,) in self._select("request_key", keys, "TRUE")}
        new = {key: request for key, request in zip(keys, requests, strict=True) if key not in known}
        for chunk in _chunks(list(new)):
            with self._writing() as connection:
                insert(connection, {key: new[key] for key in chunk})
        return keys

    def answers(self, keys: Iterable[str]) -> dict[str, Completion]:
        """Stored answers among the keys."""
        rows = self._select(f"request_key, {COMPLETION_COLUMNS}", list(keys), "state = 'answered'")
        return {row[0]: completion_of(row[1:]) for row in rows}

    def failures(self, keys: Iterable[str]) -> dict[str, CompletionFailure]:
        """Stored failures among the keys, with what came back, if anything did."""
        rows = self._select(f"request_key, {FAILURE_COLUMNS}", list(keys), "state = 'failed'")
        return {row[0]: read_failure(row[1:]) for row in rows}

    def claim(self, key: str, *, failed_since: float | None = None) -> Claim:
        """Mark a registered request as being sent by this process, unless it is answered or under way already.

        Neither is one claimed that has failed since that time in Unix seconds; None claims whatever has failed.
        """
        with self._writing() as connection:
            return self._claim(connection, key, failed_since)

    def claim_each(self, keys: Sequence[str]) -> list[Claim]:
        """Claim several requests in one transaction."""
        with self._writing() as connection:
            return [self._claim(connection, key, None) for key in keys]

    def _claim(self, connection: sqlite3.Connection, key: str, failed_since: float | None) -> Claim:
        query = f"SELECT {_UNDER_WAY_COLUMNS} FROM requests AS r WHERE request_key = ?"
        row = connection.execute(query, (key,)).fetchone()
        if row[1] == "answered":
            return Claim(False, read_completion(connection, key))
        if row[1] == "failed" and failed_since is not None:
            failure = failure_since(connection, key, failed_since)
            if failure is not None:
                return Claim(False, failure)
        if self._is_under_way(*row):
            return Claim(False)
        connection.execute(_CLAIM, (self._owner, None, time.time(), key))
        _SENDING.add((self.path, key))
        return Claim(True, interrupted=row[1] == "sent")

    def claim_many(self, keys: Iterable[str], *, batch: str) -> list[str]:
        """Put registered requests into a batch, all at once, and return which: those that nobody has answered or sent.

        They are under way as long as the batch is, whichever process looks after it. Raise KeyError when the batch was
        not saved before.
        """
        claimed: list[str] = []
        with self._writing(durably=True) as connection:
            if connection.execute("SELECT 1 FROM batches WHERE batch = ?", (batch,)).fetchone() is None:
                raise KeyError(f"the ledger {self.path} has no batch {batch!r}; save it before its requests")
            for chunk in _chunks(list(dict.fromkeys(keys))):
                query = (
                    f"SELECT {_UNDER_WAY_COLUMNS} FROM requests AS r WHERE request_key IN ({_marks(chunk)}) "
                    "AND state != 'answered'"
                )
                rows = connection.execute(query, chunk).fetchall()
                free = {row[0] for row in rows if not self._is_under_way(*row)}
                claimed += [key for key in chunk if key in free]
            now = time.time()
            connection.executemany(_CLAIM, ((None, batch, now, key) for key in claimed))
        return claimed

    def finish(self, key: str, result: LLMResult, *, cost_usd: float | None = None) -> LLMResult:
        """Commit what came back for a claimed request. Return it as it will be read again.

        `cost_usd` is what this answer cost, where it is not what the ledger's price function says.
        """
        result = storable(result)
        with self._ending([key]) as connection:
            return update(connection, key, result, self._cost(key, result) if cost_usd is None else cost_usd)

    def finish_many(self, results: Iterable[tuple[str, LLMResult]]) -> list[LLMResult]:
        """Commit what came back for several claimed requests, all or none. Return them as they will be read again."""
        writable = [(key, storable(result)) for key, result in results]
        with self._ending([key for key, _ in writable]) as connection:
            return [update(connection, key, result, self._cost(key, result)) for key, result in writable]

    def reject(self, key: str, reason: str, detail: str) -> None:
        """Make an answered request a failed one, because its answer cannot be used. The answer stays, for people.

        Nothing happens to a request in another state.
        """
        with self._writing() as connection:
            reject(connection, key, reason, detail)

    def release(self, key: str, *, may_be_answered: bool) -> None:
        """Give a claim back. It counts as interrupted when the provider may have answered all the same."""
        state = "sent" if may_be_answered else "pending"
        with self._ending([key]) as connection:
            connection.execute(
                "UPDATE requests SET state = ?, owner = NULL, batch = NULL WHERE request_key = ?", (state, key)
            )

    def release_many(self, keys: Iterable[str]) -> None:
        """Give back claims of requests that were certainly not sent."""
        with self._ending(keys := list(keys)) as connection:
            connection.executemany(
                "UPDATE requests SET state = 'pending', owner = NULL, batch = NULL WHERE request_key = ?",
                [(key,) for key in keys],
            )

    def in_batches(self, keys: Iterable[str]) -> set[str]:
        """Those of the keys whose request is under way in a batch."""
        states = ", ".join(f"'{state}'" for state in UNDER_WAY)
        condition = f"state = 'sent' AND batch IN (SELECT batch FROM batches WHERE state IN ({states}))"
        return {key for (key,) in self._select("request_key", list(keys), condition)}

    def batches(self) -> list[BatchRow]:
        """All batches, oldest first."""
        with self._reading() as connection:
            return list(read_batches(connection))

    def save_batch(self, row: BatchRow) -> None:
        """Add a batch, or replace what is stored of it. It outlasts a power cut, like the requests claimed for it."""
        with self._writing(durably=True) as connection:
            write_batch(connection, row)

    def requests_of_batch(self, batch: str) -> list[str]:
        """Keys of the requests that the batch has not answered yet, in the order in which they were registered."""
        query = "SELECT request_key FROM requests WHERE batch = ? AND state = 'sent' ORDER BY rowid"
        return [key for (key,) in self._read(query, (batch,))]

    def request(self, key: str) -> LLMRequest:
        """Render a request again, exactly as it was registered.

        Raise KeyError for an unknown key, FeatlasError when the prompt is not the one whose hash was stored.
        """
        try:
            with self._reading() as connection:
                found = read_request(connection, key)
        except (LookupError, ValueError, TypeError, zlib.error) as error:
            raise FeatlasError(
                f"The prompt of request {key} cannot be rendered again from the ledger {self.path}, which was changed or "
                f"is damaged: {error}. Nothing was written. `featlas doctor` checks the whole ledger; put back a copy of "
                "it, if you have one."
            ) from error
        if found is None:
            raise KeyError(f"the ledger {self.path} has no request {key!r}")
        return found

    def interrupted(self) -> int:
        """Requests that were under way when a process died: the only ones that may be paid for twice."""
        rows = self._read(f"SELECT {_UNDER_WAY_COLUMNS} FROM requests AS r WHERE state = 'sent'")
        return sum(not self._is_under_way(*row) for row in rows)

    def summary(self) -> LedgerSummary:
        with self._reading() as connection:
            return summarize(connection)

    def export(self, price: Price | None = None) -> pl.DataFrame:
        """Answered and failed requests as the table `llm_requests`. `price` fills in costs that were not stored."""
        from labeling.ledger_export import export_requests  # brings polars

        with self._reading() as connection:
            return export_requests(connection, price)

    def billed(self, keys: Iterable[str]) -> Iterator[tuple[str, float | None, Completion | None]]:
        """Model, stored cost in US dollars, and what came back without its text, of the answered and failed among the keys.

        The answer is None where nothing came back, the cost None where it is not known or was not stored.
        """
        columns = f"model, cost_usd, latency_seconds IS NOT NULL, {WITHOUT_TEXT}"
        for model, cost_usd, answered, *answer in self._select(columns, list(keys), "state IN ('answered', 'failed')"):
            yield model, cost_usd, completion_of(answer) if answered else None

    def problems(self) -> list[str]:
        """What is wrong with the file, a sentence each."""
        with self._reading() as connection:
            return problems(connection)

    def keys_starting(self, prefix: str, *, limit: int) -> list[str]:
        """Up to `limit` keys that start with `prefix`, in ascending order."""
        query = "SELECT request_key FROM requests WHERE request_key >= ? AND request_key < ? ORDER BY 1 LIMIT ?"
        return [key for (key,) in self._read(query, (prefix, prefix + "\U0010ffff", limit))]

    def failed(self, *, limit: int) -> list[str]:
        """Keys of failed requests, the latest first."""
        query = "SELECT request_key FROM requests WHERE state = 'failed' ORDER BY finished_at DESC LIMIT ?"
        return [key for (key,) in self._read(query, (limit,))]

    def _is_under_way(
        self, key: str, state: str, owner: str | None, sent_at: float | None, batch_state: str | None
    ) -> bool:
        if state != "sent":
            return False
        if batch_state is not None:
            return batch_state in UNDER_WAY
        if owner == self._owner:
            return (self.path, key) in _SENDING
        return owner is not None and time.time() - (sent_at or 0) < LONGEST_SEND_SECONDS and is_alive(owner)

    def _cost(self, key: str, result: LLMResult) -> float | None:
        answer = result.answer if isinstance(result, CompletionFailure) else result
        if self._price is None or answer is None:
            return None
        ((model,),) = self._connection.execute("SELECT model FROM requests WHERE request_key = ?", (key,)).fetchall()
        return self._price(model, answer)

    def _select(self, columns: str, keys: Sequence[str], condition: str) -> Iterator[tuple[Any, ...]]:
        for chunk in _chunks(keys):
            query = f"SELECT {columns} FROM requests WHERE request_key IN ({_marks(chunk)}) AND {condition}"
            yield from self._read(query, tuple(chunk))

    def _read(self, query: str, parameters: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        with self._lock, in_words(self.path):
            return self._connection.execute(query, parameters).fetchall()

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        """One state of the file for several queries."""
        with self._lock, in_words(self.path), reading(self._connection):
            yield self._connection

    @contextmanager
    def _writing(self, *, durably: bool = False) -> Iterator[sqlite3.Connection]:
        with self._lock, in_words(self.path), transaction(self._connection, durably=durably):
            yield self._connection

    @contextmanager
    def _ending(self, keys: Iterable[str]) -> Iterator[sqlite3.Connection]:
        try:
            with self._writing() as connection:
                yield connection
        finally:
            _SENDING.difference_update((self.path, key) for key in keys)


def _marks(values: Sequence[object]) -> str:
    return ", ".join("?" * len(values))


def _chunks(keys: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(keys), CHUNK):
        yield keys[start : start + CHUNK]
