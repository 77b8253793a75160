"""A hub on this machine with one data set: the routes that `huggingface_hub` and `datasets` ask, over real HTTP."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit


class LoopbackHub:
    """Serves the files of a folder as the data set `owner/data` at one commit; other names do not exist."""

    name = "owner/data"

    def __init__(self, folder: Path, commit: str) -> None:
        self.folder, self.commit = folder, commit
        self.asked: list[str] = []
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                hub.asked.append(f"{self.command} {self.path}")
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                hub._answer(self)

            do_POST = do_HEAD = do_GET  # noqa: N815 - the names that http.server calls

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self._server.server_port}"

    @contextmanager
    def serving(self) -> Iterator[LoopbackHub]:
        thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()
            thread.join(timeout=10)

    def _answer(self, request: BaseHTTPRequestHandler) -> None:
        path = unquote(urlsplit(request.path).path)
        api, files = f"/api/datasets/{self.name}", f"/datasets/{self.name}/resolve/"
        if path == api or path.startswith(f"{api}/revision/"):
            facts = {"id": self.name, "sha": self.commit, "private": False, "siblings": [], "tags": [], "downloads": 0}
            _send(request, 200, json.dumps(facts).encode())
        elif path == f"{api}/tree/{self.commit}" or path.startswith(f"{api}/paths-info/"):
            _send(request, 200, json.dumps([_entry(file) for file in sorted(self.folder.iterdir())]).encode())
        elif path.startswith(files) and (file := self.folder / path.removeprefix(files).partition("/")[2]).is_file():
            headers = {"ETag": f'"{file.name}"', "X-Repo-Commit": self.commit, "Accept-Ranges": "bytes"}
            _send(request, 200, file.read_bytes(), headers)
        else:
            known = path.startswith((api, files))
            _send(request, 404, b"", {"X-Error-Code": "EntryNotFound" if known else "RepoNotFound"})


def _entry(file: Path) -> dict[str, object]:
    return {"type": "file", "path": file.name, "size": file.stat().st_size, "oid": file.name}


def _send(request: BaseHTTPRequestHandler, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
    asked = request.headers.get("Range")
    if asked and status == 200:
        first, _, last = asked.removeprefix("bytes=").partition("-")
        whole, start = len(body), int(first)
        body = body[start : int(last) + 1 if last else None]
        status, headers = 206, {**(headers or {}), "Content-Range": f"bytes {start}-{start + len(body) - 1}/{whole}"}
    request.send_response(status)
    for key, value in {"Content-Type": "application/json", **(headers or {})}.items():
        request.send_header(key, value)
    request.send_header("Content-Length", str(len(body)))
    request.end_headers()
    if request.command != "HEAD":
        request.wfile.write(body)
