"""The rows of the ledger that are done, as the table `llm_requests`."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

import polars as pl

from labeling.evidence import LLM_REQUESTS
from labeling.ledger_rows import WITHOUT_TEXT, Price, completion_of

ROWS_AT_ONCE = 20_000
"""Bounds what is in memory as Python objects."""
_STORED_AS = {"answered_at": "CAST(round(finished_at * 1000000) AS INTEGER) AS answered_at"}


def export_requests(connection: sqlite3.Connection, price: Price | None) -> pl.DataFrame:
    """Answered and failed requests by key. A cost that was not stored is what `price` says for all that was billed."""
    names = LLM_REQUESTS.schema.names()
    stored = ", ".join(_STORED_AS.get(name, name) for name in names)
    cursor = connection.execute(
        f"SELECT {stored}, {WITHOUT_TEXT} FROM requests WHERE state IN ('answered', 'failed') ORDER BY 1"
    )
    frames = [LLM_REQUESTS.schema.to_frame()]
    while rows := cursor.fetchmany(ROWS_AT_ONCE):
        frames.append(_frame(rows, names, price))
    return pl.concat(frames)


def _frame(rows: Sequence[tuple[Any, ...]], names: Sequence[str], price: Price | None) -> pl.DataFrame:
    """`rows` hold the columns, then those of a Completion, which are null where nothing came back.

    A latency is what everything has that was billed: tokens may not be known.
    """
    types = {**LLM_REQUESTS.schema, "answered_at": pl.Int64()}
    frame = pl.DataFrame([row[: len(names)] for row in rows], schema=types, orient="row")
    model, cost, billed = names.index("model"), names.index("cost_usd"), names.index("latency_seconds")
    costs = [
        row[cost]
        if row[cost] is not None or price is None or row[billed] is None
        else price(row[model], completion_of(row[len(names) :]))
        for row in rows
    ]
    return frame.with_columns(
        pl.Series("cost_usd", costs, dtype=pl.Float64), pl.col("answered_at").cast(LLM_REQUESTS.schema["answered_at"])
    )
