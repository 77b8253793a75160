"""Batches that the provider finds too large, or too much beside what waits already: submitted smaller, nothing lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows.fake_provider import LoopbackProvider
from labeling.errors import FeatlasError
from labeling.ledger import BatchRow, Ledger
from labeling.llm import ask
from labeling.llm._batch_room import MEMORY_SECONDS, TOO_MUCH, most_requests
from labeling.llm._batches import says_too_large
from labeling.llm._budget import Budget
from labeling.types import CompletionFailure
from tests.labeling.llm_builders import KEY, KEY_NAMES, PROVIDERS, request, requests, texts
from tests.labeling.test_llm_batches import PRICES, batch_model, desk, reasons
from tests.waiting import wait_until


@pytest.fixture(autouse=True)
def _keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in KEY_NAMES:
        monkeypatch.setenv(name, KEY)


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "ledger.sqlite")


def sizes(ledger: Ledger, state: str) -> list[int]:
    return [row.n_requests for row in ledger.batches() if row.state == state]


@pytest.mark.parametrize("name", PROVIDERS)
def test_a_batch_with_too_many_bytes_is_submitted_in_halves(ledger: Ledger, name: str) -> None:
    with LoopbackProvider(lambda asked: asked.user, batch_max_bytes=1_700) as provider:
        results = ask(batch_model(ledger, provider, name), requests(9, model=f"{name}/tiny"))
    assert texts(results) == [f"question {number}" for number in range(9)]
    assert sum(sizes(ledger, "collected")) == provider.counts()["batch_requests"] == 9
    assert max(sizes(ledger, "collected")) <= 4
    assert "halves" in str(next(row.detail for row in ledger.batches() if row.state == "failed"))


@pytest.mark.parametrize("name", PROVIDERS)
def test_a_batch_with_too_many_requests_is_submitted_smaller(ledger: Ledger, name: str) -> None:
    with LoopbackProvider(batch_max_requests=2) as provider:
        texts(ask(batch_model(ledger, provider, name), requests(7, model=f"{name}/tiny")))
    assert sum(sizes(ledger, "collected")) == provider.counts()["batch_requests"] == 7
    assert max(sizes(ledger, "collected")) <= 2


@pytest.mark.parametrize("name", PROVIDERS)
def test_a_request_that_is_too_large_by_itself_fails_alone(ledger: Ledger, name: str) -> None:
    asked = requests(3, model=f"{name}/tiny")
    asked[1] = request("x" * 5_000, model=f"{name}/tiny")
    with LoopbackProvider(batch_max_bytes=3_000) as provider:
        results = ask(batch_model(ledger, provider, name), asked)
        assert reasons(results) == [None, "context_too_long", None]
        assert reasons(ask(batch_model(ledger, provider, name), asked)) == [None, "context_too_long", None]
    assert isinstance(results[1], CompletionFailure)
    assert not results[1].retryable
    assert provider.counts()["batch_requests"] == 2


def test_what_halves_reserve_is_counted_once(ledger: Ledger) -> None:
    budget = Budget(None, 5, PRICES)
    with LoopbackProvider(batch_max_bytes=1_700) as provider:
        texts(ask(batch_model(ledger, provider, "openai", budget=budget), requests(5)))
    assert budget.spent().requests == 5


def test_a_full_queue_fails_nothing_and_is_filled_again_when_it_has_room(ledger: Ledger) -> None:
    asked = requests(20)
    with LoopbackProvider(lambda asked: asked.user, batch_enqueued_tokens=5 * 4) as provider:
        results = ask(batch_model(ledger, provider, "openai"), asked)
    assert texts(results) == [request.user for request in asked]
    assert provider.counts()["batch_requests"] == 20
    assert provider.counts()["answered_twice"] == 0
    assert max(sizes(ledger, "collected")) <= 5
    assert ledger.summary().failed == 0


def test_what_the_queue_has_no_room_for_stays_pending_beside_what_is_under_way(ledger: Ledger) -> None:
    keys = ledger.register(requests(8))
    with LoopbackProvider(batch_seconds=30, batch_enqueued_tokens=4 * 4) as provider:
        own = desk(ledger, provider, "openai")
        own.submit(keys[:3], "openai/tiny")
        own.submit(keys[3:], "openai/tiny")
        wait_until(lambda: len(own.look()) < 2)
        assert own.submit(keys[3:], "openai/tiny") == []
        assert "one batch is submitted at a time" in str(own.held_back)
    assert ledger.summary().pending == 5
    assert ledger.summary().sent == 3


def test_a_queue_without_room_for_one_request_stops_with_everything_pending(ledger: Ledger) -> None:
    with LoopbackProvider(batch_enqueued_tokens=1) as provider:
        with pytest.raises(FeatlasError, match=r"no room for a batch of a single request.*stay pending"):
            ask(batch_model(ledger, provider, "openai"), requests(5))
        assert ledger.summary().pending == 5
    with LoopbackProvider() as provider:
        texts(ask(batch_model(ledger, provider, "openai"), requests(5)))
    assert sizes(ledger, "collected") == [1, 2, 2]


def row(number: int, state: str, n_requests: int, *, detail: str | None = None) -> BatchRow:
    return BatchRow(f"{number}", "openai", "openai/tiny", "batch_1", state, n_requests, float(number), detail=detail)  # type: ignore[arg-type]


def test_after_a_refusal_it_is_half_and_after_success_twice() -> None:
    refused = [row(1, "collected", 5_000), row(2, "failed", 1_000, detail=TOO_MUCH + "token_limit_exceeded")]
    assert most_requests(refused[:1], now=3) is None
    assert most_requests(refused, now=3) == 500
    assert most_requests([*refused, row(3, "collected", 500)], now=4) == 1_000
    assert most_requests([*refused, row(3, "failed", 500, detail="another reason")], now=4) == 500
    assert most_requests(refused, now=3 + MEMORY_SECONDS) is None


@pytest.mark.parametrize(
    ("words", "too_large"),
    [
        (
            "The batch input file is larger than the 209715200 maximum for the model. Try again with a smaller batch.",
            True,
        ),
        ("requests: List should have at most 100000 items after validation, not 100001", True),
        ("too_many_tasks: The file has 50001 requests", True),
        ("File is too large.", True),
        ("max_completion_tokens is larger than the model's maximum", False),
        ("too many duplicates", False),
        ("requests.0.params.messages: List should have at most 100000 items after validation, not 100001", False),
        ("prompt is too long: 300000 tokens > 200000 maximum", False),
        ("requests.0.custom_id: String should match pattern", False),
    ],
)
def test_a_size_is_told_from_other_refusals(words: str, too_large: bool) -> None:
    assert says_too_large(words) == too_large
