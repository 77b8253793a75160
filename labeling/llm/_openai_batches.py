"""OpenAI's Files and Batches as a BatchClient: requests go up as a file, results come down as two.

A batch carries our id in its metadata. Servers that speak the protocol without these endpoints answer 404.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Literal

from labeling.llm._batches import (
    QUEUE_FULL,
    TOO_LARGE,
    BatchLimits,
    BatchStatus,
    CallFailed,
    LeftOver,
    RefusedAs,
    SeenBatch,
    calling,
    request_fault,
    says_too_large,
)
from labeling.llm._endpoint import Endpoint
from labeling.llm._faults import Fault
from labeling.llm.openai import chat_body, endpoint_of, read_chat
from labeling.types import JSON, Completion, LLMRequest

LIMITS = BatchLimits(requests=50_000, bytes=200_000_000)
PAGE = 100
NAME = "featlas"
"""Key of our id in the metadata."""
WINDOW: Literal["24h"] = "24h"
ENDPOINT: Literal["/v1/chat/completions"] = "/v1/chat/completions"
ENDED = ("completed", "expired", "cancelled")
QUEUE_FULL_CODE = "token_limit_exceeded"
"""Of a batch that would pass the limit of prompt tokens that may wait for a model at a time."""
LEFT_OVER: dict[str, LeftOver] = {"expired": "batch_expired", "cancelled": "batch_canceled"}


def create(*, model: str, base_url: str | None, timeout_seconds: float) -> OpenAIBatches:
    """Raise UsageError when OPENAI_API_KEY is not set and the server is OpenAI's own."""
    return OpenAIBatches(endpoint_of(model, base_url), timeout_seconds)


class OpenAIBatches:
    limits = LIMITS

    def __init__(self, endpoint: Endpoint, timeout_seconds: float) -> None:
        import openai

        self._endpoint = endpoint
        self._sdk = openai
        self._client = openai.OpenAI(
            api_key=endpoint.key, base_url=endpoint.url, max_retries=0, timeout=timeout_seconds
        )

    def close(self) -> None:
        self._client.close()

    def render(self, key: str, request: LLMRequest) -> JSON:
        body = chat_body(request, self._endpoint.model)
        return {"custom_id": key, "method": "POST", "url": ENDPOINT, "body": body}

    def submit(self, batch: str, requests: Sequence[JSON]) -> str:
        lines = b"".join(json.dumps(request, ensure_ascii=False).encode() + b"\n" for request in requests)
        try:
            with calling(self._endpoint, self._sdk):
                file = self._client.files.create(file=(_file_name(batch), lines), purpose="batch")
        except CallFailed as failed:
            raise CallFailed(failed.fault, nothing_made=True) from failed
        with calling(self._endpoint, self._sdk):
            return self._client.batches.create(
                input_file_id=file.id, endpoint=ENDPOINT, completion_window=WINDOW, metadata={NAME: batch}
            ).id

    def look(self, provider_batch: str) -> BatchStatus:
        with calling(self._endpoint, self._sdk):
            seen = self._client.batches.retrieve(provider_batch)
        done = seen.request_counts.completed + seen.request_counts.failed if seen.request_counts else 0
        if seen.status == "failed":
            problems = (seen.errors.data if seen.errors else None) or []
            words = "; ".join(f"{p.code}: {p.message}" + (f" (line {p.line})" if p.line else "") for p in problems)
            refused_as: RefusedAs = "batch_failed"
            if any(p.code == QUEUE_FULL_CODE for p in problems):
                refused_as = QUEUE_FULL
            elif says_too_large(words):
                refused_as = TOO_LARGE
            said = self._endpoint.scrub(words or "the provider gave no reason")
            return BatchStatus("failed", done, detail=said, refused_as=refused_as)
        state: Literal["ended", "under_way"] = "ended" if seen.status in ENDED else "under_way"
        return BatchStatus(state, done, left_over=LEFT_OVER.get(seen.status, "batch_incomplete"))

    def results(self, provider_batch: str) -> Iterator[tuple[str, Completion | Fault]]:
        with calling(self._endpoint, self._sdk):
            seen = self._client.batches.retrieve(provider_batch)
        for file in (seen.output_file_id, seen.error_file_id):
            if file is None:
                continue
            with calling(self._endpoint, self._sdk):
                content = self._client.files.content(file).content
            for line in content.split(b"\n"):
                if line.strip():
                    yield from _outcome(line, self._endpoint)

    def cancel(self, provider_batch: str) -> None:
        with calling(self._endpoint, self._sdk):
            self._client.batches.cancel(provider_batch)

    def clean_up(self, provider_batch: str) -> None:
        with calling(self._endpoint, self._sdk):
            seen = self._client.batches.retrieve(provider_batch)
        self._delete([seen.input_file_id, seen.output_file_id, seen.error_file_id])

    def discard(self, batch: str, since: float) -> None:
        with calling(self._endpoint, self._sdk):
            files = []
            for file in self._client.files.list(purpose="batch", order="desc"):  # newest first, page by page
                if file.created_at + 1 < since:  # whole seconds
                    break
                if file.filename == _file_name(batch):
                    files.append(file.id)
        self._delete(files)

    def _delete(self, files: Sequence[str | None]) -> None:
        for file in files:
            if file is not None:
                with calling(self._endpoint, self._sdk), suppress(self._sdk.NotFoundError):
                    self._client.files.delete(file)

    def recent(self, since: float) -> Iterator[SeenBatch]:
        with calling(self._endpoint, self._sdk):
            for seen in self._client.batches.list(limit=PAGE):  # newest first, page by page
                if seen.created_at + 1 < since:  # whole seconds
                    return
                total = seen.request_counts.total if seen.request_counts else 0
                yield SeenBatch(seen.id, (seen.metadata or {}).get(NAME, ""), total, seen.status in ENDED)


def _file_name(batch: str) -> str:
    return f"{batch}.jsonl"


def _outcome(line: bytes, endpoint: Endpoint) -> Iterator[tuple[str, Completion | Fault]]:
    """Key and outcome on a line of results; nothing where the line can't be read."""
    try:
        entry = json.loads(line)
        key, response, error = str(entry["custom_id"]), entry.get("response"), entry.get("error")
        if response is None:
            code = str((error or {}).get("code") or "batch_incomplete").replace("cancelled", "canceled")
            reason = code if code.startswith("batch_") else "server_error"
            yield key, Fault(reason, True, endpoint.scrub(str((error or {}).get("message") or code)))
        elif response["status_code"] == 200:
            yield key, read_chat(json.dumps(response["body"]).encode(), endpoint)
        else:
            yield key, request_fault(endpoint, int(response["status_code"]), response["body"])
    except (ValueError, KeyError, TypeError, AttributeError):
        return
