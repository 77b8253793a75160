"""Batches through both real SDKs against the fake provider: outcomes, limits, crashes, nothing paid twice."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from flows.fake_provider import Asked, Fault, LoopbackProvider
from flows.fake_provider.faults import Call, CallFault
from labeling.errors import FeatlasError, UsageError
from labeling.ledger import BatchRow, Ledger, request_key
from labeling.llm import ask
from labeling.llm._batch_desk import BatchDesk
from labeling.llm._batch_model import PENDING, BatchModel
from labeling.llm._batches import BatchLimits, connect_batches
from labeling.llm._budget import Budget
from labeling.llm._patience import Patience
from labeling.llm._prices import BATCH_SHARE, ModelPrice, Prices
from labeling.types import Completion, CompletionFailure, LLMResult
from tests.labeling.llm_builders import KEY, KEY_NAMES, PROVIDERS, QUICK, requests, texts, tiny, url_of

QUICK_LOOKS = Patience(first_look_seconds=0.02, longest_look_seconds=0.05, settle_seconds=0.05)
PRICES = Prices("2026-01-01", {f"{name}/tiny": ModelPrice(1e6, 1e6, 1e6, 1e6) for name in PROVIDERS})


@pytest.fixture(autouse=True)
def _keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in KEY_NAMES:
        monkeypatch.setenv(name, KEY)


@pytest.fixture(params=PROVIDERS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger(tmp_path / "ledger.sqlite", price=PRICES.cost_usd) as opened:
        yield opened


def desk(
    ledger: Ledger,
    provider: LoopbackProvider,
    name: str,
    *,
    limits: BatchLimits | None = None,
    budget: Budget | None = None,
) -> BatchDesk:
    """A desk with short waits."""
    url = url_of(provider, name)
    return BatchDesk(
        ledger,
        lambda model: connect_batches(model, base_url=url, timeout_seconds=20),
        limits=limits,
        budget=budget,
        retry=QUICK,
        patience=QUICK_LOOKS,
    )


def batch_model(
    ledger: Ledger,
    provider: LoopbackProvider,
    name: str,
    *,
    limits: BatchLimits | None = None,
    budget: Budget | None = None,
    wait: bool = True,
    retry_failed: bool = False,
) -> BatchModel:
    own = desk(ledger, provider, name, limits=limits, budget=budget)
    return BatchModel(f"{name}/tiny", ledger, own, wait=wait, retry_failed=retry_failed)


def reasons(results: list[LLMResult]) -> list[str | None]:
    return [result.reason if isinstance(result, CompletionFailure) else None for result in results]


def test_answers_come_back_in_the_order_of_the_requests(ledger: Ledger, name: str) -> None:
    with LoopbackProvider(lambda asked: asked.user) as provider:
        results = ask(batch_model(ledger, provider, name), requests(7, model=f"{name}/tiny"))
    assert texts(results) == [f"question {number}" for number in range(7)]
    assert provider.counts() | {"batches": 1, "batch_requests": 7, "answered_twice": 0} == provider.counts()
    (row,) = ledger.batches()
    assert (row.state, row.n_requests, row.provider) == ("collected", 7, name)


def test_a_batch_asks_with_the_same_body_as_a_single_request(ledger: Ledger, name: str) -> None:
    with LoopbackProvider() as provider:
        ask(batch_model(ledger, provider, name), requests(1, model=f"{name}/tiny"))
        ask(tiny(provider, name), requests(1, model=f"{name}/tiny"))
    assert provider.asked[0].body == provider.asked[1].body


def test_an_answer_of_a_batch_costs_half(ledger: Ledger, name: str) -> None:
    asked = requests(1, model=f"{name}/tiny")
    with LoopbackProvider() as provider:
        (batched,) = ask(batch_model(ledger, provider, name), asked)
        (single,) = ask(tiny(provider, name), asked)
    assert isinstance(batched, Completion)
    assert isinstance(single, Completion)
    assert batched.batch
    assert not single.batch
    cost = PRICES.cost_usd(f"{name}/tiny", single)
    assert cost is not None
    assert PRICES.cost_usd(f"{name}/tiny", batched) == ledger.summary().cost_usd == BATCH_SHARE * cost


def some_faults(asked: Asked) -> Fault | None:
    kinds: list[Fault | None] = [None, "expired", "500", "truncated", "refusal", "400", None]
    return kinds[int(asked.user.split()[-1]) % len(kinds)] if asked.seen_before == 0 else None


def test_each_request_has_its_own_outcome_and_what_can_be_mended_is_asked_again_by_the_next_run(
    ledger: Ledger, name: str
) -> None:
    asked = requests(7, model=f"{name}/tiny")
    with LoopbackProvider(faults=some_faults) as provider:
        first = ask(batch_model(ledger, provider, name), asked)
        assert reasons(first) == [
            None, "batch_expired", "server_error", "truncated", "refused", "context_too_long", None,
        ]  # fmt: skip
        second = ask(batch_model(ledger, provider, name), asked)
        assert reasons(second) == [None, None, None, "truncated", "refused", "context_too_long", None]
        assert provider.counts()["batch_requests"] == 9
        assert provider.counts()["answered_twice"] == 0


def test_what_failed_in_a_batch_can_be_asked_again_interactively(ledger: Ledger, name: str) -> None:
    from labeling.ledger_model import LedgerModel

    asked = requests(3, model=f"{name}/tiny")
    with LoopbackProvider(faults=lambda a: "expired" if a.batch else None) as provider:
        assert reasons(ask(batch_model(ledger, provider, name), asked)) == ["batch_expired"] * 3
        answers = ask(LedgerModel(tiny(provider, name), ledger), asked)
    assert [isinstance(answer, Completion) and not answer.batch for answer in answers] == [True] * 3


def test_a_canceled_batch_keeps_what_was_answered_and_says_so_of_the_rest(ledger: Ledger, name: str) -> None:
    asked = requests(4, model=f"{name}/tiny")
    with LoopbackProvider(batch_seconds=30, batch_done_at_cancel=0.5) as provider:
        model = batch_model(ledger, provider, name, wait=False)
        assert reasons(ask(model, asked)) == [PENDING] * 4
        (row,) = model.submit()
        own = desk(ledger, provider, name)
        own.cancel(row)
        own.wait(None, lambda _: None)
        found = reasons(ask(BatchModel(f"{name}/tiny", ledger, own), asked))
    assert sorted(map(str, found)) == ["None", "None", "batch_canceled", "batch_canceled"]


@pytest.mark.parametrize("limits", [BatchLimits(3, 10**9), BatchLimits(10**9, 1400)])
def test_requests_are_split_by_the_providers_limits(ledger: Ledger, name: str, limits: BatchLimits) -> None:
    with LoopbackProvider(batch_max_requests=3 if limits.requests == 3 else None) as provider:
        texts(ask(batch_model(ledger, provider, name, limits=limits), requests(8, model=f"{name}/tiny")))
    sizes = [row.n_requests for row in ledger.batches()]
    assert sum(sizes) == provider.counts()["batch_requests"] == 8
    assert max(sizes) <= 3
    assert len(sizes) >= 3


def test_an_answer_found_unusable_in_a_run_is_not_asked_for_again_in_it(ledger: Ledger, name: str) -> None:
    asked = requests(1, model=f"{name}/tiny")
    with LoopbackProvider() as provider:
        for run in (1, 2):
            model = batch_model(ledger, provider, name, retry_failed=True)
            ask(model, asked)
            ledger.reject(request_key(asked[0]), "not_json", "it held no JSON object")
            assert reasons(ask(model, asked)) == ["not_json"]
            assert provider.counts()["batch_requests"] == run


def test_a_batch_refused_as_a_whole_fails_its_requests_with_the_providers_words(ledger: Ledger, name: str) -> None:
    with LoopbackProvider(call_faults={"create": ["400"]}) as provider:
        results = ask(batch_model(ledger, provider, name), requests(3, model=f"{name}/tiny"))
    assert reasons(results) == ["batch_failed"] * 3
    assert "300000 tokens" in str(results[0])
    assert ledger.batches()[0].state == "failed"


def test_a_reply_that_is_lost_does_not_lead_to_a_second_batch(ledger: Ledger, name: str) -> None:
    with LoopbackProvider(call_faults={"create": ["lost_create"]}) as provider:
        texts(ask(batch_model(ledger, provider, name), requests(3, model=f"{name}/tiny")))
    assert provider.counts()["batches"] == 1
    assert provider.counts()["answered_twice"] == 0


@pytest.mark.parametrize("fault", ["reset", "500", "429", "529"])
def test_a_batch_that_was_not_made_is_submitted_again(ledger: Ledger, name: str, fault: str) -> None:
    with LoopbackProvider(call_faults={"create": [fault, fault]}) as provider:  # type: ignore[list-item]
        texts(ask(batch_model(ledger, provider, name), requests(3, model=f"{name}/tiny")))
    assert provider.counts()["batches"] == 1


def test_a_file_that_no_server_takes_leaves_the_requests_free(ledger: Ledger) -> None:
    """Gateways without a place for files answer 500 to everything, the list of batches included."""
    asked = requests(2)
    calls: dict[Call, list[CallFault]] = {"upload": ["500"] * 20, "list": ["500"] * 20}
    with LoopbackProvider(call_faults=calls) as provider:
        with pytest.raises(FeatlasError, match="took no batch in 8 attempts"):
            ask(batch_model(ledger, provider, "openai"), asked)
        assert ledger.in_batches([request_key(one) for one in asked]) == set()


def test_a_server_without_batch_endpoint_is_named_with_the_way_out(ledger: Ledger, name: str) -> None:
    calls: dict[Call, list[CallFault]] = {"upload" if name == "openai" else "create": ["404"]}
    with (
        LoopbackProvider(call_faults=calls) as provider,
        pytest.raises(FeatlasError, match="--mode interactive") as error,
    ):
        ask(batch_model(ledger, provider, name), requests(1, model=f"{name}/tiny"))
    assert "Error code" not in str(error.value)


@pytest.mark.parametrize("call", ["retrieve", "results", "content"])
def test_a_busy_provider_is_asked_again_for_results(ledger: Ledger, name: str, call: str) -> None:
    with LoopbackProvider(call_faults={call: ["529", "reset", "500"]}) as provider:  # type: ignore[dict-item]
        texts(ask(batch_model(ledger, provider, name), requests(3, model=f"{name}/tiny")))
    assert provider.counts()["batches"] == 1


def left_by_a_dead_process(ledger: Ledger, row: BatchRow) -> None:
    ledger.save_batch(replace(row, state="preparing", provider_batch=None, submitted_at=None, detail="process 1:0"))


def test_a_batch_that_a_dead_process_had_submitted_is_found_among_others(ledger: Ledger, name: str) -> None:
    asked = requests(3, model=f"{name}/tiny")
    with LoopbackProvider() as provider:
        other = connect_batches(f"{name}/tiny", base_url=url_of(provider, name), timeout_seconds=20)
        for number in range(25):  # more than one page of the provider's list
            question = requests(30, model=f"{name}/tiny")[5 + number]
            other.submit(f"other {number}", [other.render(f"{number}-{n}", question) for n in range(3)])
        model = batch_model(ledger, provider, name, wait=False)
        ask(model, asked)
        (row,) = model.submit()
        left_by_a_dead_process(ledger, row)
        made = provider.counts()["batches"]
        texts(ask(batch_model(ledger, provider, name), asked))
        assert provider.counts()["batches"] == made == 26
    assert ledger.batches()[0].state == "collected"


def test_a_batch_that_never_reached_the_provider_is_submitted_again(ledger: Ledger, name: str) -> None:
    asked = requests(3, model=f"{name}/tiny")
    with LoopbackProvider() as provider:
        keys = ledger.register(asked)
        row = BatchRow("a" * 32, name, f"{name}/tiny", None, "preparing", 3, 1.7e9, detail="process 1:0")
        ledger.save_batch(row)
        ledger.claim_many(keys, batch=row.batch)
        texts(ask(batch_model(ledger, provider, name), asked))
        assert provider.counts()["batches"] == 1
    assert [row.state for row in ledger.batches()] == ["failed", "collected"]


def test_a_batch_of_a_living_process_is_left_alone(ledger: Ledger, name: str) -> None:
    from labeling.ledger_file import this_process
    from labeling.llm import _batch_books

    with LoopbackProvider() as provider:
        row = BatchRow("b" * 32, name, f"{name}/tiny", None, "preparing", 0, 1.7e9, detail=f"process {this_process()}")
        ledger.save_batch(row)
        with _batch_books.being_submitted(row.batch):
            assert desk(ledger, provider, name).look() == [row]


def test_what_one_run_submitted_another_collects(ledger: Ledger, name: str) -> None:
    asked = requests(3, model=f"{name}/tiny")
    with LoopbackProvider() as provider:
        first = batch_model(ledger, provider, name, wait=False)
        ask(first, asked)
        first.submit()
        later = batch_model(ledger, provider, name)
        texts(ask(later, asked))
    assert provider.counts()["batch_requests"] == 3


def test_a_limit_of_requests_stops_after_what_it_has_room_for(ledger: Ledger, name: str) -> None:
    from labeling.errors import BudgetReached

    asked = requests(5, model=f"{name}/tiny")
    with LoopbackProvider() as provider:
        model = batch_model(ledger, provider, name, budget=Budget(None, 3, PRICES))
        with pytest.raises(BudgetReached):
            ask(model, asked)
        assert provider.counts()["batch_requests"] == 3
        texts(ask(batch_model(ledger, provider, name), asked))
        assert provider.counts()["batch_requests"] == 5
        assert provider.counts()["answered_twice"] == 0


def test_a_refused_key_stops_and_leaves_the_requests_free(ledger: Ledger, name: str) -> None:
    asked = requests(3, model=f"{name}/tiny")
    with LoopbackProvider(key="another") as provider, pytest.raises(FeatlasError, match="refused the key"):
        ask(batch_model(ledger, provider, name), asked)
    with LoopbackProvider() as provider:
        texts(ask(batch_model(ledger, provider, name), asked))


def test_a_provider_without_batches_is_named() -> None:
    with pytest.raises(UsageError, match="anthropic and openai have one"):
        connect_batches("scripted/example", base_url=None, timeout_seconds=1)
