"""Small requests and models for the tests of the language-model seam."""

from __future__ import annotations

from flows.fake_provider import LoopbackProvider
from labeling.llm import LanguageModel, connect
from labeling.llm._dispatch import RetryPolicy
from labeling.types import Completion, LLMRequest, LLMResult

PROVIDERS = ("anthropic", "openai")
KEY = "sk-loopback-0123456789"
KEY_NAMES = ("ANTHROPIC_API_KEY", "OPENAI_API_KEY")
URL_NAMES = ("ANTHROPIC_BASE_URL", "OPENAI_BASE_URL")
SCHEMA = {
    "type": "object",
    "properties": {"label": {"type": "string"}},
    "required": ["label"],
    "additionalProperties": False,
}
QUICK = RetryPolicy(first_wait_seconds=0.001, longest_wait_seconds=0.01)


def request(user: str, *, model: str = "openai/tiny", system: str = "Be brief.", repeat: int = 0) -> LLMRequest:
    return LLMRequest(model, system, user, SCHEMA, 100, "label", repeat)


def requests(count: int, *, model: str = "openai/tiny") -> list[LLMRequest]:
    return [request(f"question {number}", model=model) for number in range(count)]


def url_of(provider: LoopbackProvider, name: str) -> str:
    return provider.url if name == "anthropic" else provider.openai_url


def tiny(
    provider: LoopbackProvider,
    name: str = "openai",
    *,
    max_in_flight: int = 8,
    timeout_seconds: float = 20.0,
    retry: RetryPolicy = QUICK,
) -> LanguageModel:
    """The model `NAME/tiny` at the loopback provider."""
    return connect(
        f"{name}/tiny",
        base_url=url_of(provider, name),
        max_in_flight=max_in_flight,
        timeout_seconds=timeout_seconds,
        retry=retry,
    )


def texts(results: list[LLMResult]) -> list[str]:
    """Texts of results that must all be answers."""
    completions = [result for result in results if isinstance(result, Completion)]
    assert len(completions) == len(results), results
    return [completion.text for completion in completions]
