"""One event loop for all threads: calls overlap, share limits, and are interrupted one by one."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from flows.fake_provider import LoopbackProvider
from labeling.errors import FeatlasError
from labeling.ledger import Ledger
from labeling.ledger_model import LedgerModel
from labeling.llm import ask, connect
from labeling.llm._clients import CONNECTIONS_EACH, Clients
from labeling.llm._gate import Gate
from labeling.llm._rate import NOTHING, UNLIMITED, Cost, Feedback, Pace, RateLimits
from labeling.types import Completion, LLMRequest, LLMResult
from tests.labeling.llm_builders import KEY, KEY_NAMES, request, requests, texts, tiny

ONE = Cost(1, 1)


@pytest.fixture(autouse=True)
def _keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in KEY_NAMES:
        monkeypatch.setenv(variable, KEY)


class Counted(Sequence[LLMRequest]):
    """Makes requests when asked for them, and counts how many live at once and were made."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.made = 0

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> LLMRequest:  # type: ignore[override]  # no slices are taken
        if index >= 40:
            raise FeatlasError("enough")
        self.made += 1
        return request(f"question {index}")


class Slow:
    """Answers after a while, and notes what was cancelled."""

    def __init__(self) -> None:
        self.cancelled = 0
        self.started = threading.Event()

    async def complete(self, requests: Sequence[LLMRequest]) -> list[LLMResult]:
        self.started.set()
        try:
            await asyncio.sleep(0.5)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return [Completion(one.user, "stop", 1, 0, 1, 0.5) for one in requests]


def test_threads_that_ask_at_once_overlap_and_share_the_limit() -> None:
    with LoopbackProvider(latency_seconds=0.05) as provider, ThreadPoolExecutor(4) as threads:
        several = [[request(f"{thread} {number}") for number in range(4)] for thread in range(4)]
        answers = list(threads.map(lambda one: ask(tiny(provider, max_in_flight=3), one), several))
    assert [len(texts(one)) for one in answers] == [4, 4, 4, 4]
    assert provider.most_in_flight == 3


def test_models_with_equal_arguments_are_one_and_others_are_not() -> None:
    address = "http://127.0.0.1:9/v1"
    model = connect("openai/tiny", base_url=address)
    assert connect("openai/tiny", base_url=address) is model
    assert connect("openai/tiny", base_url=address, max_in_flight=2) is not model
    assert connect("openai/tiny", base_url=address, limits=RateLimits(60)) is not model
    assert connect("openai/other", base_url=address) is not model


def test_another_key_is_another_model(monkeypatch: pytest.MonkeyPatch) -> None:
    model = connect("openai/tiny")
    monkeypatch.setenv("OPENAI_API_KEY", KEY + "1")
    assert connect("openai/tiny") is not model


def test_an_interrupt_cancels_what_its_thread_has_asked_and_nothing_else() -> None:
    interrupted, other = Slow(), Slow()

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    def interrupt() -> None:
        interrupted.started.wait()
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, stop)
    try:
        with ThreadPoolExecutor(2) as threads:
            answers = threads.submit(ask, other, requests(2))
            threads.submit(interrupt)
            with pytest.raises(KeyboardInterrupt):
                ask(interrupted, requests(1))
            assert len(texts(answers.result())) == 2
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert (interrupted.cancelled, other.cancelled) == (1, 0)


def test_asking_from_within_an_answer_is_refused_instead_of_waited_for_forever() -> None:
    class Nested:
        async def complete(self, requests: Sequence[LLMRequest]) -> list[LLMResult]:
            return ask(Slow(), requests)

    with pytest.raises(RuntimeError, match=r"await model\.complete"):
        ask(Nested(), requests(1))


def test_requests_are_made_when_their_turn_comes() -> None:
    some = Counted(1_000_000)
    with LoopbackProvider() as provider, pytest.raises(FeatlasError, match="enough"):
        ask(tiny(provider), some)
    assert some.made == 40


@pytest.mark.parametrize("size", [40, 1_200])
def test_the_ledger_makes_requests_block_by_block(size: int, tmp_path: Path) -> None:
    class Endless(Counted):
        def __getitem__(self, index: int) -> LLMRequest:  # type: ignore[override]
            self.made += 1
            return request(f"question {index % 600}")

    class Watching:
        max_in_flight = 1
        most_ahead = 0
        asked = 0

        async def complete(self, requests: Sequence[LLMRequest]) -> list[LLMResult]:
            self.most_ahead = max(self.most_ahead, some.made - self.asked)
            self.asked += 1
            return [Completion(one.user, "stop", 1, 0, 1, 0.1) for one in requests]

    some, inner = Endless(size), Watching()
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        model = LedgerModel(inner, ledger)
        answers = texts(ask(model, some))
    assert answers == [f"question {index % 600}" for index in range(size)]
    assert inner.asked == min(size, 600)
    assert inner.most_ahead <= 500


def test_a_pause_ends_at_once_when_the_run_is_stopped() -> None:
    async def stopped() -> float:
        gate = Gate(Pace(max_in_flight=2, limits=UNLIMITED, longest_pause_seconds=60))
        gate.leave(await gate.enter(ONE), Feedback(overloaded=True, retry_after_seconds=60))
        waiting = asyncio.create_task(gate.enter(ONE))
        await asyncio.sleep(0)
        gate.dismiss(FeatlasError("stop"))
        started = time.monotonic()
        with pytest.raises(FeatlasError, match="stop"):
            await waiting
        return time.monotonic() - started

    assert asyncio.run(stopped()) < 5


def test_a_place_given_to_somebody_who_left_meanwhile_is_free_again() -> None:
    async def leave_early() -> None:
        gate = Gate(Pace(max_in_flight=1, limits=UNLIMITED, longest_pause_seconds=60))
        ticket = await gate.enter(ONE)
        gone = asyncio.create_task(gate.enter(ONE))
        await asyncio.sleep(0)
        gate.leave(ticket, NOTHING)  # lets `gone` in
        gone.cancel()
        await asyncio.gather(gone, return_exceptions=True)
        async with asyncio.timeout(5):
            await gate.enter(ONE)

    asyncio.run(leave_early())


def test_clients_are_opened_when_all_have_enough_under_way() -> None:
    class Fake:
        async def close(self) -> None: ...

    clients = Clients(Fake)
    entered = [clients.one() for _ in range(CONNECTIONS_EACH + 1)]
    got = [one.__enter__() for one in entered]
    assert len(set(map(id, got))) == 2
    entered[3].__exit__(None, None, None)
    with clients.one() as client:
        assert client is got[0]


AFTER_A_QUERY = """
import asyncio, os, signal, sys, threading
import polars as pl
from concurrent.futures import ThreadPoolExecutor
from flows.overlapping import run_overlapping
from labeling.llm import ask

class Slow:
    canceled = 0
    async def complete(self, requests):
        try:
            await asyncio.sleep(10)
        except asyncio.CancelledError:
            Slow.canceled += 1
            raise
        return []

pl.DataFrame({"a": [1, 2]}).lazy().filter(pl.col("a") > 1).collect()
threading.Timer(1, os.kill, (os.getpid(), signal.SIGINT)).start()
try:
    ask(Slow(), []) if sys.argv[1] == "one" else list(run_overlapping(lambda _: ask(Slow(), []), [1, 2], at_once=2))
except KeyboardInterrupt:
    print("interrupted", Slow.canceled)
"""


@pytest.mark.parametrize(("how", "canceled"), [("one", 1), ("overlapping", 2)])
def test_ctrl_c_ends_a_wait_although_polars_has_put_its_own_handler_in_front(how: str, canceled: int) -> None:
    command = [sys.executable, "-c", AFTER_A_QUERY, how]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.split() == ["interrupted", str(canceled)], done.stderr
