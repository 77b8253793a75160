"""Language models behind one seam: providers, the ledger and the scripted model of the tests share this shape.

One file a provider (`anthropic`, `openai`, `scripted`); models are named `provider/model`. A provider's file defines
`create(*, model, base_url, max_in_flight, timeout_seconds, retry, limits) -> LanguageModel`, and `GIVES_LOGPROBS = True`
where its API has log-probabilities. To ask, `connect` to a model, wrap
it in `labeling.ledger_model.LedgerModel` so that no answer is paid for twice, and call `ask`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from importlib import import_module
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from labeling import registry
from labeling.errors import UsageError
from labeling.llm._background import run_and_wait
from labeling.types import LLMRequest, LLMResult

if TYPE_CHECKING:
    from labeling.llm._dispatch import RetryPolicy
    from labeling.llm._rate import RateLimits


class LanguageModel(Protocol):
    async def complete(self, requests: Sequence[LLMRequest]) -> list[LLMResult]:
        """One result a request, in the same order. What goes wrong with one request is its result, not an exception.

        `requests` may make each request when it is asked for, so do not copy it. `ask` runs this in an event loop
        that all models share: it must not block. Raise FeatlasError only for what no request can survive: a missing
        key, a key that is refused.
        """


@runtime_checkable
class ConnectedModel(Protocol):
    """What a LanguageModel over a network has besides."""

    max_in_flight: int

    def connected(self) -> AbstractAsyncContextManager[None]:
        """Keep connections open between calls of `complete`."""


def connect(
    name: str,
    *,
    base_url: str | None = None,
    max_in_flight: int = 64,
    timeout_seconds: float = 120.0,
    retry: RetryPolicy | None = None,
    limits: RateLimits | None = None,
) -> LanguageModel:
    """Make the model `provider/model`; the model's own name may hold slashes. Nothing is sent yet.

    Models made with equal arguments share connections and limits: `max_in_flight` and `limits` hold for all of them
    together. `limits` None means what the provider's headers say. `base_url` None means the provider's environment
    variable, then its own address. `timeout_seconds` is for one attempt. Raise UsageError for an unknown provider, a
    name without a model, a missing key.
    """
    from labeling.llm._dispatch import DEFAULT_RETRY
    from labeling.llm._rate import UNLIMITED

    provider, _, model = name.partition("/")
    package = sys.modules[__name__]
    if not provider or not model.strip():
        raise UsageError(
            f"The model is {name!r}. Models are named provider/model, with one of the providers "
            f"{', '.join(registry.names(package))}; for example anthropic/MODEL or openai/MODEL."
        )
    model_: LanguageModel = registry.create(
        package,
        provider,
        kind="language model provider",
        model=model,
        base_url=base_url,
        max_in_flight=max_in_flight,
        timeout_seconds=timeout_seconds,
        retry=retry or DEFAULT_RETRY,
        limits=limits or UNLIMITED,
    )
    return model_


def gives_logprobs(name: str | None) -> bool:
    """Whether the provider of `provider/model` can be asked for log-probabilities of the answer's tokens."""
    package, provider = sys.modules[__name__], (name or "").partition("/")[0]
    if provider not in registry.names(package):
        return False
    return bool(getattr(import_module(f"{__name__}.{provider}"), "GIVES_LOGPROBS", False))


def ask(model: LanguageModel, requests: Sequence[LLMRequest]) -> list[LLMResult]:
    """Call `model.complete` from code that is not async, from any thread, also where an event loop runs (notebooks).

    All calls of the process run in one event loop in the background, so those of several threads overlap. `complete`
    must therefore not block. An interrupt (Ctrl-C) cancels what this call has under way and is raised again.
    """
    return run_and_wait(model.complete(requests))
