"""An unusable answer is asked for once more, over real HTTP; both requests stand in the ledger and both are counted."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest

from flows.batches import open_batches
from flows.budgets import open_budget
from flows.fake_provider import Asked, Fault, LoopbackProvider, always
from flows.llm import LLMSettings, Sent, send
from labeling.answers import PROBLEMS
from labeling.errors import BudgetReached
from labeling.ledger import Ledger, request_key
from labeling.types import Completion, CompletionFailure, LLMRequest
from tests.labeling.llm_builders import KEY, KEY_NAMES, PROVIDERS, request, requests, url_of

GOOD = '{"label": "cats"}'
BAD = "I'd rather talk. " + "x" * 2000
MODELS = {"anthropic": "anthropic/claude-haiku-4-5", "openai": "openai/gpt-4o-mini"}


@pytest.fixture(autouse=True)
def _keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in KEY_NAMES:
        monkeypatch.setenv(variable, KEY)


def check(asked: LLMRequest, text: str) -> str | None:
    return None if text == GOOD else "not_json"


def settings(provider: LoopbackProvider, name: str = "openai") -> LLMSettings:
    return LLMSettings(base_url=url_of(provider, name), max_in_flight=4, timeout_seconds=20.0)


def ask_one(root: Path, provider: LoopbackProvider, name: str = "openai", **changes: object) -> Sent:
    how: LLMSettings = replace(settings(provider, name), **changes)  # type: ignore[arg-type]  # by name
    return send(root, [request("why?", model=MODELS[name])], how, check)


def is_second(asked: Asked) -> bool:
    return "You have answered this before" in asked.user


def good_the_second_time(asked: Asked) -> str:
    return GOOD if is_second(asked) else BAD


@pytest.mark.parametrize("name", PROVIDERS)
def test_a_bad_answer_is_asked_again_once_and_the_good_one_is_used(tmp_path: Path, name: str) -> None:
    with LoopbackProvider(good_the_second_time) as provider:
        sent = ask_one(tmp_path, provider, name)
        first, second = provider.asked
        assert (first.user, second.user.count(PROBLEMS["not_json"])) == ("why?", 1)
        assert BAD[:500] in second.user
        assert BAD[:501] not in second.user
        (result,), (key,), (asked,), (used,) = sent.results, sent.keys, sent.asked, sent.usage
        assert isinstance(result, Completion)
        assert result.text == GOOD
        assert asked == (request_key(request("why?", model=MODELS[name])), key)
        assert (used.requests, used.second_questions) == (2, 1)
        with Ledger(tmp_path / "ledger.sqlite") as ledger:
            rows = {row["request_key"]: row for row in ledger.export().to_dicts()}
        assert [(rows[k]["state"], rows[k]["reason"], rows[k]["answer"]) for k in asked] == [
            ("failed", "not_json", BAD),
            ("answered", None, GOOD),
        ]
        assert used.input_tokens == sum(rows[k]["input_tokens"] for k in asked)
        assert used.cost_usd is not None
        again = ask_one(tmp_path, provider, name)
        assert (again.results, again.usage, again.n_reused) == (sent.results, sent.usage, 2)
        assert len(provider.asked) == 2


def test_a_second_bad_answer_is_a_failure_that_only_retry_failed_asks_again(tmp_path: Path) -> None:
    well = False

    def answer(asked: Asked) -> str:
        return GOOD if well and is_second(asked) else BAD

    with LoopbackProvider(answer) as provider:
        for _ in range(2):
            (failure,) = ask_one(tmp_path, provider).results
            assert isinstance(failure, CompletionFailure)
            assert (failure.reason, failure.answer and failure.answer.text) == ("not_json", BAD)
            assert len(provider.asked) == 2
        well = True
        (result,) = ask_one(tmp_path, provider, retry_failed=True).results
        assert isinstance(result, Completion)
        assert len(provider.asked) == 3
        assert ask_one(tmp_path, provider, retry_failed=True).results == [result]
        assert len(provider.asked) == 3


def fault_once(fault: Fault) -> Callable[[Asked], Fault | None]:
    return lambda asked: fault if asked.max_output_tokens == 100 else None


def test_a_truncated_answer_is_asked_again_once_with_twice_the_room(tmp_path: Path) -> None:
    with LoopbackProvider(lambda asked: GOOD, faults=fault_once("truncated")) as provider:
        sent = ask_one(tmp_path, provider)
        assert [asked.max_output_tokens for asked in provider.asked] == [100, 200]
        assert [asked.user for asked in provider.asked] == ["why?", "why?"]
        assert isinstance(sent.results[0], Completion)
        assert ask_one(tmp_path, provider).results == sent.results
        assert len(provider.asked) == 2


@pytest.mark.parametrize(
    ("fault", "reason"), [("refusal", "refused"), ("filtered", "content_filter"), ("empty", "empty"), ("413", None)]
)
def test_what_would_come_again_is_not_asked_again(tmp_path: Path, fault: Fault, reason: str | None) -> None:
    with LoopbackProvider(lambda asked: GOOD, faults=lambda asked: fault) as provider:
        (failure,) = ask_one(tmp_path, provider).results
    assert isinstance(failure, CompletionFailure)
    assert failure.reason == (reason or "context_too_long")
    assert len(provider.asked) == 1


def test_prose_around_a_usable_answer_is_counted(tmp_path: Path) -> None:
    with LoopbackProvider(lambda asked: f"Sure! {GOOD}") as provider:
        sent = send(tmp_path, requests(2, model=MODELS["openai"]), settings(provider))
    assert sum(used.answers_with_prose for used in sent.usage) == 2


def test_a_limit_holds_for_second_questions_and_a_later_run_goes_on(tmp_path: Path) -> None:
    with LoopbackProvider(good_the_second_time) as provider:
        asked = requests(4, model=MODELS["openai"])
        with pytest.raises(BudgetReached, match="sent 6 requests and spent") as reached:
            send(tmp_path, asked, replace(settings(provider), max_requests=6), check)
        assert "Every answer is stored" in str(reached.value)
        assert len(provider.asked) == 6
        sent = send(tmp_path, asked, settings(provider), check)
        assert [isinstance(result, Completion) for result in sent.results] == [True] * 4
        assert (len(provider.asked), provider.counts()["answered_twice"]) == (8, 0)


def test_what_was_spent_is_below_the_limit_however_many_requests_are_in_flight(tmp_path: Path) -> None:
    asked = requests(60, model=MODELS["openai"])
    with LoopbackProvider(lambda asked: json.dumps({"label": "words " * 15}), latency_seconds=0.01) as provider:
        with pytest.raises(BudgetReached):
            send(tmp_path, asked, replace(settings(provider), max_cost=0.0006, max_in_flight=16))
        with Ledger(tmp_path / "ledger.sqlite") as ledger:
            from flows.budgets import prices

            spent = ledger.export(prices().cost_usd)["cost_usd"].sum()
    assert 0.0004 < spent <= 0.0006
    assert len(provider.asked) == ledger_count(tmp_path)


def ledger_count(root: Path) -> int:
    with Ledger(root / "ledger.sqlite") as ledger:
        return ledger.summary().answered


@pytest.mark.parametrize("retry_failed", [False, True])
def test_a_question_of_two_shards_is_asked_once_however_bad_its_answers_are(tmp_path: Path, retry_failed: bool) -> None:
    arrived, both_wait = threading.Event(), threading.Event()

    def answer(asked: Asked) -> str:
        arrived.set()
        both_wait.wait(timeout=20)
        return BAD

    with (
        LoopbackProvider(answer) as provider,
        open_budget(tmp_path, settings(provider)),
        ThreadPoolExecutor(2) as shards,
    ):
        first = shards.submit(ask_one, tmp_path, provider, retry_failed=retry_failed)
        assert arrived.wait(timeout=20)
        second = shards.submit(ask_one, tmp_path, provider, retry_failed=retry_failed)
        time.sleep(0.3)  # until the second looks now and then whether the answer has come
        both_wait.set()
        results = [shard.result().results for shard in (first, second)]
    assert results[0] == results[1]
    assert isinstance(results[0][0], CompletionFailure)
    assert len(provider.asked) == 2  # the question, and what asks again


def test_what_has_failed_in_this_run_is_sent_again_by_the_next_one_only(tmp_path: Path) -> None:
    with LoopbackProvider(lambda asked: GOOD, faults=always("413")) as provider:
        with open_budget(tmp_path, settings(provider)):
            assert ask_one(tmp_path, provider).results == ask_one(tmp_path, provider).results
            assert len(provider.asked) == 1
        ask_one(tmp_path, provider)
    assert len(provider.asked) == 2


def send_in_batches(root: Path, asked: LLMRequest, settings: LLMSettings, *, rounds: int) -> Sent:
    """What `answers_at_hand` does for a stage: ask ahead, submit and read as often as told, then ask in earnest."""
    with open_batches(root, settings) as batches:
        for _ in range(rounds):
            send(root, [asked], settings)
            batches.submit()
            batches.desk.wait(asked.model, lambda _: None)
        return send(root, [asked], settings)


@pytest.mark.parametrize("logprobs", ["gives", "ignores", "refuses"])
def test_log_probabilities_in_batches_come_or_the_question_is_asked_without_them(
    tmp_path: Path, logprobs: Literal["gives", "ignores", "refuses"]
) -> None:
    asked = replace(request("why?"), top_logprobs=5)
    with LoopbackProvider(lambda asked: "7", logprobs=logprobs) as provider:
        how = replace(settings(provider), mode="batch")
        sent = send_in_batches(tmp_path, asked, how, rounds=2 if logprobs == "refuses" else 1)
        again = send_in_batches(tmp_path, asked, how, rounds=1)
    (result,), (trail,) = sent.results, sent.asked
    assert isinstance(result, Completion)
    assert (result.text, result.batch) == ("7", True)
    assert (result.number_tokens is not None) == (logprobs == "gives")
    plain = request_key(request("why?"))
    assert trail == ((request_key(asked), plain) if logprobs == "refuses" else (request_key(asked),))
    assert again.results == sent.results
    assert [bool(one.body.get("logprobs")) for one in provider.asked] == [True, False][: len(trail)]
