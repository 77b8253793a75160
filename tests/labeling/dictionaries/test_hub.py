"""Dictionaries of a hub: huggingface_hub's own client, in a process of its own, against a server on this machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from labeling.dictionaries._hub import HubId, parse
from labeling.errors import UsageError
from tests.labeling.dictionaries.builders import sae_lens

ROOT = Path(__file__).resolve().parents[3]
COMMIT = "0123456789abcdef0123456789abcdef01234567"
LOAD = """
import json, sys
from labeling.dictionaries import load, stored_name
from labeling.errors import FeatlasError
for path in sys.argv[1:]:
    try:
        print(json.dumps([load(path).fingerprint, stored_name(path)]))
    except FeatlasError as error:
        print(json.dumps([type(error).__name__, str(error)]))
"""


class Hub(ThreadingHTTPServer):
    """A hub with one repository, `owner/name`, of the files below a folder."""

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.folder = folder
        self.fetched: list[str] = []
        """Files whose content was sent."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Hub

    def do_GET(self) -> None:
        self.answer(with_body=True)

    def do_HEAD(self) -> None:
        self.answer(with_body=False)

    def answer(self, *, with_body: bool) -> None:
        if self.path in [f"/api/models/owner/name/revision/{name}" for name in ("main", "v1")]:
            return self.reply(
                200, json.dumps({"id": "owner/name", "sha": COMMIT}).encode(), with_body=with_body, headers={}
            )
        if self.path.startswith(f"/api/models/owner/name/tree/{COMMIT}"):
            return self.reply(200, json.dumps(self.listing()).encode(), with_body=with_body, headers={})
        file = self.server.folder / self.path.removeprefix(f"/owner/name/resolve/{COMMIT}/")
        if self.path.startswith(f"/owner/name/resolve/{COMMIT}/") and file.is_file():
            if with_body:
                self.server.fetched.append(file.relative_to(self.server.folder).as_posix())
            headers = {"ETag": f'"{file.stat().st_size}-{file.name}"', "X-Repo-Commit": COMMIT}
            return self.reply(200, file.read_bytes(), with_body=with_body, headers=headers)
        code = "RevisionNotFound" if self.path.startswith("/api/models/owner/name/") else "RepoNotFound"
        return self.reply(404, b"{}", with_body=with_body, headers={"X-Error-Code": code})

    def listing(self) -> list[dict[str, Any]]:
        files = sorted(file for file in self.server.folder.rglob("*") if file.is_file())
        return [
            {
                "type": "file",
                "path": file.relative_to(self.server.folder).as_posix(),
                "size": file.stat().st_size,
                "oid": "0" * 40,
            }
            for file in files
        ]

    def reply(self, status: int, body: bytes, *, with_body: bool, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    for layer in (1, 2):
        sae_lens(tmp_path / "repository" / f"blocks.{layer}")
    with Hub(tmp_path / "repository") as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def load_from(endpoint: str, cache: Path, *paths: str) -> list[list[str]]:
    """Fingerprint and stored name of each path, or the error's class and text."""
    quiet = {"HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_DISABLE_XET": "1"}
    environment = {**os.environ, **quiet, "HF_ENDPOINT": endpoint, "HF_HOME": str(cache), "PYTHONPATH": str(ROOT)}
    environment.pop("HF_HUB_OFFLINE", None)
    done = subprocess.run(
        [sys.executable, "-c", LOAD, *paths], env=environment, capture_output=True, text=True, timeout=120, check=True
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.slow
def test_a_subfolder_is_downloaded_once_and_stored_under_its_commit(hub: Hub, tmp_path: Path) -> None:
    there = hub.folder / "blocks.2"
    first, pinned, missing, no_revision, unknown, local = load_from(
        hub.url,
        tmp_path / "cache",
        "hf://owner/name/blocks.2",
        "hf://owner/name/blocks.2@v1",
        "hf://owner/name/blocks.9",
        "hf://owner/name/blocks.2@v9",
        "hf://owner/other",
        str(there),
    )
    assert first == pinned == [local[0], f"hf://owner/name/blocks.2@{COMMIT}"]
    assert sorted(hub.fetched) == ["blocks.2/cfg.json", "blocks.2/sae_weights.safetensors"]
    assert missing == ["FeatlasError", missing[1]]
    assert "owner/name has no folder 'blocks.9'" in missing[1]
    assert "has no revision 'v9'" in no_revision[1]
    assert "the hub knows no repository owner/other" in unknown[1]
    assert local[1] == str(there)


@pytest.mark.slow
def test_without_a_hub_what_is_in_the_cache_is_used_and_the_rest_explained(hub: Hub, tmp_path: Path) -> None:
    [online] = load_from(hub.url, tmp_path / "cache", "hf://owner/name/blocks.1")
    nobody = "http://127.0.0.1:9"  # the discard port: connections are refused
    cached, other = load_from(nobody, tmp_path / "cache", "hf://owner/name/blocks.1", "hf://owner/other/blocks.1")
    assert cached == online
    assert "can't be downloaded" in other[1]
    assert "copy the folder here" in other[1]


def test_ids_are_read_in_all_their_forms() -> None:
    assert parse("hf://owner/name") == HubId("owner/name", "", None)
    assert parse("hf://owner/name/a/b.c@v1") == HubId("owner/name", "a/b.c", "v1")
    assert parse("hf://owner/name/@refs/pr/1") == HubId("owner/name", "", "refs/pr/1")


@pytest.mark.parametrize(
    "text", ["hf://owner", "hf://", "hf://owner/name/../x", "hf://owner/na me", "hf://owner/name@"]
)
def test_what_is_no_id_is_a_usage_error(text: str) -> None:
    with pytest.raises(UsageError, match="is no hub id; allowed: hf://owner/name/subfolder@revision"):
        parse(text)
