"""Anthropic's Messages API: questions, answers, errors and rate-limit headers in its own words. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from itertools import accumulate
from math import ceil
from typing import Literal

from flows.fake_provider.api import Refused
from flows.fake_provider.asked import SHORTEST_CACHED_TOKENS, TOKEN_CHARACTERS, Asked, Received, text_of
from flows.fake_provider.faults import Fault
from flows.fake_provider.http_server import JSON
from flows.fake_provider.prompt_cache import CacheUse
from flows.fake_provider.rate_limit import Standing

ERROR_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    529: "overloaded_error",
}
STOP_REASONS: dict[Fault | None, str] = {"truncated": "max_tokens", "refusal": "refusal", "filtered": "refusal"}


class AnthropicApi:
    @property
    def name(self) -> Literal["anthropic"]:
        return "anthropic"

    def read_question(self, body: JSON, received: Received) -> Asked:
        """Read the body of POST /v1/messages, or the `params` of a request in a batch."""
        blocks = [block for content in _contents(body) for block in _blocks(content)]
        ends = accumulate(len(block.get("text", "")) for block in blocks)
        marks = [end for end, block in zip(ends, blocks, strict=True) if block.get("cache_control")]
        return Asked(
            api="anthropic",
            model=body["model"],
            system=text_of(body.get("system")),
            user=text_of(body["messages"][-1]["content"]),
            schema=body.get("output_config", {}).get("format", {}).get("schema", {}),
            max_output_tokens=body.get("max_tokens", 0),
            body=body,
            headers=received.headers,
            digest=received.digest,
            seen_before=received.seen_before,
            prompt="".join(block.get("text", "") for block in blocks),
            cacheable=tuple(end for end in marks if end >= SHORTEST_CACHED_TOKENS * TOKEN_CHARACTERS),
            batch=received.batch,
            custom_id=received.custom_id,
        )

    def write_answer(self, asked: Asked, text: str, fault: Fault | None, cache: CacheUse) -> JSON:
        return {
            "id": f"msg_{asked.digest}",
            "type": "message",
            "role": "assistant",
            "model": asked.model,
            "content": [{"type": "text", "text": text}] if text else [],
            "stop_reason": STOP_REASONS.get(fault, "end_turn"),
            "stop_sequence": None,
            "usage": {
                "input_tokens": asked.input_tokens - cache.read - cache.written,
                "cache_creation_input_tokens": cache.written,
                "cache_read_input_tokens": cache.read,
                "output_tokens": len(text) // TOKEN_CHARACTERS,
                "service_tier": "batch" if asked.batch else "standard",
            },
        }

    def write_error(self, error: Refused) -> JSON:
        own = {"insufficient_quota": "insufficient_quota"}.get(error.code or "")
        kind = own or ERROR_TYPES.get(error.status, "api_error")
        return {"type": "error", "error": {"type": kind, "message": error.message}}

    def charged_tokens(self, asked: Asked, cache: CacheUse) -> int:
        """Input without what the cache has: the provider does not count that."""
        return asked.input_tokens - cache.read

    def limit_headers(self, standings: Mapping[str, Standing], now: float) -> dict[str, str]:
        headers = {}
        for name, standing in standings.items():
            for kind in ("requests",) if name == "requests" else ("input-tokens", "tokens"):
                headers[f"anthropic-ratelimit-{kind}-limit"] = str(standing.limit)
                headers[f"anthropic-ratelimit-{kind}-remaining"] = str(standing.remaining)
                headers[f"anthropic-ratelimit-{kind}-reset"] = rfc3339(ceil(now + standing.reset_seconds))
        return headers

    def wait_headers(self, wait_seconds: float) -> dict[str, str]:
        return {"retry-after": str(max(1, ceil(wait_seconds)))}


def rfc3339(unix_seconds: float) -> str:
    return datetime.fromtimestamp(unix_seconds, UTC).isoformat().replace("+00:00", "Z")


def _contents(body: JSON) -> list[JSON]:
    return [body.get("system"), *(message["content"] for message in body["messages"])]


def _blocks(content: JSON) -> list[JSON]:
    return [{"text": content}] if isinstance(content, str) else content or []
