"""One row of the ledger: from a request and its result to columns, and back. It opens no files and commits nothing."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from hashlib import blake2b
from typing import Any

from labeling.half_surrogates import writable
from labeling.ledger_prompts import Excerpt, PromptParts, join_prompt, split_prompt
from labeling.ledger_texts import read_texts, store_texts
from labeling.number_tokens import pack, unpack
from labeling.types import JSON, Completion, CompletionFailure, LLMRequest, LLMResult

COMPLETION_COLUMNS = (
    "answer, stop_reason, input_tokens, cached_input_tokens, output_tokens, latency_seconds, "
    "cache_write_input_tokens, attempts, batch IS NOT NULL, number_tokens"
)
"""In the order of Completion's fields; `completion_of` reads them."""

TOKEN_COLUMNS = ("input_tokens", "cached_input_tokens", "cache_write_input_tokens", "output_tokens")
"""NULL where a server that was paid did not say how many; `latency_seconds` is there for all that was billed."""

FAILURE_COLUMNS = f"reason, retryable, detail, latency_seconds IS NOT NULL AND answer IS NOT NULL, {COMPLETION_COLUMNS}"

Price = Callable[[str, Completion], "float | None"]
"""US dollars for an answer of the model `provider/model`; None when its price or its tokens are not known."""

WITHOUT_TEXT = COMPLETION_COLUMNS.replace("answer", "''", 1).replace("number_tokens", "NULL")
"""The same without what takes room, for those who count."""

StoredPrompt = tuple[str, str, PromptParts]
"""System, schema as JSON, and the rest of the prompt."""


def request_key(request: LLMRequest) -> str:
    """Identity of a request: 32 hexadecimal digits of everything that is in it.

    A request that asks for no log-probabilities has the key that it had before requests could ask for them.
    """
    return _hash({name: value for name, value in vars(request).items() if name != "top_logprobs" or value})


def prompt_hash(system: str, user: str) -> str:
    return _hash([system, user])


def insert(connection: sqlite3.Connection, requests: Mapping[str, LLMRequest]) -> None:
    """Add a pending row for each request by its key, and the texts of its prompt, unless they are there."""
    prompts = {
        key: (request.system, json.dumps(dict(request.schema)), split_prompt(request.user))
        for key, request in requests.items()
    }
    ids = store_texts(connection, stored_texts(prompts.values()))
    now = time.time()
    connection.executemany(
        "INSERT OR IGNORE INTO requests (request_key, provider, model, purpose, repeat, max_output_tokens, system, "
        "schema, template, excerpts, prompt_hash, top_logprobs, state, created_at) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'pending', ?)",
        [
            (
                key,
                request.model.partition("/")[0],
                request.model,
                request.purpose,
                request.repeat,
                request.max_output_tokens,
                *prompt_columns(prompts[key], ids),
                prompt_hash(request.system, request.user),
                request.top_logprobs,
                now,
            )
            for key, request in requests.items()
        ],
    )


def stored_texts(prompts: Iterable[StoredPrompt]) -> Iterator[str]:
    """Every text that a row of these prompts points to."""
    for system, schema, user in prompts:
        yield from (system, schema, user.template)
        yield from (excerpt.text for excerpt in user.excerpts)


def prompt_columns(prompt: StoredPrompt, ids: Mapping[str, int]) -> tuple[int, int, int, str]:
    """The columns system, schema, template, excerpts, given the id of each text."""
    system, schema, user = prompt
    excerpts = [[ids[e.text], *e.marks] if e.marks else ids[e.text] for e in user.excerpts]
    return ids[system], ids[schema], ids[user.template], json.dumps(excerpts, separators=(",", ":"))


def read_request(connection: sqlite3.Connection, key: str) -> LLMRequest | None:
    """The request as it was registered; None for an unknown key.

    Raise KeyError, ValueError, TypeError or zlib.error when its prompt is damaged or does not match its hash.
    """
    row = connection.execute(
        "SELECT model, max_output_tokens, purpose, repeat, top_logprobs, prompt_hash, system, schema, template, excerpts "
        "FROM requests WHERE request_key = ?",
        (key,),
    ).fetchone()
    if row is None:
        return None
    model, *asked, stored_hash, system, schema, template, excerpts = row
    entries = [entry if isinstance(entry, list) else [entry] for entry in json.loads(excerpts)]
    texts = read_texts(connection, [system, schema, template, *(entry[0] for entry in entries)])
    user = join_prompt(
        PromptParts(texts[template], tuple(Excerpt(texts[text], tuple(marks)) for text, *marks in entries))
    )
    if prompt_hash(texts[system], user) != stored_hash:
        raise ValueError(f"the prompt does not match its hash {stored_hash}")
    return LLMRequest(model, texts[system], user, json.loads(texts[schema]), *asked)


def update(connection: sqlite3.Connection, key: str, result: LLMResult, cost_usd: float | None) -> LLMResult:
    """Write what came back; return it as it will be read again.

    Tokens and `cost_usd` add up over all answers that were billed, attempts over all that were sent. Once one of them is
    not known of an answer, it is not known of the row.
    """
    failure = result if isinstance(result, CompletionFailure) else None
    answer = result.answer if isinstance(result, CompletionFailure) else result
    columns = ["state = ?", "owner = NULL", "reason = ?", "retryable = ?", "detail = ?", "finished_at = ?"]
    values: list[JSON] = ["answered", None, None, None, time.time()]
    if failure is not None:
        values[:4] = ["failed", failure.reason, failure.retryable, failure.detail]
    columns.append("attempts = attempts + ?")
    values.append(result.attempts - 1)  # the claim has counted one
    if answer is not None:
        columns += ["answer = ?", "stop_reason = ?", "latency_seconds = ?", "number_tokens = ?"]
        values += [answer.text, answer.stop_reason, answer.latency_seconds, pack(answer.number_tokens)]
        counts = {name: getattr(answer, name) for name in TOKEN_COLUMNS}
        for name, added in {**counts, "cost_usd": cost_usd}.items():
            # An UPDATE reads the values from before it: there is a latency from the first answer that was billed on.
            columns.append(f"{name} = ? + CASE WHEN latency_seconds IS NULL THEN 0 ELSE {name} END")
            values.append(added)
    query = f"UPDATE requests SET {', '.join(columns)} WHERE request_key = ? RETURNING {COMPLETION_COLUMNS}"
    (row,) = connection.execute(query, (*values, key)).fetchall()
    return result if failure is not None else completion_of(row)


def completion_of(columns: Sequence[Any]) -> Completion:
    """From the columns COMPLETION_COLUMNS."""
    *plain, batch, tokens = columns
    return replace(Completion(*plain), batch=bool(batch), number_tokens=unpack(tokens))


def read_completion(connection: sqlite3.Connection, key: str) -> Completion:
    """The stored answer of an answered request."""
    query = f"SELECT {COMPLETION_COLUMNS} FROM requests WHERE request_key = ?"
    return completion_of(connection.execute(query, (key,)).fetchone())


def read_failure(row: Sequence[Any]) -> CompletionFailure:
    """From the columns FAILURE_COLUMNS."""
    reason, retryable, detail, answered, *answer = row
    completion = completion_of(answer) if answered else None
    return CompletionFailure(reason, bool(retryable), detail or "", completion, attempts=answer[-3])


def failure_since(connection: sqlite3.Connection, key: str, since: float) -> CompletionFailure | None:
    """The stored failure of a failed request; None when it is older than `since`, in Unix seconds."""
    query = f"SELECT {FAILURE_COLUMNS} FROM requests WHERE request_key = ? AND finished_at >= ?"
    row = connection.execute(query, (key, since)).fetchone()
    return None if row is None else read_failure(row)


def reject(connection: sqlite3.Connection, key: str, reason: str, detail: str) -> None:
    connection.execute(
        "UPDATE requests SET state = 'failed', reason = ?, retryable = 0, detail = ? "
        "WHERE request_key = ? AND state = 'answered'",
        (writable(reason), writable(detail), key),
    )


def storable(result: LLMResult) -> LLMResult:
    """Replace what UTF-8 cannot write: half surrogates, which JSON can smuggle into an answer."""
    if isinstance(result, CompletionFailure):
        answer = None if result.answer is None else _storable_answer(result.answer)
        return replace(result, reason=writable(result.reason), detail=writable(result.detail), answer=answer)
    return _storable_answer(result)


def _storable_answer(answer: Completion) -> Completion:
    return replace(answer, text=writable(answer.text), stop_reason=writable(answer.stop_reason))


def _hash(value: Mapping[str, JSON] | list[str]) -> str:
    # 128 bits, because there may be hundreds of millions of requests, and a clash would hand out a wrong answer.
    return blake2b(json.dumps(value, sort_keys=True).encode(), digest_size=16).hexdigest()
