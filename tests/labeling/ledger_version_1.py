"""A ledger file as version 1 of the format wrote it, with a request in every state."""

from __future__ import annotations

import json
import sqlite3
import zlib
from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path

from labeling.ledger import request_key
from labeling.types import LLMRequest
from tests.labeling.llm_builders import request

APPLICATION_ID = 0x46544C47
TABLES = """
CREATE TABLE prefixes (prefix TEXT PRIMARY KEY, system BLOB NOT NULL, schema BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE requests (
    request_key TEXT PRIMARY KEY, provider TEXT NOT NULL, model TEXT NOT NULL, purpose TEXT NOT NULL,
    repeat INTEGER NOT NULL, max_output_tokens INTEGER NOT NULL, prefix TEXT NOT NULL, prompt BLOB NOT NULL,
    prompt_hash TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('pending', 'sent', 'answered', 'failed')),
    owner TEXT, reason TEXT, detail TEXT, attempts INTEGER NOT NULL DEFAULT 0, stop_reason TEXT,
    input_tokens INTEGER, cached_input_tokens INTEGER, cache_write_input_tokens INTEGER, output_tokens INTEGER,
    latency_seconds REAL, answer TEXT, created_at REAL NOT NULL, sent_at REAL, finished_at REAL
);
CREATE INDEX unanswered ON requests (state) WHERE state != 'answered';
"""
EXCERPTS = 'Description: "cats \\"and\\" dogs"\n\nExcerpts:\n1 "a small cat"\n2 "no <<dog>> here"'
PENDING, SENT, ANSWERED, FAILED = (request(f"{EXCERPTS}\n{number}\ud800") for number in range(4))


def write_version_1(path: Path, *, more: int = 0) -> None:
    """A request in each state, and `more` pending ones."""
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.executescript(TABLES)
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute("PRAGMA user_version = 1")
    answer = ["stop", 100, 20, 3, 7, 1.5, "yes", 10.0, 11.0, 12.0]
    nothing = [None, None, None, None, None, None, None, 10.0, None, None]
    rows = [
        _row(PENDING, "pending", None, None, None, 0, nothing),
        _row(SENT, "sent", "1:gone", None, None, 1, nothing),
        _row(ANSWERED, "answered", None, None, None, 2, answer),
        _row(FAILED, "failed", None, "truncated", "length: y", 3, answer),
        *(_row(request(f"{EXCERPTS} {n}"), "pending", None, None, None, 0, nothing) for n in range(more)),
    ]
    schema = json.dumps(dict(PENDING.schema))
    connection.execute("INSERT INTO prefixes VALUES ('p', ?, ?)", (_pack(PENDING.system), _pack(schema)))
    connection.executemany(f"INSERT INTO requests VALUES ({', '.join('?' * 24)})", rows)
    connection.commit()
    connection.close()


def _row(
    one: LLMRequest,
    state: str,
    owner: str | None,
    reason: str | None,
    detail: str | None,
    attempts: int,
    rest: Sequence[object],
) -> tuple[object, ...]:
    text = json.dumps([one.system, one.user])
    digest = blake2b(text.encode(), digest_size=16).hexdigest()
    fixed = (request_key(one), "openai", one.model, one.purpose, one.repeat, one.max_output_tokens, "p")
    return (*fixed, _pack(one.user), digest, state, owner, reason, detail, attempts, *rest)


def _pack(text: str) -> bytes:
    return zlib.compress(text.encode("utf-8", "surrogatepass"))
