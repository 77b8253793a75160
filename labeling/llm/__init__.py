"""Language models behind one seam: providers, the ledger and the scripted model of the tests share this shape.

One file a provider (`anthropic`, `openai`, `scripted`); models are named `provider/model`. A provider's file defines
`create(*, model, base_url, max_in_flight, timeout_seconds, retry) -> LanguageModel`. To ask, `connect` to a model, wrap
it in `labeling.ledger.LedgerModel` so that no answer is paid for twice, and call `ask`.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Coroutine, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, runtime_checkable

from labeling import registry
from labeling.errors import UsageError
from labeling.types import LLMRequest, LLMResult

if TYPE_CHECKING:
    from labeling.llm._dispatch import RetryPolicy

Result = TypeVar("Result")


class LanguageModel(Protocol):
    async def complete(self, requests: Sequence[LLMRequest]) -> list[LLMResult]:
        """One result a request, in the same order. What goes wrong with one request is its result, not an exception.

        Raise FeatlasError only for what no request can survive: a missing key, a key that is refused.
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
) -> LanguageModel:
    """Make the model `provider/model`; the model's own name may hold slashes. Nothing is sent yet.

    `base_url` None means the provider's environment variable, then its own address. `timeout_seconds` is for one
    attempt. Raise UsageError for an unknown provider, a name without a model, a missing key.
    """
    from labeling.llm._dispatch import DEFAULT_RETRY

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
    )
    return model_


def ask(model: LanguageModel, requests: Sequence[LLMRequest]) -> list[LLMResult]:
    """Call `model.complete` from code that is not async, also where an event loop is running (notebooks, Prefect).

    The answers are fetched in a thread with an event loop of its own. An interrupt (Ctrl-C) cancels what is under way
    and is raised again.
    """
    return _run_in_thread(model.complete(requests))


def _run_in_thread(work: Coroutine[Any, Any, Result]) -> Result:
    loop = asyncio.new_event_loop()
    task = loop.create_task(work)
    thread = threading.Thread(target=_run_loop, args=(loop, task), daemon=True)
    thread.start()
    try:
        thread.join()
    except BaseException:
        with suppress(RuntimeError):  # the loop ended meanwhile
            loop.call_soon_threadsafe(task.cancel)
        thread.join()
        raise
    return task.result()


def _run_loop(loop: asyncio.AbstractEventLoop, task: asyncio.Task[Any]) -> None:
    asyncio.set_event_loop(loop)
    try:
        # The outcome is read from the task, in the thread that asked.
        loop.run_until_complete(asyncio.wait([task]))
        loop.run_until_complete(loop.shutdown_asyncgens())
    finally:
        loop.close()
