"""One policy for every provider: what is asked again, how long to wait, when to stop.

A provider's file brings a `Client` that makes single attempts; how fast they may follow each other is `_rate`'s, the
rest is here. All attempts of the process are made from one event loop, so that limits hold whoever asks. Knows no SDK
and no ledger.
"""

from __future__ import annotations

import asyncio
import logging
import random
import threading
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import NamedTuple, Protocol

from labeling.errors import FeatlasError, UsageError
from labeling.llm._background import run_in_background
from labeling.llm._endpoint import Endpoint
from labeling.llm._faults import Fault, unreachable_message
from labeling.llm._gate import Gate
from labeling.llm._headers import read_limits
from labeling.llm._rate import NOTHING, Cost, Feedback, Pace, RateLimits
from labeling.llm._workers import run_bounded
from labeling.types import Completion, CompletionFailure, LLMRequest, LLMResult

log = logging.getLogger(__name__)

UNHEARD = ("unreachable", "timeout", "connection_lost")
"""Faults that do not show that there is a server."""
TRIES_TO_FIND_SERVER = 3
OVERLOADED = ("rate_limited", "overloaded")
"""Faults that tell to ask more slowly."""
CHARACTERS_PER_TOKEN = 4


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


class Reply(NamedTuple):
    """What one attempt brought."""

    outcome: Completion | Fault
    headers: Mapping[str, str] = {}
    """Of the HTTP answer, where there was one."""


class Client(Protocol):
    """An open connection to one provider. It makes single attempts and never retries."""

    async def send(self, request: LLMRequest) -> Reply:
        """Raise FeatlasError only for what no request can survive."""

    async def close(self) -> None: ...


@dataclass
class _Session:
    """What the calls that run at the same time share."""

    connect: Callable[[], Client]
    users: int = 0
    client: Client | None = None
    """None until something is sent: SDKs take a second to load."""
    heard: bool = False
    """Whether the server has answered anything yet, were it an error."""
    last_heard: float = float("-inf")
    stop: FeatlasError | None = None
    stopped: asyncio.Event = field(default_factory=asyncio.Event)


class Dispatcher:
    """A LanguageModel over one endpoint. Calls may overlap; together they keep to its limits.

    It may be used from any thread and event loop. What it has learned of the provider's limits outlasts a call.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        connect: Callable[[], Client],
        *,
        max_in_flight: int,
        timeout_seconds: float,
        retry: RetryPolicy,
        limits: RateLimits,
    ) -> None:
        if max_in_flight < 1:
            raise UsageError(f"llm.max_in_flight is {max_in_flight}; allowed: 1 or more.")
        self.max_in_flight = max_in_flight
        self._endpoint = endpoint
        self._connect = connect
        self._timeout_seconds = timeout_seconds
        self._retry = retry
        self._gate = Gate(
            Pace(
                max_in_flight=max_in_flight,
                limits=limits,
                longest_pause_seconds=retry.longest_retry_after_seconds,
            )
        )
        self._session: _Session | None = None
        # Jitter must differ between processes, so there is no seed.
        self._random = random.SystemRandom()

    async def complete(self, requests: Sequence[LLMRequest]) -> list[LLMResult]:
        """Requests are taken from the sequence when they are sent, so it may make them then; it is never copied.

        Raise ValueError for a request for another model.
        """
        return await run_in_background(self._complete(requests))

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[None]:
        """Keep the connections open between calls."""
        await run_in_background(self._join())
        try:
            yield
        finally:
            await run_in_background(self._leave())

    async def _complete(self, requests: Sequence[LLMRequest]) -> list[LLMResult]:
        session = await self._join()
        try:
            return await run_bounded(requests, lambda r: self._answer(session, r), workers=self.max_in_flight)
        finally:
            await self._leave()

    async def _join(self) -> _Session:
        if self._session is None:
            self._session = _Session(self._connect)
        self._session.users += 1
        return self._session

    async def _leave(self) -> None:
        session = self._session
        assert session is not None
        session.users -= 1
        if session.users == 0:
            self._session = None
            if session.client is not None:
                await session.client.close()

    async def _answer(self, session: _Session, request: LLMRequest) -> LLMResult:
        """Ask until there is an answer, a fault that repeats itself, or no attempt left."""
        if request.model != self._endpoint.full_name:
            raise ValueError(f"a request for {request.model!r} came to {self._endpoint.full_name!r}")
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
        ticket = await self._gate.enter(estimate(request))
        feedback = NOTHING
        try:
            if session.stop is not None:
                raise session.stop
            started = time.perf_counter()
            outcome, headers = await self._send(session, request)
            feedback = _feedback(outcome, headers)
        finally:
            self._gate.leave(ticket, feedback)
        if not (isinstance(outcome, Fault) and outcome.reason in UNHEARD):
            session.heard, session.last_heard = True, time.monotonic()
        if isinstance(outcome, Completion):
            return replace(outcome, latency_seconds=time.perf_counter() - started)
        return outcome

    async def _send(self, session: _Session, request: LLMRequest) -> Reply:
        session.client = session.client or session.connect()
        try:
            async with asyncio.timeout(self._timeout_seconds):
                return await session.client.send(request)
        except TimeoutError:
            return Reply(Fault("timeout", True, f"no answer within {self._timeout_seconds:g} s"))
        except UnicodeEncodeError as error:
            return Reply(Fault("unsendable", False, f"the prompt holds what UTF-8 cannot write: {error.reason}"))
        except FeatlasError as error:
            self._stop(session, error)
            raise

    def _stop_if_no_server(self, session: _Session, fault: Fault, attempt: int, started: float) -> None:
        """Stop when nothing at all was heard from the server during the attempts of a request."""
        if fault.reason != "unreachable" or session.last_heard > started:
            return
        tries = self._retry.max_attempts if session.heard else min(TRIES_TO_FIND_SERVER, self._retry.max_attempts)
        if attempt >= tries:
            error = FeatlasError(unreachable_message(self._endpoint, fault.detail))
            self._stop(session, error)
            raise error

    def _stop(self, session: _Session, error: FeatlasError) -> None:
        session.stop = session.stop or error
        session.stopped.set()
        self._gate.dismiss(session.stop)


def estimate(request: LLMRequest) -> Cost:
    """Tokens a request takes at most, before anybody has counted them."""
    return Cost((len(request.system) + len(request.user)) // CHARACTERS_PER_TOKEN, request.max_output_tokens)


def _feedback(outcome: Completion | Fault, headers: Mapping[str, str]) -> Feedback:
    answer = outcome.answer if isinstance(outcome, Fault) else outcome
    counts = (None, None) if answer is None else (answer.input_tokens, answer.output_tokens)
    overloaded = isinstance(outcome, Fault) and outcome.reason in OVERLOADED
    return Feedback(
        overloaded=overloaded,
        retry_after_seconds=outcome.retry_after_seconds if isinstance(outcome, Fault) and overloaded else None,
        announced=read_limits(headers, now=time.time()) if headers else {},
        used=None if counts[0] is None or counts[1] is None else Cost(counts[0], counts[1]),
    )


def share_dispatcher(
    endpoint: Endpoint,
    connect: Callable[[], Client],
    *,
    max_in_flight: int,
    timeout_seconds: float,
    retry: RetryPolicy,
    limits: RateLimits,
) -> Dispatcher:
    """The process's one Dispatcher for these arguments; made when they are new."""
    key = (endpoint, max_in_flight, timeout_seconds, retry, limits)
    with _SHARING:
        if key not in _SHARED:
            _SHARED[key] = Dispatcher(
                endpoint,
                connect,
                max_in_flight=max_in_flight,
                timeout_seconds=timeout_seconds,
                retry=retry,
                limits=limits,
            )
        return _SHARED[key]


_SHARED: dict[object, Dispatcher] = {}
_SHARING = threading.Lock()


async def _sleep_until_stopped(session: _Session, seconds: float) -> None:
    """Wait, but not longer than the session runs. Raise the error that stopped it."""
    try:
        async with asyncio.timeout(seconds):
            await session.stopped.wait()
    except TimeoutError:
        return
    if session.stop is not None:
        raise session.stop
