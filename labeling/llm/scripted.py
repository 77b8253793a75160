"""A language model whose answers come from a plain function: for tests, and for trying a pipeline without a key.

Tests and users hand their own function to `Scripted`. `scripted/echo` answers with the prompt, `scripted/example` with
the smallest JSON value that fits the schema. Token counts are characters / 4, so that sums and prices have something
to add up.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from labeling.errors import unknown_name
from labeling.llm._dispatch import DEFAULT_RETRY, RetryPolicy
from labeling.llm._rate import UNLIMITED, RateLimits
from labeling.schema_examples import example_text
from labeling.types import Completion, LLMRequest, LLMResult

if TYPE_CHECKING:
    from labeling.llm import LanguageModel

Script = Callable[[LLMRequest], "str | LLMResult"]

SCRIPTS: dict[str, Script] = {
    "echo": lambda request: request.user,
    "example": lambda request: example_text(request.schema),
}


def create(
    *,
    model: str,
    base_url: str | None = None,  # noqa: ARG001 - every provider takes the same settings
    max_in_flight: int = 64,  # noqa: ARG001
    timeout_seconds: float = 120.0,  # noqa: ARG001
    retry: RetryPolicy = DEFAULT_RETRY,  # noqa: ARG001
    limits: RateLimits = UNLIMITED,  # noqa: ARG001
) -> LanguageModel:
    """Take a built-in script by name. Raise UsageError that lists them when there is none of that name."""
    if model not in SCRIPTS:
        raise unknown_name("script", model, SCRIPTS)
    return Scripted(SCRIPTS[model])


class Scripted:
    """`script` answers one request with a text or with a whole result; `asked` keeps what it was asked, in order."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self.asked: list[LLMRequest] = []

    async def complete(self, requests: Sequence[LLMRequest]) -> list[LLMResult]:
        return [self._answer(request) for request in requests]

    def _answer(self, request: LLMRequest) -> LLMResult:
        self.asked.append(request)
        answer = self._script(request)
        if not isinstance(answer, str):
            return answer
        return Completion(
            text=answer,
            stop_reason="end_turn",
            input_tokens=(len(request.system) + len(request.user)) // 4,
            cached_input_tokens=0,
            output_tokens=len(answer) // 4,
            latency_seconds=0.0,
        )
