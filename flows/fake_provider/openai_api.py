"""OpenAI's Chat Completions API: questions, answers, errors and rate-limit headers in its own words. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil
from typing import Literal

from flows.fake_provider.api import Refused
from flows.fake_provider.asked import SHORTEST_CACHED_TOKENS, TOKEN_CHARACTERS, Asked, Received, text_of
from flows.fake_provider.faults import Fault
from flows.fake_provider.http_server import JSON
from flows.fake_provider.logprobs import Chances, write_logprobs
from flows.fake_provider.prompt_cache import CacheUse
from flows.fake_provider.rate_limit import Standing

CACHE_STEP_TOKENS = 128
"""Cached prefixes grow in steps of so many tokens; nobody has to mark them."""
ERROR_TYPES = {
    402: "billing_error",
    403: "permission_error",
    429: "requests",
    500: "server_error",
    529: "overloaded_error",
}
ERROR_CODES = {401: "invalid_api_key", 413: "request_too_large", 429: "rate_limit_exceeded"}
FINISH_REASONS: dict[Fault | None, str] = {"truncated": "length", "filtered": "content_filter"}


class OpenAIApi:
    @property
    def name(self) -> Literal["openai"]:
        return "openai"

    def read_question(self, body: JSON, received: Received) -> Asked:
        """Read the body of POST /v1/chat/completions, by itself or from a line of a batch's file."""
        messages = [(message["role"], text_of(message["content"])) for message in body["messages"]]
        prompt = "".join(text for _, text in messages)
        step = CACHE_STEP_TOKENS * TOKEN_CHARACTERS
        return Asked(
            api="openai",
            model=body["model"],
            system="".join(text for role, text in messages if role in ("system", "developer")),
            user=messages[-1][1],
            schema=body.get("response_format", {}).get("json_schema", {}).get("schema", {}),
            max_output_tokens=body.get("max_completion_tokens", body.get("max_tokens", 0)),
            body=body,
            headers=received.headers,
            digest=received.digest,
            seen_before=received.seen_before,
            prompt=prompt,
            cacheable=tuple(range(SHORTEST_CACHED_TOKENS * TOKEN_CHARACTERS, len(prompt) + 1, step)),
            batch=received.batch,
            custom_id=received.custom_id,
        )

    def write_answer(self, asked: Asked, text: str, fault: Fault | None, cache: CacheUse) -> JSON:
        message = {
            "role": "assistant",
            "content": text,
            "refusal": "I can't help with that." if fault == "refusal" else None,
        }
        written = len(text) // TOKEN_CHARACTERS
        return {
            "id": f"chatcmpl-{asked.digest}",
            "object": "chat.completion",
            "created": 0,
            "model": asked.model,
            "choices": [
                {"index": 0, "message": message, "finish_reason": FINISH_REASONS.get(fault, "stop"), "logprobs": None}
            ],
            "usage": {
                "prompt_tokens": asked.input_tokens,
                "completion_tokens": written,
                "total_tokens": asked.input_tokens + written,
                "prompt_tokens_details": {"cached_tokens": cache.read},
            },
        }

    def with_logprobs(self, asked: Asked, answer: JSON, chances: Chances) -> JSON:
        """The answer with the log-probabilities that the question wants."""
        (choice,) = answer["choices"]
        logprobs = write_logprobs(choice["message"]["content"], asked.body.get("top_logprobs", 0), chances)
        return {**answer, "choices": [{**choice, "logprobs": logprobs}]}

    def write_error(self, error: Refused) -> JSON:
        kind = error.code if error.code == "insufficient_quota" else ERROR_TYPES.get(error.status)
        code = error.code or ERROR_CODES.get(error.status)
        return {
            "error": {"message": error.message, "type": kind or "invalid_request_error", "param": None, "code": code}
        }

    def charged_tokens(self, asked: Asked, cache: CacheUse) -> int:  # noqa: ARG002
        """The larger of the input and of the longest output that is allowed, as the provider documents it."""
        return max(asked.input_tokens, asked.max_output_tokens)

    def limit_headers(self, standings: Mapping[str, Standing], now: float) -> dict[str, str]:  # noqa: ARG002
        headers = {}
        for name, standing in standings.items():
            headers[f"x-ratelimit-limit-{name}"] = str(standing.limit)
            headers[f"x-ratelimit-remaining-{name}"] = str(standing.remaining)
            headers[f"x-ratelimit-reset-{name}"] = duration(standing.reset_seconds)
        return headers

    def wait_headers(self, wait_seconds: float) -> dict[str, str]:
        return {
            "retry-after": str(max(1, ceil(wait_seconds))),
            "retry-after-ms": str(max(1, ceil(wait_seconds * 1000))),
        }


def duration(seconds: float) -> str:
    """A time as the provider writes it: `20ms`, `1s`, `8.64s`, `6m0s`, `1h2m3s`."""
    if seconds < 1:
        return f"{ceil(seconds * 1000)}ms"
    if seconds < 60:
        return f"{seconds:.2f}".rstrip("0").rstrip(".") + "s"
    minutes, rest = divmod(ceil(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return (f"{hours}h" if hours else "") + f"{minutes}m{rest}s"
