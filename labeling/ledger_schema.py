"""The tables of the ledger file, and how a file of an earlier version becomes one of this version.

Version 1 kept the part of a prompt behind its fixed prefix whole; version 2 keeps every text once, and knows costs and
batches; version 3 keeps the log-probabilities of answers. A migration runs inside the transaction of its caller: everything
or nothing.
"""

from __future__ import annotations

import sqlite3
import zlib
from itertools import islice

from labeling.ledger_prompts import split_prompt
from labeling.ledger_rows import prompt_columns, stored_texts
from labeling.ledger_texts import store_texts

VERSION = 3

TABLES = (
    """
CREATE TABLE texts (
    text_id INTEGER PRIMARY KEY,
    hash INTEGER NOT NULL,                 -- 48 bits of the text's hash, to find it by
    text NOT NULL                          -- TEXT, or BLOB: compressed by raw deflate
)
""",
    "CREATE INDEX text_by_hash ON texts (hash)",
    """
CREATE TABLE batches (
    batch TEXT PRIMARY KEY,                -- our id
    provider TEXT NOT NULL,
    model TEXT NOT NULL,                   -- provider/model
    provider_batch TEXT,                   -- the provider's id, once it has answered
    state TEXT NOT NULL CHECK (state IN ('preparing', 'submitted', 'ended', 'collected', 'failed', 'canceled')),
    n_requests INTEGER NOT NULL,
    created_at REAL NOT NULL,              -- Unix seconds, like the others
    submitted_at REAL,
    ended_at REAL,
    detail TEXT
)
""",
    """
CREATE TABLE requests (
    request_key TEXT PRIMARY KEY,
    provider TEXT NOT NULL,
    model TEXT NOT NULL,                   -- provider/model
    purpose TEXT NOT NULL,
    repeat INTEGER NOT NULL,
    max_output_tokens INTEGER NOT NULL,
    system INTEGER NOT NULL,               -- texts: the fixed part of the prompt
    schema INTEGER NOT NULL,               -- texts: JSON
    template INTEGER NOT NULL,             -- texts: the rest of the prompt, without its excerpts
    excerpts TEXT NOT NULL,                -- JSON: texts in the order of the template; [text, mark, ...] with marks
    prompt_hash TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('pending', 'sent', 'answered', 'failed')),
    owner TEXT,                            -- process that sent it, while `sent`
    batch TEXT,                            -- batch it was sent in last; NULL when it was sent by itself
    reason TEXT,                           -- why it failed
    retryable INTEGER,                     -- of failures: whether sending the same again may help
    detail TEXT,
    attempts INTEGER NOT NULL DEFAULT 0,   -- over all runs
    stop_reason TEXT,
    input_tokens INTEGER,                  -- tokens and cost: over all answers that were billed
    cached_input_tokens INTEGER,
    cache_write_input_tokens INTEGER,
    output_tokens INTEGER,
    cost_usd REAL,                         -- NULL when it is not known
    latency_seconds REAL,
    answer TEXT,                           -- raw; also of failures, where something came back
    created_at REAL NOT NULL,
    sent_at REAL,
    finished_at REAL
)
""",
    "CREATE INDEX unanswered ON requests (state) WHERE state != 'answered'",
    "CREATE INDEX of_batch ON requests (batch) WHERE batch IS NOT NULL AND state = 'sent'",
)

ADDED_IN_3 = ("top_logprobs INTEGER NOT NULL DEFAULT 0", "number_tokens BLOB")
"""How many likeliest tokens a request asks for; those of the answer's numbers, as `number_tokens.py` packs them."""

ROWS_AT_ONCE = 500
_KEPT = (
    "request_key, provider, model, purpose, repeat, max_output_tokens, prompt_hash, state, owner, reason, detail, "
    "attempts, stop_reason, input_tokens, cached_input_tokens, cache_write_input_tokens, output_tokens, "
    "latency_seconds, answer, created_at, sent_at, finished_at"
)


def make_tables(connection: sqlite3.Connection) -> None:
    for statement in TABLES:
        connection.execute(statement)
    _add_logprobs(connection)


def migrate(connection: sqlite3.Connection, version: int) -> None:
    """Bring the tables of an earlier version to this one. Raise zlib.error when a stored prompt is damaged."""
    if version == 1:
        _migrate_from_1(connection)
    elif version == 2:
        _add_logprobs(connection)


def _add_logprobs(connection: sqlite3.Connection) -> None:
    for column in ADDED_IN_3:
        connection.execute(f"ALTER TABLE requests ADD COLUMN {column}")


def _migrate_from_1(connection: sqlite3.Connection) -> None:
    connection.execute("ALTER TABLE requests RENAME TO requests_1")
    connection.execute("DROP INDEX unanswered")
    make_tables(connection)
    rows = connection.execute(
        f"SELECT system, schema, prompt, {_KEPT} FROM requests_1 LEFT JOIN prefixes USING (prefix) "
        "ORDER BY requests_1.rowid"
    )
    marks = ", ".join("?" * (5 + len(_KEPT.split(","))))
    insert = f"INSERT INTO requests (system, schema, template, excerpts, retryable, {_KEPT}) VALUES ({marks})"
    while some := list(islice(rows, ROWS_AT_ONCE)):
        prompts = [(_unpack(row[0]), _unpack(row[1]), split_prompt(_unpack(row[2]))) for row in some]
        ids = store_texts(connection, stored_texts(prompts))
        state = 3 + _KEPT.split(", ").index("state")
        # Version 1 did not say; it asked every failed request again.
        connection.executemany(
            insert,
            [
                (*prompt_columns(prompt, ids), 1 if row[state] == "failed" else None, *row[3:])
                for prompt, row in zip(prompts, some, strict=True)
            ],
        )
    connection.execute("DROP TABLE requests_1")
    connection.execute("DROP TABLE prefixes")


def _unpack(data: bytes | None) -> str:
    if data is None:
        raise zlib.error("the fixed part of a prompt is missing")
    return zlib.decompress(data).decode("utf-8", "surrogatepass")
