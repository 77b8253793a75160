"""Both real SDKs against a provider on loopback: what is sent, what is read, what is tried again, what stops a run."""

from __future__ import annotations

import asyncio
import time

import pytest

from flows.fake_provider import Fault, LoopbackProvider, always, in_turn
from labeling.errors import FeatlasError, UsageError
from labeling.llm import ask, connect
from labeling.llm._dispatch import RetryPolicy
from labeling.types import Completion, CompletionFailure, LLMResult
from tests.labeling.llm_builders import (
    KEY,
    KEY_NAMES,
    PROVIDERS,
    QUICK,
    SCHEMA,
    URL_NAMES,
    request,
    requests,
    texts,
    tiny,
    url_of,
)

pytestmark = pytest.mark.parametrize("name", PROVIDERS)


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in URL_NAMES:
        monkeypatch.delenv(variable, raising=False)
    for variable in KEY_NAMES:
        monkeypatch.setenv(variable, KEY)


def test_answers_come_in_the_order_of_the_requests(name: str) -> None:
    with LoopbackProvider(answer=lambda asked: asked.user.upper()) as provider:
        results = ask(tiny(provider, name), requests(20, model=f"{name}/tiny"))
    assert texts(results) == [f"QUESTION {number}" for number in range(20)]


def test_the_prompt_the_schema_and_the_limit_are_sent(name: str) -> None:
    with LoopbackProvider() as provider:
        ask(tiny(provider, name), [request("why?", model=f"{name}/tiny")])
    (asked,) = provider.asked
    assert (asked.model, asked.system, asked.user, asked.max_output_tokens) == ("tiny", "Be brief.", "why?", 100)
    assert asked.schema == SCHEMA
    assert asked.headers["authorization"] == f"Bearer {KEY}" or asked.headers["x-api-key"] == KEY
    assert "temperature" not in asked.body


def test_usage_and_latency_are_read(name: str) -> None:
    system = "x" * 4_608  # nine steps of 128 tokens: what OpenAI's cache keeps
    with LoopbackProvider(answer=lambda asked: "12345678", latency_seconds=0.05) as provider:
        model = tiny(provider, name)
        ask(model, [request("first", model=f"{name}/tiny", system=system)])
        (result,) = ask(model, [request("y" * 400, model=f"{name}/tiny", system=system)])
    assert isinstance(result, Completion)
    assert (result.input_tokens, result.cached_input_tokens, result.output_tokens) == (1_252, 1_152, 2)
    assert (result.stop_reason, result.attempts) == ("end_turn" if name == "anthropic" else "stop", 1)
    assert result.latency_seconds >= 0.05


def test_tokens_that_a_server_does_not_tell_are_not_known(name: str) -> None:
    with LoopbackProvider(says_usage=False) as provider:
        (result,) = ask(tiny(provider, name), requests(1, model=f"{name}/tiny"))
    assert isinstance(result, Completion)
    counts = (result.input_tokens, result.cached_input_tokens, result.cache_write_input_tokens, result.output_tokens)
    assert counts == (None, None, None, None)


def test_the_address_can_come_from_the_environment(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with LoopbackProvider() as provider:
        monkeypatch.setenv(f"{name.upper()}_BASE_URL", url_of(provider, name))
        ask(connect(f"{name}/tiny"), requests(1, model=f"{name}/tiny"))
    assert len(provider.asked) == 1


@pytest.mark.parametrize("fault", ["429", "500", "529", "reset", "malformed"])
def test_what_can_succeed_is_asked_again(name: str, fault: Fault) -> None:
    with LoopbackProvider(faults=in_turn(fault, fault)) as provider:
        (result,) = ask(tiny(provider, name), requests(1, model=f"{name}/tiny"))
    assert isinstance(result, Completion)
    assert (result.attempts, provider.counts()["requests"]) == (3, 3)


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("429", "rate_limited"),
        ("500", "server_error"),
        ("529", "overloaded"),
        ("malformed", "malformed"),
        ("reset", "connection_lost"),
        ("hang", "timeout"),
        ("drip", "timeout"),
    ],
)
def test_what_never_succeeds_is_a_counted_failure(name: str, fault: Fault, reason: str) -> None:
    retry = RetryPolicy(max_attempts=2, first_wait_seconds=0.001)
    with LoopbackProvider(faults=lambda asked: fault if asked.user.endswith("0") else None) as provider:
        model = tiny(provider, name, retry=retry, timeout_seconds=0.3 if reason == "timeout" else 20.0)
        lost, answered = ask(model, requests(2, model=f"{name}/tiny"))
    assert isinstance(lost, CompletionFailure)
    assert (lost.reason, lost.retryable, lost.attempts) == (reason, True, 2)
    assert isinstance(answered, Completion)


@pytest.mark.parametrize(
    ("fault", "reasons"),
    [
        ("truncated", {"truncated"}),
        ("refusal", {"refused"}),
        ("filtered", {"content_filter", "refused"}),
        ("empty", {"empty"}),
        ("400", {"context_too_long"}),
        ("413", {"context_too_long"}),
    ],
)
def test_what_would_fail_again_is_asked_once(name: str, fault: Fault, reasons: set[str]) -> None:
    with LoopbackProvider(faults=always(fault), answer=lambda asked: "0123456789") as provider:
        (result,) = ask(tiny(provider, name), requests(1, model=f"{name}/tiny"))
    assert isinstance(result, CompletionFailure)
    assert result.reason in reasons
    assert (result.retryable, result.attempts, len(provider.asked)) == (False, 1, 1)


def test_a_truncated_answer_keeps_its_text_and_its_tokens(name: str) -> None:
    with LoopbackProvider(faults=always("truncated"), answer=lambda asked: "0123456789" * 2) as provider:
        (result,) = ask(tiny(provider, name), requests(1, model=f"{name}/tiny"))
    assert isinstance(result, CompletionFailure)
    assert result.answer is not None
    assert (result.answer.text, result.answer.output_tokens) == ("0123456789", 2)


def test_the_time_a_server_asks_for_is_waited(name: str) -> None:
    with LoopbackProvider(faults=in_turn("429"), retry_after_seconds=0.5) as provider:
        model = tiny(provider, name)
        started = time.monotonic()
        ask(model, requests(1, model=f"{name}/tiny"))
    assert time.monotonic() - started >= 0.5


def test_a_server_that_asks_for_too_much_time_does_not_get_it(name: str) -> None:
    retry = RetryPolicy(first_wait_seconds=0.001, longest_retry_after_seconds=0.01)
    with LoopbackProvider(faults=in_turn("529"), retry_after_seconds=600) as provider:
        (result,) = ask(tiny(provider, name, retry=retry), requests(1, model=f"{name}/tiny"))
    assert isinstance(result, Completion)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("401", "refused the key in"),
        ("402", "no credit left"),
        ("403", "may not use"),
        ("404", "does not know the model 'tiny'"),
        ("429_quota", "no credit left"),
    ],
)
def test_what_no_request_can_survive_stops_the_run_with_one_message(name: str, fault: Fault, words: str) -> None:
    with LoopbackProvider(faults=always(fault)) as provider, pytest.raises(FeatlasError, match=words) as error:
        ask(tiny(provider, name, max_in_flight=4), requests(200, model=f"{name}/tiny"))
    assert len(provider.asked) <= 4
    assert KEY not in str(error.value)
    assert f"HTTP {fault[:3]}" in str(error.value)


def test_a_server_that_is_not_there_stops_the_run_and_is_named(name: str) -> None:
    model = connect(f"{name}/tiny", base_url="http://127.0.0.1:9", retry=QUICK)
    with pytest.raises(FeatlasError, match=r"Cannot reach .*http://127\.0\.0\.1:9"):
        ask(model, requests(3, model=f"{name}/tiny"))


def test_a_missing_key_is_named(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(f"{name.upper()}_API_KEY")
    with pytest.raises(UsageError, match=f"{name.upper()}_API_KEY is not set"):
        connect(f"{name}/tiny")


@pytest.mark.parametrize("url", ["localhost:8000", "ftp://host/v1", "http://"])
def test_an_address_that_is_none_is_refused(name: str, url: str) -> None:
    with pytest.raises(UsageError, match="Allowed: http://host:port/path"):
        connect(f"{name}/tiny", base_url=url)


def test_calls_that_overlap_share_the_limit(name: str) -> None:
    async def overlap() -> list[list[LLMResult]]:
        model = tiny(provider, name, max_in_flight=3)
        several = [[request(f"{call} {number}", model=f"{name}/tiny") for number in range(4)] for call in range(4)]
        return await asyncio.gather(*(model.complete(one) for one in several))

    with LoopbackProvider(latency_seconds=0.05) as provider:
        results = asyncio.run(overlap())
    assert [len(texts(one)) for one in results] == [4, 4, 4, 4]
    assert provider.most_in_flight == 3


def test_it_can_be_asked_where_an_event_loop_runs(name: str) -> None:
    async def notebook_cell() -> list[LLMResult]:
        return ask(tiny(provider, name), requests(2, model=f"{name}/tiny"))

    with LoopbackProvider() as provider:
        assert len(texts(asyncio.run(notebook_cell()))) == 2


def test_text_that_utf8_cannot_write_fails_alone(name: str) -> None:
    with LoopbackProvider() as provider:
        model = tiny(provider, name)
        bad, good = ask(model, [request("\ud800", model=f"{name}/tiny"), request("fine", model=f"{name}/tiny")])
    assert isinstance(bad, CompletionFailure)
    assert bad.reason == "unsendable"
    assert isinstance(good, Completion)
