"""Every request to a language model and its answer, one row each, so that no answer is lost or paid for twice.

A row goes pending -> sent -> answered | failed, and each answer is committed before anything uses it. A row left `sent`
by a process that died is sent again, and so is a failed one when it is asked for again. `LedgerModel` puts a ledger in
front of any LanguageModel. It knows no provider, no prices and no DuckDB.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from labeling.errors import FeatlasError
from labeling.ledger_file import in_words, is_alive, open_ledger, this_process, transaction
from labeling.ledger_rows import COMPLETION_COLUMNS, decompress, insert, read_completion, request_key, storable, update
from labeling.llm import ConnectedModel, LanguageModel
from labeling.llm._workers import run_bounded
from labeling.types import Completion, LLMRequest, LLMResult

if TYPE_CHECKING:
    import polars as pl

__all__ = ["Claim", "Ledger", "LedgerModel", "LedgerSummary", "Price", "request_key"]

Price = Callable[[str, Completion], "float | None"]
"""US dollars for an answer of the model `provider/model`; None when its price is not known."""

CHUNK = 500
"""Rows a transaction or a query takes at once."""
LONGEST_SEND_SECONDS = 3600.0
"""A request that another process has had under way for longer is given up on."""
POLL_SECONDS = 0.1
WORKERS = 64
"""At work at once for a model that does not say how many requests it takes."""

_SENDING: set[tuple[Path, str]] = set()
"""Ledger and key of the requests that this process has under way, in whatever thread."""


@dataclass(frozen=True)
class Claim:
    """The right to send a request, or its answer, or neither, because somebody else is sending it."""

    granted: bool
    answer: Completion | None = None
    interrupted: bool = False
    """Whether a process that died had sent it before."""


@dataclass(frozen=True)
class LedgerSummary:
    """Counts over the whole ledger."""

    pending: int
    sent: int
    answered: int
    failed: int
    failed_by_reason: dict[str, int]
    input_tokens: int
    cached_input_tokens: int
    output_tokens: int


class Ledger:
    """The ledger in one file. Several processes and threads may use it at once.

    Raise FeatlasError when the file is damaged, of a newer version or another kind, locked, or the disk is full.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self._connection = open_ledger(self.path)
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
                for key in chunk:
                    insert(connection, key, new[key])
        return keys

    def answers(self, keys: Iterable[str]) -> dict[str, Completion]:
        """Stored answers among the keys."""
        rows = self._select(f"request_key, {COMPLETION_COLUMNS}", list(keys), "state = 'answered'")
        return {row[0]: Completion(*row[1:]) for row in rows}

    def claim(self, key: str) -> Claim:
        """Mark a registered request as being sent by this process, unless it is answered or under way already."""
        with self._writing() as connection:
            state, owner, sent_at = connection.execute(
                "SELECT state, owner, sent_at FROM requests WHERE request_key = ?", (key,)
            ).fetchone()
            if state == "answered":
                return Claim(False, read_completion(connection, key))
            if state == "sent" and self._is_under_way(key, owner, sent_at):
                return Claim(False)
            connection.execute(
                "UPDATE requests SET state = 'sent', owner = ?, sent_at = ?, attempts = attempts + 1, "
                "reason = NULL, detail = NULL, answer = NULL, stop_reason = NULL WHERE request_key = ?",
                (self._owner, time.time(), key),
            )
            _SENDING.add((self.path, key))
        return Claim(True, interrupted=state == "sent")

    def finish(self, key: str, result: LLMResult) -> LLMResult:
        """Commit what came back for a claimed request. Return it as it will be read again."""
        result = storable(result)
        with self._ending(key) as connection:
            update(connection, key, result)
            return read_completion(connection, key) if isinstance(result, Completion) else result

    def release(self, key: str, *, may_be_answered: bool) -> None:
        """Give a claim back. It counts as interrupted when the provider may have answered all the same."""
        state = "sent" if may_be_answered else "pending"
        with self._ending(key) as connection:
            connection.execute("UPDATE requests SET state = ?, owner = NULL WHERE request_key = ?", (state, key))

    def interrupted(self) -> int:
        """Requests that were under way when a process died: the only ones that may be paid for twice."""
        rows = self._read("SELECT request_key, owner, sent_at FROM requests WHERE state = 'sent'")
        return sum(not self._is_under_way(*row) for row in rows)

    def prompt(self, key: str) -> tuple[str, str]:
        """Fixed and variable part of the prompt that was sent. Raise KeyError for an unknown key."""
        query = "SELECT system, prompt FROM requests JOIN prefixes USING (prefix) WHERE request_key = ?"
        for system, user in self._read(query, (key,)):
            return decompress(system), decompress(user)
        raise KeyError(f"the ledger {self.path} has no request {key!r}")

    def summary(self) -> LedgerSummary:
        states = dict(self._read("SELECT state, count(*) FROM requests GROUP BY state"))
        reasons = self._read("SELECT reason, count(*) FROM requests WHERE state = 'failed' GROUP BY 1 ORDER BY 1")
        tokens = self._read("SELECT sum(input_tokens), sum(cached_input_tokens), sum(output_tokens) FROM requests")
        read, cached, written = (total or 0 for total in tokens[0])
        return LedgerSummary(
            pending=states.get("pending", 0),
            sent=states.get("sent", 0),
            answered=states.get("answered", 0),
            failed=states.get("failed", 0),
            failed_by_reason=dict(reasons),
            input_tokens=read,
            cached_input_tokens=cached,
            output_tokens=written,
        )

    def export(self, price: Price | None = None) -> pl.DataFrame:
        """Answered and failed requests as the table `llm_requests`. Costs are null without `price`."""
        columns = _export_types()
        stored = ", ".join(_STORED_AS.get(name, name) for name in columns)
        rows = self._read(
            f"SELECT {stored}, {COMPLETION_COLUMNS} FROM requests WHERE state IN ('answered', 'failed') ORDER BY 1"
        )
        return _export_frame(rows, columns, price)

    def _is_under_way(self, key: str, owner: str | None, sent_at: float) -> bool:
        if owner == self._owner:
            return (self.path, key) in _SENDING
        return owner is not None and time.time() - sent_at < LONGEST_SEND_SECONDS and is_alive(owner)

    def _select(self, columns: str, keys: Sequence[str], condition: str) -> Iterator[tuple[Any, ...]]:
        for chunk in _chunks(keys):
            marks = ", ".join("?" * len(chunk))
            query = f"SELECT {columns} FROM requests WHERE request_key IN ({marks}) AND {condition}"
            yield from self._read(query, tuple(chunk))

    def _read(self, query: str, parameters: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        with self._lock, in_words(self.path):
            return self._connection.execute(query, parameters).fetchall()

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._lock, in_words(self.path), transaction(self._connection):
            yield self._connection

    @contextmanager
    def _ending(self, key: str) -> Iterator[sqlite3.Connection]:
        try:
            with self._writing() as connection:
                yield connection
        finally:
            _SENDING.discard((self.path, key))


class LedgerModel:
    """A LanguageModel that asks `inner` only for what the ledger has no answer to, and stores what comes back."""

    def __init__(self, inner: LanguageModel, ledger: Ledger) -> None:
        self._inner = inner
        self._ledger = ledger
        self.max_in_flight = inner.max_in_flight if isinstance(inner, ConnectedModel) else WORKERS
        self.reused = 0
        """Distinct requests that were answered already."""
        self.sent = 0
        self.sent_again = 0
        """Of `sent`, those that were under way when an earlier process died."""

    async def complete(self, requests: Sequence[LLMRequest]) -> list[LLMResult]:
        """Requests are taken from the sequence and registered block by block, when their turn comes."""
        ahead = _Ahead(self._ledger, requests)

        async def answer(index: int) -> LLMResult:
            key, request, stored = ahead.take(index)
            return stored or await self._answer((key, request))

        try:
            async with self.connected():
                return await run_bounded(range(len(requests)), answer, workers=self.max_in_flight)
        finally:
            self.reused += ahead.reused

    def connected(self) -> AbstractAsyncContextManager[None]:
        """Keep the inner model's connections open between calls."""
        return self._inner.connected() if isinstance(self._inner, ConnectedModel) else nullcontext()

    async def _answer(self, item: tuple[str, LLMRequest]) -> LLMResult:
        key, request = item
        while not (claim := self._ledger.claim(key)).granted:
            if claim.answer is not None:
                self.reused += 1
                return claim.answer
            await asyncio.sleep(POLL_SECONDS)
        self.sent += 1
        self.sent_again += claim.interrupted
        try:
            (result,) = await self._inner.complete([request])
        except BaseException as error:
            # What stops the run is a refusal of the provider; after anything else an answer may be on its way.
            self._ledger.release(key, may_be_answered=not isinstance(error, FeatlasError))
            raise
        return self._ledger.finish(key, result)


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


_STORED_AS = {"answered_at": "finished_at", "cost_usd": "NULL"}


def _export_types() -> dict[str, pl.DataType]:
    import polars as pl

    text, count, number = pl.String(), pl.Int64(), pl.Float64()
    return {
        "request_key": text,
        "provider": text,
        "model": text,
        "purpose": text,
        "repeat": pl.Int32(),
        "prompt_hash": text,
        "state": text,
        "reason": text,
        "attempts": pl.Int32(),
        "stop_reason": text,
        "input_tokens": count,
        "cached_input_tokens": count,
        "output_tokens": count,
        "cost_usd": number,
        "latency_seconds": number,
        "answer": text,
        "answered_at": number,
    }


def _export_frame(
    rows: Sequence[tuple[Any, ...]], columns: dict[str, pl.DataType], price: Price | None
) -> pl.DataFrame:
    """`rows` hold the columns, then those of a Completion, which are all null where nothing came back."""
    import polars as pl

    model, billed = list(columns).index("model"), list(columns).index("input_tokens")
    costs = [
        None if price is None or row[billed] is None else price(row[model], Completion(*row[len(columns) :]))
        for row in rows
    ]
    frame = pl.DataFrame([row[: len(columns)] for row in rows], schema=columns, orient="row")
    return frame.with_columns(
        pl.Series("cost_usd", costs, dtype=pl.Float64),
        (pl.col("answered_at") * 1_000_000).round().cast(pl.Int64).cast(pl.Datetime("us")),
    )


def _chunks(keys: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(keys), CHUNK):
        yield keys[start : start + CHUNK]
