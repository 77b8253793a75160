"""The seam of the batch endpoints: what a provider's batches can be told and asked, in the same words for all of them.

One file a provider (`_anthropic_batches`, `_openai_batches`) with `create(*, model, base_url, timeout_seconds)`. A call
raises CallFailed for what may pass or belongs to this batch, FeatlasError for what no call can survive. Calls block: a
batch takes a handful of them. Who keeps the books is `_batch_desk.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Literal, Protocol

from labeling.errors import FeatlasError, UsageError
from labeling.llm._endpoint import Endpoint
from labeling.llm._extras import refusal
from labeling.llm._faults import ADDRESS_HINTS, AGAIN, Fault, connection_fault, error_message, status_fault
from labeling.types import JSON, Completion, LLMRequest

LeftOver = Literal["batch_incomplete", "batch_expired", "batch_canceled"]
"""Why a request of a batch that has ended has no result."""
RefusedAs = Literal["batch_failed", "batch_too_large", "batch_queue_full"]
TOO_LARGE: Literal["batch_too_large"] = "batch_too_large"
"""Reason of a fault: fewer requests in one batch would be taken."""
QUEUE_FULL: Literal["batch_queue_full"] = "batch_queue_full"
"""Reason of a fault: this would be too much beside what waits at the provider already."""
TOO_LARGE_WORDS = (
    "smaller batch",
    "input file is larger",
    "file is too large",
    "file too large",
    "too many tasks",
    "requests: list should have at most",
)
"""They name the batch or its file: what is too large about one request is no smaller in half a batch."""


@dataclass(frozen=True)
class BatchLimits:
    """What one batch may hold."""

    requests: int
    bytes: int


@dataclass(frozen=True)
class BatchStatus:
    """How far the provider is with a batch."""

    state: Literal["under_way", "ended", "failed"]
    """`failed` is a batch that was refused as a whole: none of its requests was tried."""
    done: int = 0
    """Requests that have an outcome; some providers tell only at the end."""
    left_over: LeftOver = "batch_incomplete"
    """Once ended."""
    detail: str = ""
    """The provider's words, where it refused."""
    refused_as: RefusedAs = "batch_failed"
    """Where it refused: TOO_LARGE, QUEUE_FULL, or what no smaller batch would mend."""


@dataclass(frozen=True)
class SeenBatch:
    """A batch in the provider's listing."""

    provider_batch: str
    name: str | None
    """Our id, which went with it; None where a provider keeps no such names."""
    n_requests: int
    ended: bool


class CallFailed(Exception):
    """A call without success, for a reason that does not stop the run."""

    def __init__(self, fault: Fault, *, nothing_made: bool = False) -> None:
        super().__init__(fault.detail)
        self.fault = fault
        self.nothing_made = nothing_made
        """Whether it failed before anything was asked of the provider that could make a batch."""


class BatchClient(Protocol):
    @property
    def limits(self) -> BatchLimits: ...

    def render(self, key: str, request: LLMRequest) -> JSON:
        """A request as it stands in a batch, with the same body as interactively.

        `key` is its name there: the providers take up to 64 letters, digits, `-` and `_`, and ledger keys are 32
        hexadecimal digits.
        """
        ...

    def submit(self, batch: str, requests: Sequence[JSON]) -> str:
        """Make a batch of rendered requests. Return the provider's id of it."""
        ...

    def look(self, provider_batch: str) -> BatchStatus: ...

    def results(self, provider_batch: str) -> Iterator[tuple[str, Completion | Fault]]:
        """Key and outcome of each request, in any order, once the batch has ended."""
        ...

    def cancel(self, provider_batch: str) -> None: ...

    def clean_up(self, provider_batch: str) -> None:
        """Delete the files that the provider keeps of a batch whose outcome is stored. Deleting again changes nothing."""
        ...

    def discard(self, batch: str, since: float) -> None:
        """Delete what was uploaded since then (Unix seconds) for our batch, of which the provider certainly made none."""
        ...

    def recent(self, since: float) -> Iterator[SeenBatch]:
        """Batches of the account made since then (Unix seconds)."""
        ...


def connect_batches(name: str, *, base_url: str | None, timeout_seconds: float) -> BatchClient:
    """The batch endpoint of the model `provider/model`. Nothing is sent yet.

    Raise UsageError when the provider has none, or when its key is missing.
    """
    provider, _, model = name.partition("/")
    module = f"labeling.llm._{provider}_batches"
    if not provider.isidentifier() or find_spec(module) is None:
        raise UsageError(
            f"{name} can't be asked in batches: {provider!r} has no batch endpoint here; anthropic and openai have one. "
            'Set llm.mode = "interactive" (--mode interactive).'
        )
    client: BatchClient = import_module(module).create(model=model, base_url=base_url, timeout_seconds=timeout_seconds)
    return client


@contextmanager
def calling(endpoint: Endpoint, sdk: Any) -> Iterator[None]:
    """Turn what an SDK raises into CallFailed, or FeatlasError where every call would meet it."""
    try:
        yield
    except sdk.APIConnectionError as error:  # timeouts are among them
        raise CallFailed(connection_fault(endpoint, error)) from error
    except sdk.APIStatusError as error:
        if error.status_code == 404:
            raise FeatlasError(
                f"The server at {endpoint.shown_url} has no batch endpoint, or does not know this batch (HTTP 404: "
                f"{endpoint.scrub(error_message(error.body))}). Where it has none, as most servers of one's own, ask with "
                f"--mode interactive; else check llm.base_url ({ADDRESS_HINTS[endpoint.provider]}) and that the key in "
                f"{endpoint.key_name} is of the same account as when the batch was submitted. {AGAIN}"
            ) from error
        fault = status_fault(endpoint, error.status_code, error.body, error.response.headers)
        if error.status_code == 413 or (error.status_code == 400 and says_too_large(fault.detail)):
            fault = replace(fault, reason=TOO_LARGE)
        raise CallFailed(fault) from error


def says_too_large(words: str) -> bool:
    """Whether a provider's words about a batch mean that it holds too much; they have no code for it in common."""
    plain = words.lower().replace("_", " ")
    return any(phrase in plain for phrase in TOO_LARGE_WORDS)


def request_fault(endpoint: Endpoint, status: int, body: object, headers: Mapping[str, str] | None = None) -> Fault:
    """Read the HTTP error of one request in a batch. What would stop an interactive run is a failure to be retried."""
    try:
        return refusal(endpoint, status, body, headers or {})
    except FeatlasError as error:
        return Fault("refused_by_provider", True, str(error))
