"""Shards that wait for a provider run at once: none waits for another, and they stop together."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import dataclass

import pytest

from flows.overlapping import run_overlapping
from labeling.errors import FeatlasError
from labeling.llm import ask
from labeling.types import Completion, LLMRequest, LLMResult
from tests.labeling.llm_builders import requests, texts

PATIENCE_SECONDS = 20
"""Where shards do not overlap, tests fail after this time instead of waiting forever."""


class Patient:
    """Answers when it is told to, and notes who was canceled."""

    def __init__(self) -> None:
        self.told = threading.Event()
        self.asked = threading.Semaphore(0)
        self.canceled = 0

    def was_asked(self) -> bool:
        """Wait until it is asked once more."""
        return self.asked.acquire(timeout=PATIENCE_SECONDS)

    async def complete(self, requests: Sequence[LLMRequest]) -> list[LLMResult]:
        self.asked.release()
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                while not self.told.is_set():
                    await asyncio.sleep(0.01)
        except asyncio.CancelledError:
            self.canceled += 1
            raise
        return [Completion(one.user, "stop", 1, 0, 1, 0.5) for one in requests]


@dataclass(frozen=True)
class Shard:
    number: int


def test_a_shard_with_a_slow_answer_holds_up_no_other() -> None:
    slow = Patient()

    def work(shard: Shard) -> int:
        if shard.number == 0:
            ask(slow, requests(1))
        elif shard.number == 5:
            slow.told.set()  # nothing but shard 5 lets shard 0 end
        return shard.number

    done = [result for _, result in run_overlapping(work, [Shard(n) for n in range(6)], at_once=2)]
    assert sorted(done) == list(range(6))
    assert done[:4] == [1, 2, 3, 4]


def test_no_more_shards_than_allowed_are_under_way() -> None:
    lock, under_way, most = threading.Lock(), 0, 0
    together = threading.Barrier(3, timeout=10)

    def work(shard: Shard) -> None:
        nonlocal under_way, most
        with lock:
            under_way += 1
            most = max(most, under_way)
        together.wait()
        with lock:
            under_way -= 1

    assert len(list(run_overlapping(work, [Shard(n) for n in range(9)], at_once=3))) == 9
    assert most == 3


def test_jobs_see_the_variables_of_the_one_who_started_them() -> None:
    variable = ContextVar("variable", default="nothing")
    variable.set("flow run")
    found = run_overlapping(lambda shard: variable.get(), [Shard(0), Shard(1)], at_once=2)
    assert [result for _, result in found] == ["flow run", "flow run"]


def test_an_error_to_mend_waits_for_what_is_paid_for_and_starts_nothing_more() -> None:
    slow, recorded = Patient(), list[tuple[int, int]]()

    def work(shard: Shard) -> int:
        if shard.number == 1:
            assert slow.was_asked()
            threading.Timer(0.1, slow.told.set).start()
            raise FeatlasError("mend it")
        return len(texts(ask(slow, requests(2))))

    def record() -> None:
        for shard, answers in run_overlapping(work, [Shard(0), Shard(1), Shard(2)], at_once=2):
            recorded.append((shard.number, answers))

    with pytest.raises(FeatlasError, match="mend it"):
        record()
    assert (recorded, slow.canceled) == ([(0, 2)], 0)


def test_a_crash_gives_up_what_the_others_have_asked_and_would_ask() -> None:
    slow, later = Patient(), Patient()

    def work(shard: Shard) -> None:
        if shard.number == 1:
            assert slow.was_asked()
            raise ValueError("crashed")
        with pytest.raises(asyncio.CancelledError):
            ask(slow, requests(1))
        with pytest.raises(asyncio.CancelledError):
            ask(later, requests(1))

    with pytest.raises(ValueError, match="crashed"):
        list(run_overlapping(work, [Shard(0), Shard(1)], at_once=2))
    assert slow.canceled == 1
    assert not later.asked.acquire(blocking=False)


def test_an_interrupt_stops_all_shards_at_once() -> None:
    slow = Patient()

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    def interrupt() -> None:
        if slow.was_asked() and slow.was_asked():
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, stop)
    try:
        threading.Thread(target=interrupt, daemon=True).start()
        with pytest.raises(KeyboardInterrupt):
            list(run_overlapping(lambda shard: ask(slow, requests(1)), [Shard(0), Shard(1)], at_once=2))
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert slow.canceled == 2


def test_whoever_stops_listening_stops_the_shards() -> None:
    slow = Patient()

    def work(shard: Shard) -> int:
        if shard.number:
            assert slow.was_asked()
            return shard.number
        return len(ask(slow, requests(1)))

    results = run_overlapping(work, [Shard(0), Shard(1)], at_once=2)
    assert next(results)[1] == 1
    results.close()  # type: ignore[attr-defined]  # it is a generator
    assert slow.canceled == 1
