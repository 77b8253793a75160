"""OpenAI's Chat Completions API, and the many servers that speak it, as a LanguageModel.

Turns an LLMRequest into one `chat.completions.create` call and its reply into a Completion or a Fault. With a
`base_url` it reaches vLLM, llama.cpp, Ollama, OpenRouter and others, which may need no key. Retries, limits and the
number in flight are the dispatcher's. The fixed part of the prompt comes first: OpenAI caches such prefixes unasked.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from labeling.llm._clients import Clients, ssl_context
from labeling.llm._counted import counted
from labeling.llm._dispatch import DEFAULT_RETRY, Reply, RetryPolicy, share_dispatcher
from labeling.llm._endpoint import Endpoint, read_endpoint
from labeling.llm._extras import ALL, Extras, refusal, send_with_or_without
from labeling.llm._faults import Fault, connection_fault, status_fault
from labeling.llm._rate import UNLIMITED, RateLimits
from labeling.llm._servers import OwnServer
from labeling.number_tokens import read_number_tokens
from labeling.types import JSON, Completion, LLMRequest

if TYPE_CHECKING:
    from openai import AsyncOpenAI

    from labeling.llm import LanguageModel

OWN_SERVER = OwnServer("https://api.openai.com/v1", "OPENAI_BASE_URL")

GIVES_LOGPROBS = True
"""Whether it makes sense to ask this provider for log-probabilities. Servers that don't give them are found out."""

STOP_FAULTS = {
    "length": "truncated",
    "content_filter": "content_filter",
    "tool_calls": "unexpected_stop",
    "function_call": "unexpected_stop",
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
    """Connect to `model`. Raise UsageError when OPENAI_API_KEY is not set and the server is OpenAI's own."""
    endpoint = endpoint_of(model, base_url)
    return share_dispatcher(
        endpoint,
        lambda: _Client(endpoint, timeout_seconds),
        max_in_flight=max_in_flight,
        timeout_seconds=timeout_seconds,
        retry=retry,
        limits=limits,
    )


def open_sdk(endpoint: Endpoint, *, timeout_seconds: float) -> AsyncOpenAI:
    """The SDK's client as it is used here: its own retries are off."""
    import openai

    return openai.AsyncOpenAI(
        api_key=endpoint.key,
        base_url=endpoint.url,
        max_retries=0,
        timeout=timeout_seconds,
        http_client=openai.DefaultAsyncHttpxClient(verify=ssl_context()),
    )


def endpoint_of(model: str, base_url: str | None) -> Endpoint:
    """Where `model` is asked, interactively or in batches. Raise UsageError when the key is missing."""
    return read_endpoint(
        provider="openai",
        model=model,
        base_url=base_url,
        server=OWN_SERVER,
        key_name="OPENAI_API_KEY",
        key_optional=True,
    )


class _Client:
    def __init__(self, endpoint: Endpoint, timeout_seconds: float) -> None:
        import openai

        self._endpoint = endpoint
        self._sdk = openai
        self._clients = Clients(lambda: open_sdk(endpoint, timeout_seconds=timeout_seconds))

    async def close(self) -> None:
        await self._clients.close()

    async def send(self, request: LLMRequest) -> Reply:
        return await send_with_or_without(self._endpoint, lambda extras: self._send(request, extras))

    async def _send(self, request: LLMRequest, extras: Extras) -> Reply:
        try:
            # The raw reply: a parsed one would hide what came back when it is not what it should be.
            with self._clients.one() as client:
                reply = await client.chat.completions.with_raw_response.create(
                    model=self._endpoint.model,
                    messages=(),
                    # In the parameters of its own the SDK checks every part against its types: as long as the HTTP takes.
                    extra_body=chat_body(request, self._endpoint.model, extras=extras),
                )
        except self._sdk.APIConnectionError as error:  # timeouts are among them
            return Reply(connection_fault(self._endpoint, error))
        except self._sdk.APIStatusError as error:
            headers = error.response.headers
            read = refusal if request.top_logprobs and "logprobs" in extras else status_fault
            return Reply(read(self._endpoint, error.status_code, error.body, headers), headers)
        return Reply(read_chat(reply.http_response.content, self._endpoint), reply.headers)


def chat_body(request: LLMRequest, model: str, *, extras: Extras = ALL) -> dict[str, JSON]:
    """The body of the request, the same interactively and in batches. `model` is the provider's name of it."""
    user = {"role": "user", "content": request.user}
    body: dict[str, JSON] = {
        "model": model,
        "messages": [{"role": "system", "content": request.system}, user] if request.system else [user],
        "max_completion_tokens": request.max_output_tokens,
    }
    if request.top_logprobs and "logprobs" in extras:
        body |= {"logprobs": True, "top_logprobs": request.top_logprobs}
    if "schema" not in extras:
        return body
    schema = {"name": "answer", "schema": dict(request.schema), "strict": True}
    return {**body, "response_format": {"type": "json_schema", "json_schema": schema}}


def read_chat(body: bytes, endpoint: Endpoint) -> Completion | Fault:
    """Read the body of a reply with status 200."""
    try:
        reply = json.loads(body)
        choice = reply["choices"][0]
        stop_reason = str(choice.get("finish_reason"))
        message = choice["message"]
        text, refused = _text(message.get("content"), endpoint), _text(message.get("refusal"), endpoint)
        completion = _completion(refused or text, stop_reason, reply.get("usage") or {})
    except (ValueError, KeyError, IndexError, TypeError, AttributeError):
        return Fault("malformed", True, endpoint.scrub("not a chat completion: " + body.decode("utf-8", "replace")))
    if refused:
        return Fault("refused", False, endpoint.scrub(refused), answer=completion)
    if stop_reason in STOP_FAULTS:
        return Fault(STOP_FAULTS[stop_reason], False, endpoint.scrub(f"{stop_reason}: {text}"), answer=completion)
    if not text.strip():
        return Fault("empty", False, f"stop reason {stop_reason}, no text", answer=completion)
    return replace(completion, number_tokens=read_number_tokens(text, choice.get("logprobs")))


def _text(content: JSON, endpoint: Endpoint) -> str:
    """Some compatible servers send a list of parts. Raise TypeError for anything that is no text."""
    parts = content if isinstance(content, list) else [content or ""]
    return endpoint.without_key("".join(part["text"] if isinstance(part, dict) else part for part in parts))


def _completion(text: str, stop_reason: str, usage: Mapping[str, JSON]) -> Completion:
    """What a compatible server does not call cached is not."""
    details = usage.get("prompt_tokens_details") or {}
    return counted(
        text,
        stop_reason,
        prompt_tokens=usage.get("prompt_tokens"),
        output_tokens=usage.get("completion_tokens"),
        cache_read=details.get("cached_tokens"),
    )
