"""Questions to the fake provider, and the real SDKs that ask them."""

from __future__ import annotations

from typing import Any

import anthropic
import openai

from flows.fake_provider import LoopbackProvider

JSON = Any
PATIENCE_SECONDS = 10.0
SCHEMA = {
    "type": "object",
    "properties": {"fits": {"type": "array", "items": {"type": "boolean"}, "minItems": 3}},
    "required": ["fits"],
}
CACHED_SYSTEM = "x" * 4_096


def anthropic_client(provider: LoopbackProvider) -> anthropic.Anthropic:
    return anthropic.Anthropic(api_key="any", base_url=provider.url, max_retries=0, timeout=5)


def openai_client(provider: LoopbackProvider) -> openai.OpenAI:
    return openai.OpenAI(api_key="any", base_url=provider.openai_url, max_retries=0, timeout=5)


def message(user: str = "why?", **more: JSON) -> JSON:
    """Body of a question to Anthropic."""
    schema = {"format": {"type": "json_schema", "schema": SCHEMA}}
    return {
        "model": "tiny", "max_tokens": 50, "messages": [{"role": "user", "content": user}], "output_config": schema, **more,
    }  # fmt: skip


def chat(user: str = "why?", *, system: str = "") -> JSON:
    """Body of a question to OpenAI."""
    messages = [{"role": "system", "content": system}] if system else []
    schema = {"type": "json_schema", "json_schema": {"name": "answer", "schema": SCHEMA}}
    return {
        "model": "tiny", "max_completion_tokens": 50, "messages": [*messages, {"role": "user", "content": user}],
        "response_format": schema,
    }  # fmt: skip


def ask(provider: LoopbackProvider, user: str = "why?") -> str:
    """Text that OpenAI's SDK gets."""
    with openai_client(provider) as client:
        return str(client.chat.completions.create(**chat(user)).choices[0].message.content)
