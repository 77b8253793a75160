"""Places among the requests under way: earlier calls first, and none is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from labeling.errors import FeatlasError
from labeling.ledger import Ledger
from labeling.ledger_model import LedgerModel
from labeling.llm import ask
from labeling.llm._slots import Slots
from labeling.types import Completion, LLMRequest, LLMResult
from tests.labeling.llm_builders import request


def test_earlier_calls_come_first_and_equal_ones_in_turn() -> None:
    async def order() -> list[str]:
        slots, seen = Slots(1), list[str]()
        first, second = slots.new_rank(), slots.new_rank()

        async def hold(rank: int, name: str) -> None:
            async with slots.one(rank):
                seen.append(name)
                await asyncio.sleep(0)

        async with slots.one(second):
            held = [
                asyncio.create_task(hold(rank, name))
                for rank, name in ((second, "b1"), (first, "a1"), (second, "b2"), (first, "a2"))
            ]
            await asyncio.sleep(0)
        await asyncio.gather(*held)
        return seen

    assert asyncio.run(order()) == ["a1", "a2", "b1", "b2"]


def test_places_of_those_who_left_are_given_on() -> None:
    async def leave() -> None:
        slots = Slots(1)
        rank = slots.new_rank()

        async def hold() -> None:
            async with slots.one(rank):
                pass

        async with slots.one(rank):
            waiting, given = asyncio.create_task(hold()), asyncio.create_task(hold())
            await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.sleep(0)
        given.cancel()  # it has the place already and does not know yet
        await asyncio.gather(waiting, given, return_exceptions=True)
        async with asyncio.timeout(5):
            await hold()

    asyncio.run(leave())


class Counting:
    """Takes three requests at once; notes how many the ledger holds as sent meanwhile."""

    max_in_flight = 3

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self.most_sent = 0

    async def complete(self, requests: Sequence[LLMRequest]) -> list[LLMResult]:
        await asyncio.sleep(0.01)
        self.most_sent = max(self.most_sent, self._ledger.summary().sent)
        return [Completion(one.user, "stop", 1, 0, 1, 0.1) for one in requests]

    def connected(self) -> Connected:
        return Connected()


class Connected:
    async def __aenter__(self) -> None: ...

    async def __aexit__(self, *_: object) -> None: ...


def test_no_more_requests_count_as_sent_than_may_be_under_way(tmp_path: Path) -> None:
    with Ledger(tmp_path / "ledger.sqlite") as watched, ThreadPoolExecutor(4) as threads:
        inner = Counting(watched)

        def shard(number: int) -> int:
            with Ledger(watched.path) as ledger:
                return len(ask(LedgerModel(inner, ledger), [request(f"{number} {n}") for n in range(12)]))

        assert list(threads.map(shard, range(4))) == [12] * 4
    assert inner.most_sent == 3


def test_second_questions_come_before_the_first_ones_of_later_shards(tmp_path: Path) -> None:
    class Noting:
        """Takes eight requests at once, and notes them in order."""

        max_in_flight = 8

        def __init__(self) -> None:
            self.seen: list[str] = []

        async def complete(self, requests: Sequence[LLMRequest]) -> list[LLMResult]:
            self.seen += [one.user for one in requests]
            await asyncio.sleep(0.02)
            return [Completion(one.user, "stop", 1, 0, 1, 0.1) for one in requests]

        def connected(self) -> Connected:
            return Connected()

    async def shards(ledger: Ledger, inner: Noting) -> None:
        early, late = LedgerModel(inner, ledger), LedgerModel(inner, ledger)

        async def twice(model: LedgerModel, name: str) -> None:
            await model.complete([request(f"{name}{number}") for number in range(32)])
            await model.complete([request(f"{name} again")])

        await asyncio.gather(twice(early, "a"), twice(late, "b"))

    inner = Noting()
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        asyncio.run(shards(ledger, inner))
    of_late_before = [asked for asked in inner.seen[: inner.seen.index("a again")] if asked.startswith("b")]
    assert len(of_late_before) < 24  # places that early ones leave free between two requests, and at their end


def test_whoever_waits_for_a_place_when_the_run_is_stopped_sends_nothing(tmp_path: Path) -> None:
    class Broken:
        max_in_flight = 1
        asked = 0

        async def complete(self, requests: Sequence[LLMRequest]) -> list[LLMResult]:
            self.asked += 1
            await asyncio.sleep(0.01)
            raise FeatlasError("no credit")

        def connected(self) -> Connected:
            return Connected()

    broken = Broken()
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        model = LedgerModel(broken, ledger)
        model.max_in_flight = 4  # workers that wait behind the one place
        with pytest.raises(FeatlasError, match="no credit"):
            ask(model, [request(f"{number}") for number in range(8)])
        assert ledger.summary().pending == 8
    assert broken.asked == 1
