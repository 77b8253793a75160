"""One row of the ledger: from a request and its result to columns, and back. It opens no files and commits nothing."""

from __future__ import annotations

import json
import sqlite3
import time
import zlib
from collections.abc import Mapping
from dataclasses import asdict, replace
from hashlib import blake2b

from labeling.types import JSON, Completion, CompletionFailure, LLMRequest, LLMResult

COMPLETION_COLUMNS = (
    "answer, stop_reason, input_tokens, cached_input_tokens, output_tokens, latency_seconds, "
    "cache_write_input_tokens, attempts"
)
"""In the order of Completion's fields."""


def request_key(request: LLMRequest) -> str:
    """Identity of a request: 32 hexadecimal digits of everything that is in it."""
    return _hash(asdict(request))


def insert(connection: sqlite3.Connection, key: str, request: LLMRequest) -> None:
    """Add a pending row and the fixed part of its prompt, unless they are there."""
    schema = json.dumps(dict(request.schema))
    prefix = _hash([request.system, schema])
    connection.execute(
        "INSERT OR IGNORE INTO prefixes VALUES (?, ?, ?)", (prefix, compress(request.system), compress(schema))
    )
    connection.execute(
        "INSERT OR IGNORE INTO requests (request_key, provider, model, purpose, repeat, max_output_tokens, prefix, "
        "prompt, prompt_hash, state, created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 'pending', ?)",
        (
            key,
            request.model.partition("/")[0],
            request.model,
            request.purpose,
            request.repeat,
            request.max_output_tokens,
            prefix,
            compress(request.user),
            _hash([request.system, request.user]),
            time.time(),
        ),
    )


def update(connection: sqlite3.Connection, key: str, result: LLMResult) -> None:
    """Write what came back. Tokens add up over all answers that were billed, attempts over all that were sent."""
    failure = result if isinstance(result, CompletionFailure) else None
    connection.execute(
        "UPDATE requests SET state = ?, owner = NULL, reason = ?, detail = ?, attempts = attempts + ?, finished_at = ? "
        "WHERE request_key = ?",
        (
            "failed" if failure else "answered",
            failure.reason if failure else None,
            failure.detail if failure else None,
            result.attempts - 1,  # the claim has counted one
            time.time(),
            key,
        ),
    )
    answer = result.answer if isinstance(result, CompletionFailure) else result
    if answer is not None:
        _update_answer(connection, key, answer)


def _update_answer(connection: sqlite3.Connection, key: str, answer: Completion) -> None:
    connection.execute(
        "UPDATE requests SET answer = ?, stop_reason = ?, latency_seconds = ?, "
        "input_tokens = ifnull(input_tokens, 0) + ?, cached_input_tokens = ifnull(cached_input_tokens, 0) + ?, "
        "cache_write_input_tokens = ifnull(cache_write_input_tokens, 0) + ?, "
        "output_tokens = ifnull(output_tokens, 0) + ? WHERE request_key = ?",
        (
            answer.text,
            answer.stop_reason,
            answer.latency_seconds,
            answer.input_tokens,
            answer.cached_input_tokens,
            answer.cache_write_input_tokens,
            answer.output_tokens,
            key,
        ),
    )


def read_completion(connection: sqlite3.Connection, key: str) -> Completion:
    """The stored answer of an answered request."""
    query = f"SELECT {COMPLETION_COLUMNS} FROM requests WHERE request_key = ?"
    return Completion(*connection.execute(query, (key,)).fetchone())


def storable(result: LLMResult) -> LLMResult:
    """Replace what UTF-8 cannot write: half surrogates, which JSON can smuggle into an answer."""
    if isinstance(result, Completion):
        return replace(result, text=_writable(result.text), stop_reason=_writable(result.stop_reason))
    answer = None if result.answer is None else replace(result.answer, text=_writable(result.answer.text))
    return replace(result, detail=_writable(result.detail), answer=answer)


def compress(text: str) -> bytes:
    return zlib.compress(text.encode("utf-8", "surrogatepass"))


def decompress(data: bytes) -> str:
    return zlib.decompress(data).decode("utf-8", "surrogatepass")


def _writable(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


def _hash(value: Mapping[str, JSON] | list[str]) -> str:
    # 128 bits, because there may be hundreds of millions of requests, and a clash would hand out a wrong answer.
    return blake2b(json.dumps(value, sort_keys=True).encode(), digest_size=16).hexdigest()
