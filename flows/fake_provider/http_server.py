"""A small HTTP/1.1 server on 127.0.0.1 in a thread of its own: turns connections into requests, and replies into bytes.

It keeps connections open, can break off a reply in the ways that networks do, and knows nothing of language models.
asyncio sets TCP_NODELAY on every connection, so small replies are not held back.
"""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from email.message import Message
from typing import Any, Literal
from urllib.parse import parse_qsl

JSON = Any
Break = Literal["reset", "hang", "drip"]
"""Instead of a reply: cut the connection, say nothing for ever, or send a byte now and then and never end."""

HOST = "127.0.0.1"
MOST_WAITING = 1024
"""Connections that the system keeps for us until we accept them."""
READ_AHEAD_BYTES = 2**20


@dataclass(frozen=True, slots=True)
class Request:
    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    body: bytes
    headers: Mapping[str, str]


def json_reply(status: int, value: JSON, headers: Mapping[str, str] | None = None) -> Reply:
    return Reply(status, json.dumps(value).encode(), {"content-type": "application/json", **(headers or {})})


Handle = Callable[[Request], Awaitable[Reply | Break]]


class HttpServer:
    """Give every request to `handle`, which runs in the server's own event loop."""

    def __init__(self, handle: Handle, *, port: int) -> None:
        """Take the port; 0 takes a free one. Raise OSError when somebody else has it."""
        self._handle = handle
        self._socket = socket.create_server((HOST, port), backlog=MOST_WAITING)
        self.port: int = self._socket.getsockname()[1]
        self._connections: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)
        self._started = threading.Event()

    def start(self) -> None:
        self._thread.start()
        self._started.wait()

    def stop(self) -> None:
        """Cut every connection and wait for the thread to end."""
        self._loop.call_soon_threadsafe(self._closing.set)
        self._thread.join()

    async def _serve(self) -> None:
        self._loop, self._closing = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(
            self._connection, sock=self._socket, backlog=MOST_WAITING, limit=READ_AHEAD_BYTES
        )
        self._started.set()
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
                reply = await self._handle(request)
                if not isinstance(reply, Reply):
                    await self._break_off(reply, writer)
                    break
                writer.write(_head(reply) + reply.body)
                await writer.drain()
                if request.headers.get("connection", "").lower() == "close":
                    break
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, asyncio.CancelledError):
            pass
        finally:
            self._connections.discard(task)
            writer.close()

    async def _break_off(self, how: Break, writer: asyncio.StreamWriter) -> None:
        if how == "reset":
            writer.transport.abort()
        elif how == "hang":
            await self._closing.wait()
        else:
            await self._drip(writer)

    async def _drip(self, writer: asyncio.StreamWriter) -> None:
        """Send a byte now and then, so that no single wait is long and the reply never ends."""
        writer.write(_head(Reply(200, b" " * 100_000, {"content-type": "application/json"})))
        while not self._closing.is_set():
            writer.write(b" ")
            await writer.drain()
            await asyncio.sleep(0.02)


async def _read_request(reader: asyncio.StreamReader) -> Request | None:
    """None when the client has gone."""
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head[:-4].split("\r\n")
    headers: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    method, target, _ = first.split(" ", 2)
    path, _, query = target.partition("?")
    body = await _read_body(reader, headers)
    return Request(method, path, dict(parse_qsl(query)) if query else {}, headers, body)


async def _read_body(reader: asyncio.StreamReader, headers: Mapping[str, str]) -> bytes:
    if headers.get("transfer-encoding", "").lower() != "chunked":
        length = int(headers.get("content-length", "0"))
        return await reader.readexactly(length) if length else b""
    chunks = []
    while (size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16)) > 0:
        chunks.append(await reader.readexactly(size))
        await reader.readexactly(2)
    await reader.readuntil(b"\r\n")
    return b"".join(chunks)


def _head(reply: Reply) -> bytes:
    lines = [f"HTTP/1.1 {reply.status} Status", f"content-length: {len(reply.body)}"]
    lines += [f"{name}: {value}" for name, value in reply.headers.items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1", "replace")


@dataclass(frozen=True)
class FormPart:
    """One field of a form, or one file."""

    filename: str | None
    content: bytes


def read_form(request: Request) -> dict[str, FormPart]:
    """Fields of a `multipart/form-data` body by name. Raise ValueError when it is none."""
    kind = _header(request.headers.get("content-type", ""), "content-type")
    boundary = kind.get_param("boundary")
    if kind.get_content_type() != "multipart/form-data" or not isinstance(boundary, str):
        raise ValueError("the body must be multipart/form-data with a boundary")
    form: dict[str, FormPart] = {}
    for part in request.body.split(b"--" + boundary.encode())[1:-1]:
        head, _, content = part.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        for line in head.decode("utf-8", "replace").split("\r\n"):
            name, _, value = line.partition(":")
            if name.lower() == "content-disposition":
                field = _header(value.strip(), "content-disposition")
                form[str(field.get_param("name", header="content-disposition"))] = FormPart(
                    field.get_filename(), content.removesuffix(b"\r\n")
                )
    return form


def _header(value: str, name: str) -> Message:
    message = Message()
    message[name] = value
    return message
