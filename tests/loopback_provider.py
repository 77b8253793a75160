"""A language-model provider on 127.0.0.1: speaks Anthropic Messages and OpenAI Chat Completions over real HTTP.

It turns each request into an answer by a plain function, makes the faults it is told to, and counts what it was asked
and what it answered by the request's body, so that a test can show that nothing was paid for twice. It knows nothing
of features or labels. It does not stream, and serves no batches.

    with LoopbackProvider(answer, faults=in_turn("429", "reset")) as provider:
        ... base_url=provider.openai_url ...

    python -m tests.loopback_provider --port 8123 --latency 0.2       # until it is killed; GET /counts tells the counts
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, Literal, Self, get_args

from labeling.llm._example import example_text

JSON = Any
Fault = Literal[
    "400", "401", "402", "403", "404", "413", "429", "429_quota", "500", "529",
    "reset", "hang", "drip", "malformed", "truncated", "refusal", "filtered", "empty",
]  # fmt: skip
FAULTS: tuple[Fault, ...] = get_args(Fault)


@dataclass(frozen=True)
class Asked:
    """One HTTP request, as the provider understood it."""

    api: Literal["anthropic", "openai"]
    model: str
    system: str
    user: str
    schema: Mapping[str, JSON]
    max_output_tokens: int
    body: Mapping[str, JSON]
    headers: Mapping[str, str]
    digest: str
    """Hash of the body: equal for requests that are paid for twice."""
    seen_before: int
    """How often the same body came before."""


Answer = Callable[[Asked], str]
Faults = Callable[[Asked], "Fault | None"]


def in_turn(*faults: Fault) -> Faults:
    """Each body meets these faults, one an attempt, and is answered afterwards."""
    return lambda asked: faults[asked.seen_before] if asked.seen_before < len(faults) else None


def always(fault: Fault) -> Faults:
    return lambda asked: fault


@dataclass
class LoopbackProvider:
    """Start it as a context manager; it serves from a thread of its own."""

    answer: Answer = lambda asked: example_text(asked.schema)
    faults: Faults = lambda asked: None
    latency_seconds: float | Callable[[Asked], float] = 0.0
    retry_after_seconds: float | None = None
    """What 429 and 529 announce."""
    key: str | None = None
    """The only key that is let in; None lets everybody in."""
    port: int = 0
    asked: list[Asked] = field(default_factory=list)
    answered: Counter[str] = field(default_factory=Counter)
    """Usable answers by body: 2 means that somebody paid twice."""
    most_in_flight: int = 0

    def __enter__(self) -> Self:
        self._seen: Counter[str] = Counter()
        self._in_flight = 0
        self._connections: set[asyncio.Task[None]] = set()
        started = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve(started)), daemon=True)
        self._thread.start()
        started.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._closing.set)
        self._thread.join()

    @property
    def url(self) -> str:
        """Address for the Anthropic SDK."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def openai_url(self) -> str:
        return f"{self.url}/v1"

    def counts(self) -> dict[str, int]:
        return {
            "requests": len(self.asked),
            "answered": self.answered.total(),
            "answered_twice": sum(count > 1 for count in self.answered.values()),
            "most_in_flight": self.most_in_flight,
        }

    async def _serve(self, started: threading.Event) -> None:
        self._loop, self._closing = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(self._connection, "127.0.0.1", self.port, backlog=1024)
        self.port = server.sockets[0].getsockname()[1]
        started.set()
        await self._closing.wait()
        server.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            while (request := await _read_request(reader)) is not None:
                if not await self._respond(*request, writer):
                    break
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self._connections.discard(task)
            writer.close()

    async def _respond(self, path: str, headers: Mapping[str, str], body: bytes, writer: asyncio.StreamWriter) -> bool:
        """Answer one request. False ends the connection."""
        if path == "/counts":
            return await _send(writer, 200, json.dumps(self.counts()).encode())
        if path not in ("/v1/messages", "/v1/chat/completions"):
            return await _send(writer, 404, _error_body("not_found_error", f"no such path: {path}"))
        if (
            self.key is not None
            and headers.get("authorization", headers.get("x-api-key", "")).removeprefix("Bearer ") != self.key
        ):
            return await _send(writer, 401, _error_body("authentication_error", f"invalid key: {dict(headers)}"))
        asked = self._note(path, headers, body)
        self._in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self._in_flight)
        try:
            latency = self.latency_seconds
            await asyncio.sleep(latency(asked) if callable(latency) else latency)
            return await self._send_outcome(asked, self.faults(asked), writer)
        finally:
            self._in_flight -= 1

    def _note(self, path: str, headers: Mapping[str, str], body: bytes) -> Asked:
        digest = blake2b(body, digest_size=16).hexdigest()
        parse = parse_messages if path == "/v1/messages" else parse_chat
        asked = parse(json.loads(body), headers, digest, self._seen[digest])
        self._seen[digest] += 1
        self.asked.append(asked)
        return asked

    async def _send_outcome(self, asked: Asked, fault: Fault | None, writer: asyncio.StreamWriter) -> bool:
        if fault == "reset":
            writer.transport.abort()
            return False
        if fault == "hang":
            await self._closing.wait()
            return False
        if fault == "drip":
            return await self._drip(writer)
        if fault == "malformed":
            return await _send(writer, 200, b'{"content": [{"type": "te')
        if fault is not None and fault[:3].isdigit():
            status, error = http_error(fault, asked)
            waits = self.retry_after_seconds is not None and status in (429, 529)
            return await _send(writer, status, error, {"retry-after": str(self.retry_after_seconds)} if waits else {})
        text = "" if fault in ("empty", "refusal", "filtered") else self.answer(asked)
        text = text[: len(text) // 2] if fault == "truncated" else text
        if fault is None:
            self.answered[asked.digest] += 1
        reply = message_reply if asked.api == "anthropic" else chat_reply
        return await _send(writer, 200, json.dumps(reply(asked, text, fault)).encode())

    async def _drip(self, writer: asyncio.StreamWriter) -> bool:
        """Send a byte now and then, so that no single wait is long and the reply never ends."""
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100000\r\n\r\n")
        while not self._closing.is_set():
            writer.write(b" ")
            await writer.drain()
            await asyncio.sleep(0.02)
        return False


def parse_messages(body: JSON, headers: Mapping[str, str], digest: str, seen_before: int) -> Asked:
    """Read the body of POST /v1/messages."""
    system = body.get("system", "")
    if not isinstance(system, str):
        system = "".join(block["text"] for block in system)
    schema = body.get("output_config", {}).get("format", {}).get("schema", {})
    user = body["messages"][-1]["content"]
    return Asked(
        "anthropic", body["model"], system, user, schema, body["max_tokens"], body, headers, digest, seen_before
    )


def parse_chat(body: JSON, headers: Mapping[str, str], digest: str, seen_before: int) -> Asked:
    """Read the body of POST /v1/chat/completions."""
    by_role = {message["role"]: message["content"] for message in body["messages"]}
    schema = body.get("response_format", {}).get("json_schema", {}).get("schema", {})
    longest = body.get("max_completion_tokens", body.get("max_tokens", 0))
    system = by_role.get("system", "")
    return Asked("openai", body["model"], system, by_role["user"], schema, longest, body, headers, digest, seen_before)


def message_reply(asked: Asked, text: str, fault: Fault | None) -> JSON:
    stop = {"truncated": "max_tokens", "refusal": "refusal", "filtered": "refusal"}.get(fault or "", "end_turn")
    marked = isinstance(asked.body.get("system"), list) and any("cache_control" in b for b in asked.body["system"])
    cached = len(asked.system) // 4 if marked else 0
    return {
        "id": f"msg_{asked.digest}",
        "type": "message",
        "role": "assistant",
        "model": asked.model,
        "content": [{"type": "text", "text": text}] if text else [],
        "stop_reason": stop,
        "stop_sequence": None,
        "usage": {
            "input_tokens": (len(asked.system) + len(asked.user)) // 4 - cached,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": cached,
            "output_tokens": len(text) // 4,
        },
    }


def chat_reply(asked: Asked, text: str, fault: Fault | None) -> JSON:
    finish = {"truncated": "length", "filtered": "content_filter"}.get(fault or "", "stop")
    message = {
        "role": "assistant",
        "content": text,
        "refusal": "I can't help with that." if fault == "refusal" else None,
    }
    read, written = (len(asked.system) + len(asked.user)) // 4, len(text) // 4
    return {
        "id": f"chatcmpl-{asked.digest}",
        "object": "chat.completion",
        "created": 0,
        "model": asked.model,
        "choices": [{"index": 0, "message": message, "finish_reason": finish, "logprobs": None}],
        "usage": {
            "prompt_tokens": read,
            "completion_tokens": written,
            "total_tokens": read + written,
            "prompt_tokens_details": {"cached_tokens": len(asked.system) // 4},
        },
    }


def http_error(fault: str, asked: Asked) -> tuple[int, bytes]:
    """Status and body of a fault that is an HTTP error, in words like the providers' own."""
    kind, message = {
        "400": ("invalid_request_error", "prompt is too long: 300000 tokens > 200000 maximum"),
        "401": ("authentication_error", f"invalid x-api-key: {asked.headers.get('authorization', '')}"),
        "402": ("billing_error", "Your credit balance is too low."),
        "403": ("permission_error", "Your key does not have permission to use this model."),
        "404": ("not_found_error", f"model: {asked.model}"),
        "413": ("request_too_large", "Request exceeds the maximum size"),
        "429": ("rate_limit_error", "This request would exceed your rate limit"),
        "429_quota": ("insufficient_quota", "You exceeded your current quota, please check your plan."),
        "500": ("api_error", "Internal server error"),
        "529": ("overloaded_error", "Overloaded"),
    }[fault]
    return int(fault[:3]), _error_body(kind, message)


def _error_body(kind: str, message: str) -> bytes:
    return json.dumps({"type": "error", "error": {"type": kind, "message": message, "code": kind}}).encode()


async def _read_request(reader: asyncio.StreamReader) -> tuple[str, dict[str, str], bytes] | None:
    """Path, headers (names in lower case) and body; None when the client has gone."""
    first = await reader.readline()
    if not first:
        return None
    headers: dict[str, str] = {}
    while (line := (await reader.readline()).decode("latin-1").strip()) != "":
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return first.decode("latin-1").split()[1].partition("?")[0], headers, body


async def _send(writer: asyncio.StreamWriter, status: int, body: bytes, headers: Mapping[str, str] = {}) -> bool:
    lines = [f"HTTP/1.1 {status} Status", "content-type: application/json", f"content-length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    writer.write("\r\n".join([*lines, "", ""]).encode() + body)
    await writer.drain()
    return True


def main() -> None:
    parser = argparse.ArgumentParser(description="A language-model provider on 127.0.0.1, for tests.")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--latency", type=float, default=0.0, help="seconds before each answer")
    options = parser.parse_args()
    with LoopbackProvider(port=options.port, latency_seconds=options.latency) as provider:
        sys.stdout.write(json.dumps({"anthropic": provider.url, "openai": provider.openai_url}) + "\n")
        sys.stdout.flush()
        threading.Event().wait()


if __name__ == "__main__":
    main()
