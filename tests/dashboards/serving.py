"""The dashboard on a port of this machine, for the time of a test, and a client that follows nothing by itself."""

from __future__ import annotations

import http.client
import re
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from html import unescape
from urllib.parse import urlencode

import uvicorn
from fastapi import FastAPI

from dashboards.app import create_app
from flows.comparer import comparer
from labeling.workspace import Workspace
from tests.waiting import wait_until


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    text: str

    def links(self) -> list[str]:
        """Addresses of this server that the page leads to."""
        found = re.findall(r'(?:href|src|action)="([^"]+)"', self.text)
        return [unescape(address).split("#")[0] for address in found if address.startswith("/")]


@dataclass(frozen=True)
class Served:
    port: int

    def get(self, path: str, *, host: str | None = None, method: str = "GET", **parameters: object) -> Answer:
        address = path + (f"?{urlencode(parameters)}" if parameters else "")
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, address, headers={"Host": host} if host else {})
            answer = connection.getresponse()
            headers = {name.lower(): value for name, value in answer.getheaders()}
            return Answer(answer.status, headers, answer.read().decode("utf-8", "replace"))
        finally:
            connection.close()


@contextmanager
def serving(workspace: Workspace) -> Iterator[Served]:
    with serving_app(create_app(workspace, comparer=comparer())) as served:
        yield served


@contextmanager
def serving_app(app: FastAPI) -> Iterator[Served]:
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="critical", lifespan="off"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        wait_until(lambda: server.started)
        yield Served(listener.getsockname()[1])
    finally:
        server.should_exit = True
        thread.join(20)
        listener.close()
