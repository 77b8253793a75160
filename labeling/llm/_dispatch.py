"""One policy for every provider: how many requests at once, what is asked again, how long to wait, when to stop.

A provider's file brings a `Client` that makes single attempts; the rest is here. Knows no SDK and no ledger.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Protocol

from labeling.errors import FeatlasError, UsageError
from labeling.llm._endpoint import Endpoint
from labeling.llm._faults import Fault, unreachable_message
from labeling.llm._workers import run_bounded
from labeling.types import Completion, CompletionFailure, LLMRequest, LLMResult

log = logging.getLogger(__name__)

UNHEARD = ("unreachable", "timeout", "connection_lost")
"""Faults that do not show that there is a server."""
TRIES_TO_FIND_SERVER = 3


@dataclass(frozen=True)
class RetryPolicy:
    """When and how long to wait before the same request is sent again."""

    max_attempts: int = 8
    first_wait_seconds: float = 0.5
    longest_wait_seconds: float = 30.0
    longest_retry_after_seconds: float = 120.0
    """A server's `retry-after` is obeyed up to this."""

    def wait_seconds(self, attempt: int, retry_after: float | None, jitter: float) -> float:
        """Wait after failed attempt number `attempt` (1-based). `jitter` 0-1 spreads requests that failed together."""
        backoff = min(self.first_wait_seconds * 2.0 ** (attempt - 1), self.longest_wait_seconds)
        if retry_after is None:
            return backoff * (0.5 + 0.5 * jitter)
        return min(retry_after, self.longest_retry_after_seconds) + 0.1 * backoff * jitter


DEFAULT_RETRY = RetryPolicy()


class Client(Protocol):
    """An open connection to one provider. It makes single attempts and never retries."""

    async def send(self, request: LLMRequest) -> Completion | Fault:
        """Raise FeatlasError only for what no request can survive."""

    async def close(self) -> None: ...


@dataclass
class _Session:
    """What the calls that run at the same time in one event loop share."""

    client: Client
    slots: asyncio.Semaphore
    users: int = 0
    heard: bool = False
    """Whether the server has answered anything yet, were it an error."""
    last_heard: float = float("-inf")
    stop: FeatlasError | None = None
    stopped: asyncio.Event = field(default_factory=asyncio.Event)


class Dispatcher:
    """A LanguageModel over one endpoint. Calls may overlap; together they keep at most `max_in_flight` in flight."""

    def __init__(
        self,
        endpoint: Endpoint,
        connect: Callable[[], Client],
        *,
        max_in_flight: int,
        timeout_seconds: float,
        retry: RetryPolicy,
    ) -> None:
        if max_in_flight < 1:
            raise UsageError(f"llm.max_in_flight is {max_in_flight}; allowed: 1 or more.")
        self.max_in_flight = max_in_flight
        self._endpoint = endpoint
        self._connect = connect
        self._timeout_seconds = timeout_seconds
        self._retry = retry
        # An SDK's client belongs to the event loop it was first used in.
        self._sessions: dict[asyncio.AbstractEventLoop, _Session] = {}
        # Jitter must differ between processes, so there is no seed.
        self._random = random.SystemRandom()

    async def complete(self, requests: Sequence[LLMRequest]) -> list[LLMResult]:
        for request in requests:
            if request.model != self._endpoint.full_name:
                raise ValueError(f"a request for {request.model!r} came to {self._endpoint.full_name!r}")
        async with self._session() as session:
            return await run_bounded(requests, lambda r: self._answer(session, r), workers=self.max_in_flight)

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[None]:
        """Keep the connections open between calls."""
        async with self._session():
            yield

    @asynccontextmanager
    async def _session(self) -> AsyncIterator[_Session]:
        loop = asyncio.get_running_loop()
        session = self._sessions.get(loop)
        if session is None:
            session = self._sessions[loop] = _Session(self._connect(), asyncio.Semaphore(self.max_in_flight))
        session.users += 1
        try:
            yield session
        finally:
            session.users -= 1
            if session.users == 0:
                del self._sessions[loop]
                await session.client.close()

    async def _answer(self, session: _Session, request: LLMRequest) -> LLMResult:
        """Ask until there is an answer, a fault that repeats itself, or no attempt left."""
        started = time.monotonic()
        attempt = 0
        while True:
            attempt += 1
            outcome = await self._attempt(session, request)
            if isinstance(outcome, Completion):
                return replace(outcome, attempts=attempt)
            self._stop_if_no_server(session, outcome, attempt, started)
            if not outcome.retryable or attempt >= self._retry.max_attempts:
                return CompletionFailure(outcome.reason, outcome.retryable, outcome.detail, outcome.answer, attempt)
            wait = self._retry.wait_seconds(attempt, outcome.retry_after_seconds, self._random.random())
            log.debug("%s: %s, attempt %d again in %.1f s", request.model, outcome.reason, attempt, wait)
            await _sleep_until_stopped(session, wait)

    async def _attempt(self, session: _Session, request: LLMRequest) -> Completion | Fault:
        async with session.slots:
            if session.stop is not None:
                raise session.stop
            started = time.perf_counter()
            try:
                async with asyncio.timeout(self._timeout_seconds):
                    outcome = await session.client.send(request)
            except TimeoutError:
                outcome = Fault("timeout", True, f"no answer within {self._timeout_seconds:g} s")
            except UnicodeEncodeError as error:
                outcome = Fault("unsendable", False, f"the prompt holds what UTF-8 cannot write: {error.reason}")
            except FeatlasError as error:
                self._stop(session, error)
                raise
        if not (isinstance(outcome, Fault) and outcome.reason in UNHEARD):
            session.heard, session.last_heard = True, time.monotonic()
        if isinstance(outcome, Completion):
            return replace(outcome, latency_seconds=time.perf_counter() - started)
        return outcome

    def _stop_if_no_server(self, session: _Session, fault: Fault, attempt: int, started: float) -> None:
        """Stop when nothing at all was heard from the server during the attempts of a request."""
        if fault.reason != "unreachable" or session.last_heard > started:
            return
        tries = self._retry.max_attempts if session.heard else min(TRIES_TO_FIND_SERVER, self._retry.max_attempts)
        if attempt >= tries:
            error = FeatlasError(unreachable_message(self._endpoint, fault.detail))
            self._stop(session, error)
            raise error

    @staticmethod
    def _stop(session: _Session, error: FeatlasError) -> None:
        session.stop = session.stop or error
        session.stopped.set()


async def _sleep_until_stopped(session: _Session, seconds: float) -> None:
    """Wait, but not longer than the session runs. Raise the error that stopped it."""
    try:
        async with asyncio.timeout(seconds):
            await session.stopped.wait()
    except TimeoutError:
        return
    if session.stop is not None:
        raise session.stop
