"""What went wrong with one attempt, in words that are the same for every provider.

Turns HTTP status, error body and headers into a `Fault` (a counted outcome of one request) or raises FeatlasError for
what no request can survive: a refused key, a model that does not exist, no credit. Knows no SDK.

Reasons: `timeout`, `unreachable`, `connection_lost`, `rate_limited`, `overloaded`, `server_error` and `malformed` are
asked again; `truncated`, `refused`, `content_filter`, `empty`, `unexpected_stop`, `context_too_long`, `rejected` and
`unsendable` are not, because the same question would end in the same way.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

from labeling.errors import FeatlasError
from labeling.llm._endpoint import Endpoint
from labeling.types import JSON, Completion

NO_CREDIT_CODES = {"insufficient_quota", "billing_error", "billing_hard_limit_reached", "billing_not_active"}
NO_KEY_CODES = {"no_db_connection"}
"""LiteLLM's proxy without a database says so, with status 400, of any key but its own."""
UNKNOWN_MODEL_CODES = {"model_not_found"}
UNKNOWN_MODEL_WORDS = ("invalid model name", "is not a valid model")
"""How gateways say it with status 400: LiteLLM, OpenRouter."""
TOO_LONG_CODES = {
    "context_length_exceeded",
    "request_too_large",
    "string_above_max_length",
    "exceed_context_size_error",
}
TOO_LONG_WORDS = (
    "prompt is too long",
    "maximum context length",
    "context window",
    "context size",
    "maximum model length",
)
FILTERED_CODES = {"content_filter", "content_policy_violation"}
RETRYABLE_STATUS = {
    408: "timeout",
    409: "server_error",
    425: "server_error",
    429: "rate_limited",
    503: "overloaded",
    529: "overloaded",
}
ADDRESS_HINTS = {
    "openai": "the address of an OpenAI-compatible server usually ends in /v1",
    "anthropic": "the address of a server that speaks Anthropic's API ends before /v1",
}
AGAIN = "Answers received so far are stored; running again asks only for the missing ones."


@dataclass(frozen=True)
class Fault:
    """One attempt without a usable answer."""

    reason: str
    retryable: bool
    detail: str = ""
    retry_after_seconds: float | None = None
    """How long the server asked to wait; None when it did not say."""
    answer: Completion | None = None
    """What came back and is billed all the same."""
    status: int | None = None
    """Of the HTTP error; None where there was none."""


def status_fault(endpoint: Endpoint, status: int, body: object, headers: Mapping[str, str]) -> Fault:
    """Read an HTTP error. Raise FeatlasError when every other request would meet it too."""
    codes, message = _error_words(body)
    said = endpoint.scrub(message)
    stop = _stop_message(endpoint, status, codes, said)
    if stop is not None:
        raise FeatlasError(stop)
    detail = f"HTTP {status}: {said}"
    if status in RETRYABLE_STATUS or status >= 500:
        reason = RETRYABLE_STATUS.get(status, "server_error")
        wait = retry_after(headers, now=time.time())
        return Fault(reason, True, detail, retry_after_seconds=wait, status=status)
    return Fault(_rejection(status, codes, message), False, detail, status=status)


def connection_fault(endpoint: Endpoint, error: Exception) -> Fault:
    """Read an SDK's connection or timeout error by the error below it, which says what really happened."""
    cause = error.__cause__ or error
    name = type(cause).__name__
    reason = "unreachable" if name.startswith("Connect") else "timeout" if "Timeout" in name else "connection_lost"
    return Fault(reason, True, endpoint.scrub(f"{name}: {cause}"))


def unreachable_message(endpoint: Endpoint, detail: str) -> str:
    return (
        f"Cannot reach {endpoint.full_name} at {endpoint.shown_url} ({detail}). Check the network and the address "
        f"(llm.base_url). {AGAIN}"
    )


def retry_after(headers: Mapping[str, str], *, now: float) -> float | None:
    """Seconds to wait as the server's headers say: milliseconds, seconds or a date. `now` is in Unix seconds."""
    for name, scale in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        value = headers.get(name)
        if value is None:
            continue
        try:
            return max(0.0, float(value) * scale)
        except ValueError:
            pass
        try:
            return max(0.0, parsedate_to_datetime(value).timestamp() - now)
        except ValueError:
            pass
    return None


def _error_words(body: object) -> tuple[set[str], str]:
    """Codes and message of an error body, whatever its shape."""
    error: JSON = body.get("error", body) if isinstance(body, Mapping) else body
    if not isinstance(error, Mapping):
        return set(), str(error or "no message")
    codes = {str(error[name]) for name in ("code", "type") if error.get(name) is not None}
    return codes, str(error.get("message") or dict(error))


def _stop_message(endpoint: Endpoint, status: int, codes: set[str], said: str) -> str | None:
    """What to tell the user when the whole run has to stop, else None."""
    name, where, variable = endpoint.full_name, endpoint.shown_url, endpoint.key_name
    seen = f"(HTTP {status}: {said})"
    if status == 402 or codes & NO_CREDIT_CODES or (status == 400 and "credit balance" in said):
        return f"The account behind {variable} has no credit left for {name} {seen}. Add credit and run again. {AGAIN}"
    no_key = status == 401 or codes & NO_KEY_CODES
    if no_key and endpoint.key_is_placeholder:
        return f"The server at {where} wants a key {seen}. Set {variable} and run again. {AGAIN}"
    if no_key:
        return f"The server at {where} refused the key in {variable} {seen}. Check the key and run again. {AGAIN}"
    if status == 403:
        return f"The key in {variable} may not use {name} at {where} {seen}. Choose another model or key. {AGAIN}"
    if status == 404 or codes & UNKNOWN_MODEL_CODES or (status == 400 and _says(said, UNKNOWN_MODEL_WORDS)):
        return (
            f"The server at {where} does not know the model {endpoint.model!r} {seen}. Check the model's name and "
            f"llm.base_url ({ADDRESS_HINTS[endpoint.provider]}). {AGAIN}"
        )
    return None


def error_message(body: object) -> str:
    """The server's own words in an error body of any shape."""
    return _error_words(body)[1]


def _says(message: str, words: tuple[str, ...]) -> bool:
    return any(some in message.lower() for some in words)


def _rejection(status: int, codes: set[str], message: str) -> str:
    if status == 413 or codes & TOO_LONG_CODES or _says(message, TOO_LONG_WORDS):
        return "context_too_long"
    return "content_filter" if codes & FILTERED_CODES else "rejected"
