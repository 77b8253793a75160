"""Anthropic's Messages API, and servers that speak it, as a LanguageModel.

Turns an LLMRequest into one `messages.create` call and its reply into a Completion or a Fault. Retries, limits and the
number in flight are the dispatcher's. There is no temperature: the API has none.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

from labeling.llm._clients import Clients, ssl_context
from labeling.llm._counted import counted
from labeling.llm._dispatch import DEFAULT_RETRY, Reply, RetryPolicy, share_dispatcher
from labeling.llm._endpoint import Endpoint, read_endpoint
from labeling.llm._extras import ALL, Extras, send_with_or_without
from labeling.llm._faults import Fault, connection_fault, status_fault
from labeling.llm._rate import UNLIMITED, RateLimits
from labeling.llm._servers import OwnServer
from labeling.types import JSON, Completion, LLMRequest

if TYPE_CHECKING:
    from anthropic import AsyncAnthropic
    from anthropic.types import TextBlockParam

    from labeling.llm import LanguageModel

SHORTEST_CACHED_CHARACTERS = 4_000
"""About 1,000 tokens. The provider caches no shorter prefix, so a mark would only cost."""

OWN_SERVER = OwnServer("https://api.anthropic.com", "ANTHROPIC_BASE_URL")

STOP_FAULTS = {
    "max_tokens": "truncated",
    "model_context_window_exceeded": "truncated",
    "refusal": "refused",
    "pause_turn": "unexpected_stop",
    "tool_use": "unexpected_stop",
}


def create(
    *,
    model: str,
    base_url: str | None = None,
    max_in_flight: int = 64,
    timeout_seconds: float = 120.0,
    retry: RetryPolicy = DEFAULT_RETRY,
    limits: RateLimits = UNLIMITED,
) -> LanguageModel:
    """Connect to `model`. Raise UsageError when ANTHROPIC_API_KEY is not set."""
    endpoint = endpoint_of(model, base_url)
    return share_dispatcher(
        endpoint,
        lambda: _Client(endpoint, timeout_seconds),
        max_in_flight=max_in_flight,
        timeout_seconds=timeout_seconds,
        retry=retry,
        limits=limits,
    )


def open_sdk(endpoint: Endpoint, *, timeout_seconds: float) -> AsyncAnthropic:
    """The SDK's client as it is used here: its own retries are off."""
    import anthropic

    return anthropic.AsyncAnthropic(
        api_key=endpoint.key,
        base_url=endpoint.url,
        max_retries=0,
        timeout=timeout_seconds,
        http_client=anthropic.DefaultAsyncHttpxClient(verify=ssl_context()),
    )


def endpoint_of(model: str, base_url: str | None) -> Endpoint:
    """Where `model` is asked, interactively or in batches. Raise UsageError when the key is missing."""
    return read_endpoint(
        provider="anthropic",
        model=model,
        base_url=base_url,
        server=OWN_SERVER,
        key_name="ANTHROPIC_API_KEY",
        key_optional=False,
    )


class _Client:
    def __init__(self, endpoint: Endpoint, timeout_seconds: float) -> None:
        import anthropic

        self._endpoint = endpoint
        self._sdk = anthropic
        self._clients = Clients(lambda: open_sdk(endpoint, timeout_seconds=timeout_seconds))

    async def close(self) -> None:
        await self._clients.close()

    async def send(self, request: LLMRequest) -> Reply:
        return await send_with_or_without(self._endpoint, lambda extras: self._send(request, extras))

    async def _send(self, request: LLMRequest, extras: Extras) -> Reply:
        try:
            # The raw reply: a parsed one would hide what came back when it is not what it should be.
            with self._clients.one() as client:
                reply = await client.messages.with_raw_response.create(
                    model=self._endpoint.model,
                    max_tokens=request.max_output_tokens,
                    messages=(),
                    # In the parameters of its own the SDK checks every part against its types: as long as the HTTP takes.
                    extra_body=message_body(request, self._endpoint.model, extras=extras),
                )
        except self._sdk.APIConnectionError as error:  # timeouts are among them
            return Reply(connection_fault(self._endpoint, error))
        except self._sdk.APIStatusError as error:
            headers = error.response.headers
            return Reply(status_fault(self._endpoint, error.status_code, error.body, headers), headers)
        return Reply(read_message(reply.http_response.content, self._endpoint), reply.headers)


def message_body(request: LLMRequest, model: str, *, extras: Extras = ALL) -> dict[str, JSON]:
    """The body of the request, the same interactively and in batches. `model` is the provider's name of it."""
    from anthropic import transform_schema

    body: dict[str, JSON] = {
        "model": model,
        "system": system_blocks(request.system),
        "messages": [{"role": "user", "content": request.user}],
        "max_tokens": request.max_output_tokens,
    }
    if "schema" not in extras:
        return body
    return {
        **body,
        "output_config": {"format": {"type": "json_schema", "schema": transform_schema(dict(request.schema))}},
    }


def system_blocks(system: str) -> list[TextBlockParam]:
    """The fixed part of the prompt, marked for the provider's cache where it is long enough to be kept there."""
    if not system:
        return []
    if len(system) < SHORTEST_CACHED_CHARACTERS:
        return [{"type": "text", "text": system}]
    return [{"type": "text", "text": system, "cache_control": {"type": "ephemeral"}}]


def read_message(body: bytes, endpoint: Endpoint) -> Completion | Fault:
    """Read the body of a reply with status 200."""
    try:
        message = json.loads(body)
        stop_reason = str(message["stop_reason"])
        blocks = (block["text"] for block in message["content"] if block["type"] == "text")
        text = endpoint.without_key("".join(blocks))
        completion = _completion(text, stop_reason, message.get("usage") or {})
    except (ValueError, KeyError, TypeError, AttributeError):
        return Fault("malformed", True, endpoint.scrub("not a message: " + body.decode("utf-8", "replace")))
    if stop_reason in STOP_FAULTS:
        return Fault(STOP_FAULTS[stop_reason], False, endpoint.scrub(f"{stop_reason}: {text}"), answer=completion)
    if not text.strip():
        return Fault("empty", False, f"stop reason {stop_reason}, no text", answer=completion)
    return completion


def _completion(text: str, stop_reason: str, usage: Mapping[str, JSON]) -> Completion:
    """The API's own `input_tokens` leaves out what the cache read and wrote."""
    plain, read = usage.get("input_tokens"), usage.get("cache_read_input_tokens")
    written = usage.get("cache_creation_input_tokens")
    return counted(
        text,
        stop_reason,
        prompt_tokens=None if plain is None else int(plain) + int(read or 0) + int(written or 0),
        output_tokens=usage.get("output_tokens"),
        cache_read=read,
        cache_written=written,
    )
