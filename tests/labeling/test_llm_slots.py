"""Places among the requests under way: earlier calls first, and none is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from labeling.ledger import Ledger
from labeling.ledger_model import LedgerModel
from labeling.llm import ask
from labeling.llm._slots import Slots
from labeling.types import Completion, LLMRequest, LLMResult
from tests.labeling.llm_builders import request


def test_earlier_calls_come_first_and_equal_ones_in_turn() -> None:
    async def order() -> list[str]:
        slots, seen = Slots(1), list[str]()
        first, second = slots.new_call(), slots.new_call()

        async def hold(call: int, name: str) -> None:
            async with slots.one(call):
                seen.append(name)
                await asyncio.sleep(0)

        async with slots.one(second):
            held = [
                asyncio.create_task(hold(call, name))
                for call, name in ((second, "b1"), (first, "a1"), (second, "b2"), (first, "a2"))
            ]
            await asyncio.sleep(0)
        await asyncio.gather(*held)
        return seen

    assert asyncio.run(order()) == ["a1", "a2", "b1", "b2"]


def test_places_of_those_who_left_are_given_on() -> None:
    async def leave() -> None:
        slots = Slots(1)
        call = slots.new_call()

        async def hold() -> None:
            async with slots.one(call):
                pass

        async with slots.one(call):
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
