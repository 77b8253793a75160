"""The life of a batch, for both APIs: it waits, is worked on, and ends with an outcome for every request.

Knows nothing of how an API writes any of it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Literal
from uuid import uuid4

from flows.fake_provider.api import Refused
from flows.fake_provider.asked import Asked
from flows.fake_provider.http_server import JSON

State = Literal["validating", "in_progress", "finalizing", "canceling", "ended", "failed"]
"""The last two are for ever."""
Note = Callable[[JSON, Mapping[str, str], str, str], Asked]
"""From body, headers, batch and custom id to a question that counts as asked."""
LIFETIME_SECONDS = 24 * 3600
PAUSE_EVERY = 200
"""Answers to give before others get a turn."""


@dataclass(frozen=True)
class Outcome:
    """How one request of a batch ended."""

    kind: Literal["succeeded", "errored", "canceled", "expired"]
    status: int = 0
    """HTTP status that it would have had; 0 where nothing was tried."""
    body: JSON = None
    """Answer or error, as the API writes it."""


@dataclass(frozen=True)
class BatchRules:
    """How long batches take and what they may hold."""

    seconds: float
    """From creation to end."""
    cancel_seconds: float
    """From cancellation to end."""
    done_at_cancel: float
    """Share of the requests that were done before the cancellation, 0-1."""
    max_requests: int | None
    """None is the API's own limit."""
    max_bytes: int | None
    enqueued_tokens: int | None = None
    """Prompt tokens that may wait in all batches together; None is no limit. Only OpenAI's batches are refused for it."""


@dataclass
class Batch:
    """A batch and what has become of it."""

    id: str
    questions: Sequence[Asked]
    info: Mapping[str, JSON] = field(default_factory=dict)
    """What the API tells again: metadata, input file."""
    problems: Sequence[JSON] = ()
    """Why the input can't be worked on."""
    created_at: float = field(default_factory=time.time)
    """This and the other times in Unix seconds."""
    state: State = "validating"
    reached: dict[State, float] = field(default_factory=dict)
    """When it got into each state."""
    outcomes: list[tuple[Asked, Outcome]] = field(default_factory=list)
    """In the order they are told, which is not the order of the questions. Complete in the end, empty before."""
    cancel: asyncio.Event = field(default_factory=asyncio.Event)

    def enter(self, state: State) -> None:
        self.state = state
        self.reached[state] = time.time()

    def count(self, kind: str) -> int:
        return sum(outcome.kind == kind for _, outcome in self.outcomes)


class Batches:
    """All batches of one API, newest first."""

    def __init__(self, answer: Callable[[Asked], Outcome], rules: BatchRules, *, prefix: str) -> None:
        self._answer, self._prefix = answer, prefix
        self.rules = rules
        self._by_id: dict[str, Batch] = {}
        self._work: set[asyncio.Task[None]] = set()

    def new_id(self) -> str:
        return f"{self._prefix}_{uuid4().hex[:24]}"

    def add(self, batch: Batch) -> None:
        self._by_id[batch.id] = batch
        task = asyncio.get_running_loop().create_task(self._live(batch))
        self._work.add(task)
        task.add_done_callback(self._work.discard)

    def all(self) -> list[Batch]:
        return list(reversed(self._by_id.values()))

    def tokens_waiting(self) -> int:
        """Prompt tokens of all batches that have not ended."""
        waiting = [batch for batch in self._by_id.values() if batch.state not in ("ended", "failed")]
        return sum(asked.input_tokens for batch in waiting for asked in batch.questions)

    def get(self, name: str) -> Batch:
        if name not in self._by_id:
            raise Refused(404, f"No batch found with id '{name}'.")
        return self._by_id[name]

    def cancel(self, batch: Batch) -> None:
        if batch.state in ("ended", "failed"):
            raise Refused(400, f"Batch {batch.id} has ended and cannot be canceled.")
        if not batch.cancel.is_set():
            batch.enter("canceling")
            batch.cancel.set()

    async def _live(self, batch: Batch) -> None:
        seconds, order = self.rules.seconds, shuffled(batch.questions)
        canceled = await _set_within(batch.cancel, seconds * 0.1)
        if batch.problems:
            return batch.enter("failed")
        if not canceled:
            batch.enter("in_progress")
            canceled = await _set_within(batch.cancel, seconds * 0.8)
        if not canceled:
            batch.enter("finalizing")
            canceled = await _set_within(batch.cancel, seconds * 0.1)
        if canceled:
            await asyncio.sleep(self.rules.cancel_seconds)
        done = int(len(order) * self.rules.done_at_cancel) if canceled else len(order)
        outcomes = await self._answer_all(order[:done])
        outcomes += [Outcome("canceled")] * (len(order) - done)
        batch.outcomes = list(zip(order, outcomes, strict=True))
        batch.enter("ended")

    async def _answer_all(self, questions: Sequence[Asked]) -> list[Outcome]:
        outcomes = []
        for number, asked in enumerate(questions):
            if number % PAUSE_EVERY == 0:
                await asyncio.sleep(0)
            outcomes.append(self._answer(asked))
        return outcomes


async def _set_within(event: asyncio.Event, seconds: float) -> bool:
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except TimeoutError:
        return False
    return True


def shuffled(questions: Sequence[Asked]) -> list[Asked]:
    """Another order, and always the same one."""
    order = list(questions)
    Random(len(order)).shuffle(order)
    return order[::-1] if order == list(questions) else order


def read_limit(query: Mapping[str, str], *, most: int) -> int:
    """Objects on a page of a list, 20 where it is not said."""
    limit = query.get("limit", "20")
    if not limit.isdigit() or not 1 <= int(limit) <= most:
        raise Refused(400, f"limit: {limit!r} is not between 1 and {most}")
    return int(limit)


def page(batches: Sequence[Batch], limit: int, after: str | None) -> tuple[list[Batch], bool]:
    """The batches that follow `after`, and whether there are more."""
    names = [batch.id for batch in batches]
    if after is not None and after not in names:
        raise Refused(400, f"No batch found with id '{after}' to list from.")
    rest = batches[names.index(after) + 1 :] if after is not None else batches
    return list(rest[:limit]), len(rest) > limit
