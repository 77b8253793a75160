"""The budget: worst cases are set aside before sending, so that no limit is passed however many requests overlap."""

from __future__ import annotations

import asyncio
import random
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from labeling.errors import BudgetReached, UsageError
from labeling.ledger import Ledger
from labeling.ledger_model import LedgerModel
from labeling.llm import ask
from labeling.llm._budget import Budget, prompt_tokens_at_most, worst_cost_usd
from labeling.llm._prices import ModelPrice, Prices
from labeling.llm.scripted import Scripted
from labeling.types import Completion, CompletionFailure, LLMRequest, LLMResult
from tests.labeling.llm_builders import request, requests

PRICES = Prices("2025-11-30", {"openai/tiny": ModelPrice(input=2.0, output=10.0, cached_input=1.0, cache_write=4.0)})
ONE = request("question")
WORST = worst_cost_usd(ONE, PRICES) or 0.0
FREE = CompletionFailure("server_error", retryable=True)


def answer(cost_usd: float, text: str = "yes") -> Completion:
    """An answer that costs as much by its output tokens alone."""
    return Completion(text, "stop", 0, 0, max(1, round(cost_usd * 100_000)), 0.1)


def budget(max_cost_usd: float | None = None, max_requests: int | None = None) -> Budget:
    return Budget(max_cost_usd, max_requests, PRICES)


def test_the_worst_case_is_the_whole_prompt_at_the_dearest_price_with_a_full_answer() -> None:
    assert worst_cost_usd(ONE, PRICES) == pytest.approx((prompt_tokens_at_most(ONE) * 4.0 + 100 * 10.0) / 1_000_000)
    assert worst_cost_usd(replace(ONE, model="openai/other"), PRICES) is None


def test_prompt_tokens_are_bytes_over_three_of_everything_that_is_sent() -> None:
    bare = LLMRequest("openai/tiny", "", "", {}, 1, "label")
    assert prompt_tokens_at_most(bare) == 1  # the schema {} is sent too
    assert prompt_tokens_at_most(replace(bare, user="abcdef", system="a")) == 3
    assert prompt_tokens_at_most(replace(bare, user="東京")) == 3


def test_requests_that_are_under_way_count_with_their_worst_case() -> None:
    two = budget(2.5 * WORST)
    two.reserve(ONE)
    two.reserve(ONE)
    with pytest.raises(BudgetReached, match=r"llm\.max_cost"):
        two.reserve(ONE)


def test_what_costs_less_than_its_worst_case_makes_room() -> None:
    small = budget(1.5 * WORST)
    first = small.reserve(ONE)
    assert small.try_reserve(ONE) is None
    small.settle(first, answer(0.1 * WORST))
    assert small.try_reserve(ONE) is not None


def test_once_reached_nothing_fits_any_more() -> None:
    small = budget(WORST, 10)
    small.reserve(ONE)
    with pytest.raises(BudgetReached):
        small.reserve(ONE)
    with pytest.raises(BudgetReached):
        small.try_reserve(replace(ONE, user="", max_output_tokens=1))


def test_requests_are_counted_and_those_not_sent_are_given_back() -> None:
    two = budget(max_requests=2)
    two.settle(two.reserve(ONE), None)
    two.reserve(ONE)
    two.reserve(replace(ONE, model="openai/other"))  # no limit of cost, so no price is needed
    with pytest.raises(BudgetReached, match="limit of 2 requests") as reached:
        two.reserve(ONE)
    assert reached.value.exit_code == 4


@pytest.mark.parametrize(
    ("result", "cost", "unsure"),
    [
        (answer(0.25), 0.25, 0.0),
        (CompletionFailure("truncated", retryable=False, answer=answer(0.25)), 0.25, 0.0),
        (CompletionFailure("refused", retryable=False, answer=answer(0.25)), 0.25, 0.0),
        (CompletionFailure("server_error", retryable=True), 0.0, 0.0),
        (CompletionFailure("timeout", retryable=True), WORST, WORST),
        (None, 0.0, 0.0),
    ],
)
def test_what_was_billed_is_spent_whatever_became_of_it(result: LLMResult | None, cost: float, unsure: float) -> None:
    plenty = budget(10.0)
    reservation = plenty.reserve(ONE)
    plenty.settle(reservation, result)
    plenty.settle(reservation, result)
    assert plenty.spent().cost_usd == pytest.approx(cost)
    assert plenty.spent().unsure_usd == pytest.approx(unsure)


def test_an_answer_whose_tokens_nobody_counted_is_spent_as_its_worst_case() -> None:
    small = budget(1.5 * WORST)
    small.settle(small.reserve(ONE), Completion("yes", "stop", None, None, None, 0.1))
    assert (small.spent().cost_usd, small.spent().unsure_usd) == (WORST, WORST)
    with pytest.raises(BudgetReached):
        small.reserve(ONE)


def test_half_the_price_is_half_the_worst_case_and_half_the_cost() -> None:
    batches = budget(WORST)
    first, _ = batches.reserve(ONE, price_share=0.5), batches.reserve(ONE, price_share=0.5)
    batches.settle(first, replace(answer(0.01), batch=True))
    assert batches.spent().cost_usd == pytest.approx(0.005)


def test_a_model_without_a_price_is_refused_where_cost_is_limited() -> None:
    with pytest.raises(UsageError, match=r"openai/other.*llm\.prices") as refused:
        budget(1.0).check(["openai/tiny", "openai/other"])
    assert "\n" not in str(refused.value)
    budget(None, 5).check(["openai/other"])
    free = PRICES.with_own(Prices("", {"openai/other": ModelPrice(0, 0, 0, 0)}))
    Budget(1.0, None, free).check(["openai/other"])


def test_a_cost_that_is_not_known_is_not_zero() -> None:
    unknown = budget(None, 5)
    unknown.settle(unknown.reserve(replace(ONE, model="openai/other")), answer(0.1))
    assert unknown.spent().cost_usd is None
    assert "an unknown sum" in unknown.message()


def test_an_answer_without_token_counts_counts_as_its_worst_case() -> None:
    small = budget(10 * WORST)
    small.settle(small.reserve(ONE), replace(answer(0.0), input_tokens=None, output_tokens=None))
    spent = small.spent()
    assert [spent.requests, spent.cost_usd, spent.unsure_usd] == pytest.approx([1, WORST, WORST])


class Meter:
    """Answers at random costs up to the worst case, and notes the most that was ever spent or under way."""

    def __init__(self, limit: Budget) -> None:
        self.random = random.Random(3)
        self.spent = 0.0
        self.budget = limit

    async def ask(self, asked: LLMRequest) -> None:
        reservation = await self.budget.wait_for_room(asked)
        await asyncio.sleep(self.random.random() * 0.002)
        cost = self.random.choice([0.0, 0.3, 1.0]) * WORST
        self.spent += (answer(cost).output_tokens or 0) / 100_000
        self.budget.settle(reservation, answer(cost))


def test_many_tasks_at_once_never_pass_the_limit_and_use_most_of_it() -> None:
    limit = 40 * WORST
    meter = Meter(budget(limit))

    async def run() -> list[BaseException | None]:
        return await asyncio.gather(*(meter.ask(one) for one in [ONE] * 300), return_exceptions=True)

    ended = asyncio.run(run())
    assert {type(error) for error in ended} == {type(None), BudgetReached}
    assert limit - 2 * WORST < meter.spent <= limit
    assert meter.budget.spent().cost_usd == pytest.approx(meter.spent)


def test_many_threads_at_once_never_pass_the_limit() -> None:
    shared, granted = budget(50.5 * WORST), list[int]()

    def take() -> None:
        for _ in range(20):
            try:
                granted.append(shared.reserve(ONE).number)
            except BudgetReached:
                return

    threads = [threading.Thread(target=take) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(granted) == list(range(1, 51))


def test_stored_answers_reserve_nothing_and_new_ones_settle(tmp_path: Path) -> None:
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        cheap = Scripted(lambda asked: answer(0.001))
        first = budget(max_requests=3)
        ask(LedgerModel(cheap, ledger, first), requests(3))
        again = budget(1.0, 1)
        ask(LedgerModel(cheap, ledger, again), requests(4))
        assert (first.spent().requests, again.spent().requests) == (3, 1)
        assert again.spent().cost_usd == pytest.approx(0.001)


def test_a_limit_stops_the_ledger_s_model_and_keeps_every_answer_and_every_failure(tmp_path: Path) -> None:
    truncated = CompletionFailure("truncated", retryable=False, detail="half", answer=answer(0.0, "half"))
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        ask(LedgerModel(Scripted(lambda asked: truncated), ledger), requests(8)[7:])
        with pytest.raises(BudgetReached):
            ask(LedgerModel(Scripted(lambda asked: "yes"), ledger, budget(max_requests=5)), requests(8))
        summary = ledger.summary()
        assert (summary.answered, summary.sent, summary.failed_by_reason) == (5, 0, {"truncated": 1})
        (row,) = ledger.export().filter(state="failed").to_dicts()
        assert row["answer"] == "half"


def test_what_was_not_sent_because_the_provider_stopped_everything_costs_nothing(tmp_path: Path) -> None:
    def refuse(asked: LLMRequest) -> LLMResult:
        raise UsageError("the key is refused")

    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        limit = budget(1.0, 5)
        with pytest.raises(UsageError):
            ask(LedgerModel(Scripted(refuse), ledger, limit), requests(1))
        assert (limit.spent().requests, limit.spent().cost_usd) == (0, 0.0)
