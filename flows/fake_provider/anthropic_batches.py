"""Anthropic's Message Batches: create, retrieve, list, cancel, results."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Mapping

from flows.fake_provider.anthropic_api import rfc3339
from flows.fake_provider.api import Refused
from flows.fake_provider.batches import LIFETIME_SECONDS, Batch, Batches, Note, Outcome, page, read_limit
from flows.fake_provider.faults import Call
from flows.fake_provider.http_server import JSON, Reply, Request, json_reply

PATH = "/v1/messages/batches"
MAX_REQUESTS = 100_000
MAX_BYTES = 256_000_000
CUSTOM_ID = re.compile(r"[a-zA-Z0-9_-]{1,64}")


class MessageBatches:
    def __init__(self, batches: Batches, note: Note, *, url: str) -> None:
        self._batches, self._note, self._url = batches, note, url

    def find(self, request: Request) -> tuple[Call, Callable[[], Reply]] | None:
        """What is to be done and how; None when the path is none of ours."""
        name, _, act = request.path.removeprefix(PATH).removeprefix("/").partition("/")
        match (request.method, bool(name), act):
            case ("POST", False, ""):
                return "create", lambda: self._create(request)
            case ("GET", False, ""):
                return "list", lambda: self._list(request.query)
            case ("GET", True, ""):
                return "retrieve", lambda: json_reply(200, self._show(self._batches.get(name)))
            case ("POST", True, "cancel"):
                return "cancel", lambda: self._cancel(name)
            case ("GET", True, "results"):
                return "results", lambda: self._results(name)
        return None

    def _create(self, request: Request) -> Reply:
        rules = self._batches.rules
        if len(request.body) > (rules.max_bytes or MAX_BYTES):
            raise Refused(413, "Request exceeds the maximum size")
        asked = json.loads(request.body)["requests"]
        most = rules.max_requests or MAX_REQUESTS
        if not asked:
            raise Refused(400, "requests: List should have at least 1 item after validation, not 0")
        if len(asked) > most:
            raise Refused(400, f"requests: List should have at most {most} items after validation, not {len(asked)}")
        _check_names([one["custom_id"] for one in asked])
        name = self._batches.new_id()
        questions = [self._note(one["params"], request.headers, name, one["custom_id"]) for one in asked]
        batch = Batch(name, questions)
        self._batches.add(batch)
        return json_reply(200, self._show(batch))

    def _list(self, query: Mapping[str, str]) -> Reply:
        batches = self._batches.all()
        before = query.get("before_id")
        # What comes before an id is what comes after it in the reversed list.
        some, more = page(
            batches[::-1] if before else batches, read_limit(query, most=1000), before or query.get("after_id")
        )
        shown = [self._show(batch) for batch in (some[::-1] if before else some)]
        ends = (
            {"first_id": shown[0]["id"], "last_id": shown[-1]["id"]} if shown else {"first_id": None, "last_id": None}
        )
        return json_reply(200, {"data": shown, "has_more": more, **ends})

    def _cancel(self, name: str) -> Reply:
        batch = self._batches.get(name)
        self._batches.cancel(batch)
        return json_reply(200, self._show(batch))

    def _results(self, name: str) -> Reply:
        batch = self._batches.get(name)
        if batch.state != "ended":
            raise Refused(404, f"Batch {name} has not ended: there are no results yet.")
        lines = [
            json.dumps({"custom_id": asked.custom_id, "result": _result(outcome)}) for asked, outcome in batch.outcomes
        ]
        body = "".join(f"{line}\n" for line in lines).encode()
        return Reply(200, body, {"content-type": "application/x-jsonl"})

    def _show(self, batch: Batch) -> JSON:
        ended, canceled = batch.reached.get("ended"), batch.reached.get("canceling")
        status = "ended" if ended else "canceling" if batch.state == "canceling" else "in_progress"
        kinds = ("succeeded", "errored", "canceled", "expired")
        return {
            "id": batch.id,
            "type": "message_batch",
            "processing_status": status,
            "request_counts": {
                "processing": 0 if ended else len(batch.questions),
                **{kind: batch.count(kind) for kind in kinds},
            },
            "created_at": rfc3339(batch.created_at),
            "expires_at": rfc3339(batch.created_at + LIFETIME_SECONDS),
            "ended_at": rfc3339(ended) if ended else None,
            "cancel_initiated_at": rfc3339(canceled) if canceled else None,
            "archived_at": None,
            "results_url": f"{self._url}{PATH}/{batch.id}/results" if ended else None,
        }


def _check_names(names: list[str]) -> None:
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise Refused(400, f"requests: custom_id {twice[0]!r} is not unique")
    for number, name in enumerate(names):
        if not CUSTOM_ID.fullmatch(name):
            raise Refused(400, f"requests.{number}.custom_id: String should match pattern '^[a-zA-Z0-9_-]{{1,64}}$'")


def _result(outcome: Outcome) -> JSON:
    match outcome.kind:
        case "succeeded":
            return {"type": "succeeded", "message": outcome.body}
        case "errored":
            return {"type": "errored", "error": outcome.body}
        case kind:
            return {"type": kind}
