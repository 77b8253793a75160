"""Anthropic's Message Batches as a BatchClient. A batch has no name of ours there, so it is known by its requests."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from labeling.llm._batches import BatchLimits, BatchStatus, SeenBatch, calling, request_fault
from labeling.llm._endpoint import Endpoint
from labeling.llm._faults import Fault
from labeling.llm.anthropic import endpoint_of, message_body, read_message
from labeling.types import JSON, Completion, LLMRequest

LIMITS = BatchLimits(requests=100_000, bytes=250_000_000)
"""The provider takes 256 MB; what stands around the requests has to fit too."""
PAGE = 1000
STATUS = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "timeout_error": 408,
    "overloaded_error": 529,
}
"""HTTP status that an error of a request would have had by itself; 500 for any other."""


def create(*, model: str, base_url: str | None, timeout_seconds: float) -> AnthropicBatches:
    """Raise UsageError when ANTHROPIC_API_KEY is not set."""
    return AnthropicBatches(endpoint_of(model, base_url), timeout_seconds)


class AnthropicBatches:
    limits = LIMITS

    def __init__(self, endpoint: Endpoint, timeout_seconds: float) -> None:
        import anthropic

        self._endpoint = endpoint
        self._sdk = anthropic
        self._client = anthropic.Anthropic(
            api_key=endpoint.key, base_url=endpoint.url, max_retries=0, timeout=timeout_seconds
        )

    def close(self) -> None:
        self._client.close()

    def render(self, key: str, request: LLMRequest) -> JSON:
        return {"custom_id": key, "params": message_body(request, self._endpoint.model)}

    def submit(self, batch: str, requests: Sequence[JSON]) -> str:  # noqa: ARG002 - it keeps no names
        with calling(self._endpoint, self._sdk):
            return self._client.messages.batches.create(requests=list(requests)).id

    def look(self, provider_batch: str) -> BatchStatus:
        with calling(self._endpoint, self._sdk):
            seen = self._client.messages.batches.retrieve(provider_batch)
        counts = seen.request_counts
        done = counts.succeeded + counts.errored + counts.canceled + counts.expired
        return BatchStatus("ended" if seen.processing_status == "ended" else "under_way", done)

    def results(self, provider_batch: str) -> Iterator[tuple[str, Completion | Fault]]:
        with calling(self._endpoint, self._sdk):
            seen = self._client.messages.batches.retrieve(provider_batch)
            # As text, and not as the SDK reads it: that would hide what came back when it is not what it should be.
            text = self._client.get(seen.results_url or "", cast_to=str) if seen.results_url else ""
        for line in text.split("\n"):
            if line.strip():
                yield from _outcome(line, self._endpoint)

    def cancel(self, provider_batch: str) -> None:
        with calling(self._endpoint, self._sdk):
            self._client.messages.batches.cancel(provider_batch)

    def clean_up(self, provider_batch: str) -> None:
        """There are no files; the provider drops results by itself after 29 days."""

    def discard(self, batch: str, since: float) -> None:
        """Nothing is uploaded ahead of a batch."""

    def recent(self, since: float) -> Iterator[SeenBatch]:
        with calling(self._endpoint, self._sdk):
            for seen in self._client.messages.batches.list(limit=PAGE):  # newest first, page by page
                if seen.created_at.timestamp() < since:
                    return
                counts = seen.request_counts
                total = counts.processing + counts.succeeded + counts.errored + counts.canceled + counts.expired
                yield SeenBatch(seen.id, None, total, seen.processing_status == "ended")


def _outcome(line: str, endpoint: Endpoint) -> Iterator[tuple[str, Completion | Fault]]:
    """Key and outcome on a line of results; nothing where the line can't be read."""
    try:
        entry = json.loads(line)
        key, result = str(entry["custom_id"]), entry["result"]
        kind = result["type"]
        if kind == "succeeded":
            yield key, read_message(json.dumps(result["message"]).encode(), endpoint)
        elif kind == "errored":
            yield key, request_fault(endpoint, _status(result["error"]), result["error"])
        else:
            yield key, Fault(f"batch_{kind}", True, f"the batch ended before this request was answered: {kind}")
    except (ValueError, KeyError, TypeError):
        return


def _status(body: Mapping[str, Any]) -> int:
    error = body.get("error") or body
    return STATUS.get(str(error.get("type")), 500)
