"""OpenAI's Files and Batches: upload, retrieve, content, list and deletion of files; create, retrieve, list and cancel of batches.

A request that was canceled has a line in neither file. All requests of a file must name one model.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import time
from uuid import uuid4

from flows.fake_provider.api import Refused
from flows.fake_provider.asked import TOKEN_CHARACTERS, Asked, text_of
from flows.fake_provider.batches import LIFETIME_SECONDS, Batch, Batches, Note, Outcome, page, read_limit
from flows.fake_provider.faults import Call
from flows.fake_provider.http_server import JSON, Reply, Request, json_reply, read_form

MAX_REQUESTS = 50_000
MAX_BYTES = 200_000_000
ENDPOINT = "/v1/chat/completions"
MOST_METADATA, LONGEST_METADATA_KEY, LONGEST_METADATA_VALUE = 16, 64, 512
EXPIRED = {
    "code": "batch_expired",
    "message": "This request could not be executed before the completion window expired.",
}


@dataclass(frozen=True)
class StoredFile:
    id: str
    filename: str
    purpose: str
    content: bytes
    created_at: int


class FilesAndBatches:
    def __init__(self, batches: Batches, note: Note) -> None:
        self._batches, self._note = batches, note
        self._files: dict[str, StoredFile] = {}
        self._deleted: set[str] = set()

    def find(self, request: Request) -> tuple[Call, Callable[[], Reply]] | None:
        """What is to be done and how; None when the path is none of ours."""
        match (request.method, request.path.removeprefix("/v1/").split("/")):
            case ("POST", ["files"]):
                return "upload", lambda: self._upload(request)
            case ("GET", ["files"]):
                return "files", lambda: self._list_files(request.query)
            case ("DELETE", ["files", name]):
                return "delete", lambda: self._delete(name)
            case ("GET", ["files", name]):
                return "file", lambda: json_reply(200, _show_file(self._file(name)))
            case ("GET", ["files", name, "content"]):
                return "content", lambda: Reply(
                    200, self._file(name).content, {"content-type": "application/octet-stream"}
                )
            case ("POST", ["batches"]):
                return "create", lambda: self._create(request)
            case ("GET", ["batches"]):
                return "list", lambda: self._list(request.query)
            case ("GET", ["batches", name]):
                return "retrieve", lambda: json_reply(200, _show(self._batches.get(name)))
            case ("POST", ["batches", name, "cancel"]):
                return "cancel", lambda: self._cancel(name)
        return None

    def _upload(self, request: Request) -> Reply:
        form = read_form(request)
        purpose, file = form["purpose"].content.decode(), form["file"]
        if purpose != "batch":
            raise Refused(400, f"purpose: {purpose!r} is not served here, only 'batch'")
        if len(file.content) > (self._batches.rules.max_bytes or MAX_BYTES):
            raise Refused(400, "File is too large.")
        stored = StoredFile(f"file-{uuid4().hex[:24]}", file.filename or "upload", purpose, file.content, int(time()))
        self._files[stored.id] = stored
        return json_reply(200, _show_file(stored))

    def files(self) -> list[StoredFile]:
        """All that are kept, the oldest upload first, then what batches wrote."""
        written = [
            StoredFile(name, f"{name}.jsonl", "batch_output", _content(lines_of(batch)), int(batch.reached["ended"]))
            for batch in self._batches.all()
            for id_of, lines_of in ((_output_id, _output_lines), (_error_id, _error_lines))
            if (name := id_of(batch)) is not None
        ]
        return [file for file in (*self._files.values(), *written) if file.id not in self._deleted]

    def _file(self, name: str) -> StoredFile:
        for file in self.files():
            if file.id == name:
                return file
        raise Refused(404, f"No such File object: {name}")

    def _list_files(self, query: Mapping[str, str]) -> Reply:
        files = [file for file in self.files() if query.get("purpose") in (None, file.purpose)]
        return json_reply(
            200, {"object": "list", "data": [_show_file(file) for file in files[::-1]], "has_more": False}
        )

    def _delete(self, name: str) -> Reply:
        self._deleted.add(self._file(name).id)
        return json_reply(200, {"id": name, "object": "file", "deleted": True})

    def _create(self, request: Request) -> Reply:
        wanted = json.loads(request.body)
        if (wanted["endpoint"], wanted["completion_window"]) != (ENDPOINT, "24h"):
            raise Refused(400, f"Only endpoint {ENDPOINT} and completion_window 24h are served here.")
        _check_metadata(wanted.get("metadata") or {})
        file = self._file(wanted["input_file_id"])
        name = self._batches.new_id()
        lines = [line for line in file.content.split(b"\n") if line.strip()]
        problems = find_problems(lines, most=self._batches.rules.max_requests or MAX_REQUESTS)
        problems = problems or self._queue_problems(lines)
        questions = [] if problems else [self._note_line(line, request.headers, name) for line in lines]
        info = {"input_file_id": file.id, "metadata": wanted.get("metadata")}
        batch = Batch(name, questions, info, problems)
        self._batches.add(batch)
        return json_reply(200, _show(batch))

    def _queue_problems(self, lines: list[bytes]) -> list[JSON]:
        """Why there is no room for this file in the queue; empty when there is."""
        most, bodies = self._batches.rules.enqueued_tokens, [json.loads(line)["body"] for line in lines]
        tokens = sum(
            sum(len(text_of(message["content"])) for message in body["messages"]) // TOKEN_CHARACTERS for body in bodies
        )
        if most is None or self._batches.tokens_waiting() + tokens <= most:
            return []
        words = (
            f"Enqueued token limit reached for {bodies[0]['model']}. Limit: {most:,} enqueued tokens. Please try again "
            "once some in_progress batches have been completed."
        )
        return [_problem("token_limit_exceeded", words, None)]

    def _note_line(self, line: bytes, headers: Mapping[str, str], batch: str) -> Asked:
        question = json.loads(line)
        return self._note(question["body"], headers, batch, question["custom_id"])

    def _list(self, query: Mapping[str, str]) -> Reply:
        some, more = page(self._batches.all(), read_limit(query, most=100), query.get("after"))
        shown = [_show(batch) for batch in some]
        ends = (
            {"first_id": shown[0]["id"], "last_id": shown[-1]["id"]} if shown else {"first_id": None, "last_id": None}
        )
        return json_reply(200, {"object": "list", "data": shown, "has_more": more, **ends})

    def _cancel(self, name: str) -> Reply:
        batch = self._batches.get(name)
        self._batches.cancel(batch)
        return json_reply(200, _show(batch))


def find_problems(lines: list[bytes], *, most: int) -> list[JSON]:
    """Why the provider would not work on this file; empty when it would."""
    if not lines:
        return [_problem("empty_file", "The input file is empty.", None)]
    if len(lines) > most:
        return [_problem("too_many_tasks", f"The file has {len(lines)} requests; the maximum is {most}.", None)]
    problems, names, models = [], set(), set()
    for number, line in enumerate(lines, start=1):
        try:
            question = json.loads(line)
            name, url, body = question["custom_id"], question["url"], question["body"]
            models.add(body["model"])
            readable = bool(body["messages"])
        except (ValueError, KeyError, TypeError):
            problems.append(_problem("invalid_json_line", "This line is not a request.", number))
            continue
        if name in names:
            problems.append(_problem("duplicate_custom_id", f"The custom_id {name!r} is not unique.", number))
        if url != ENDPOINT or not readable:
            problems.append(_problem("invalid_url", f"The url {url!r} is not the batch's endpoint.", number))
        if len(models) > 1:
            problems.append(_problem("mismatched_model", "The model is not the one of the other requests.", number))
        names.add(name)
    return problems


def _problem(code: str, message: str, line: int | None) -> JSON:
    return {"code": code, "message": message, "line": line, "param": None}


def _check_metadata(metadata: Mapping[str, str]) -> None:
    fits = all(len(key) <= LONGEST_METADATA_KEY and len(metadata[key]) <= LONGEST_METADATA_VALUE for key in metadata)
    if len(metadata) > MOST_METADATA or not fits:
        raise Refused(400, "metadata: at most 16 pairs, keys of up to 64 characters, values of up to 512")


def _status(batch: Batch) -> str:
    match batch.state:
        case "ended" if batch.count("canceled") or batch.cancel.is_set():
            return "cancelled"
        case "ended" if batch.count("expired"):
            return "expired"
        case "ended":
            return "completed"
        case "canceling":
            return "cancelling"
        case state:
            return state


def _show(batch: Batch) -> JSON:
    status = _status(batch)
    at = {state: int(seconds) for state, seconds in batch.reached.items()}
    ended = at.get("ended")
    return {
        "id": batch.id,
        "object": "batch",
        "endpoint": ENDPOINT,
        "completion_window": "24h",
        "status": status,
        "input_file_id": batch.info["input_file_id"],
        "output_file_id": _output_id(batch),
        "error_file_id": _error_id(batch),
        "errors": {"object": "list", "data": list(batch.problems)} if status == "failed" else None,
        "created_at": int(batch.created_at),
        "expires_at": int(batch.created_at) + LIFETIME_SECONDS,
        "in_progress_at": at.get("in_progress"),
        "finalizing_at": at.get("finalizing"),
        "cancelling_at": at.get("canceling"),
        "failed_at": at.get("failed"),
        "completed_at": ended if status == "completed" else None,
        "expired_at": ended if status == "expired" else None,
        "cancelled_at": ended if status == "cancelled" else None,
        "request_counts": {
            "total": len(batch.questions),
            "completed": batch.count("succeeded"),
            "failed": batch.count("errored") + batch.count("expired"),
        },
        "metadata": batch.info["metadata"],
    }


def _show_file(file: StoredFile) -> JSON:
    return {
        "id": file.id,
        "object": "file",
        "bytes": len(file.content),
        "created_at": file.created_at,
        "filename": file.filename,
        "purpose": file.purpose,
        "status": "processed",
    }


def _output_id(batch: Batch) -> str | None:
    return f"file-out-{batch.id}" if batch.count("succeeded") else None


def _error_id(batch: Batch) -> str | None:
    return f"file-err-{batch.id}" if batch.count("errored") or batch.count("expired") else None


def _content(lines: list[JSON]) -> bytes:
    return "".join(f"{json.dumps(line)}\n" for line in lines).encode()


def _output_lines(batch: Batch) -> list[JSON]:
    return [_line(asked, outcome) for asked, outcome in batch.outcomes if outcome.kind == "succeeded"]


def _error_lines(batch: Batch) -> list[JSON]:
    return [_line(asked, outcome) for asked, outcome in batch.outcomes if outcome.kind in ("errored", "expired")]


def _line(asked: Asked, outcome: Outcome) -> JSON:
    tried = {"status_code": outcome.status, "request_id": asked.digest, "body": outcome.body}
    return {
        "id": f"batch_req_{asked.digest}",
        "custom_id": asked.custom_id,
        "response": tried if outcome.status else None,
        "error": EXPIRED if outcome.kind == "expired" else None,
    }
