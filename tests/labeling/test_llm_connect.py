"""Names, keys, waits and messages of the language-model seam, without a server."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from email.utils import formatdate

import pytest

from flows.fake_provider import LoopbackProvider
from labeling.errors import FeatlasError, UsageError
from labeling.llm import ask, connect
from labeling.llm._dispatch import RetryPolicy
from labeling.llm._endpoint import Endpoint, read_endpoint
from labeling.llm._faults import Fault, retry_after, status_fault
from labeling.llm._servers import OwnServer
from labeling.llm._workers import run_bounded
from labeling.llm.anthropic import endpoint_of as anthropic_endpoint
from labeling.llm.anthropic import read_message, system_blocks
from labeling.llm.openai import endpoint_of, read_chat
from labeling.llm.scripted import Scripted
from labeling.types import Completion, CompletionFailure
from tests.labeling.llm_builders import KEY, SCHEMA, request, requests, texts

ENDPOINT = Endpoint("openai", "tiny", f"http://user:{KEY}@host/v1?token=abc", "OPENAI_API_KEY", KEY)


def test_an_unknown_provider_lists_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r"Did you mean 'openai'.*anthropic, openai, scripted"):
        connect("opnai/gpt")


@pytest.mark.parametrize("name", ["gpt-5", "openai/", "/gpt-5", ""])
def test_a_model_without_provider_or_name_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="named provider/model"):
        connect(name)


def test_slashes_after_the_first_belong_to_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with LoopbackProvider() as provider:
        model = connect("openai/org/model:latest", base_url=provider.openai_url)
        ask(model, [request("why?", model="openai/org/model:latest")])
    assert provider.asked[0].model == "org/model:latest"


def test_a_server_of_ones_own_needs_no_key_and_gets_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with LoopbackProvider(key=KEY) as provider, pytest.raises(FeatlasError, match=r"wants a key.*Set OPENAI_API_KEY"):
        ask(connect("openai/tiny", base_url=provider.openai_url), requests(1))


def test_a_server_that_repeats_the_key_does_not_bring_it_into_the_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with LoopbackProvider(key="another") as provider, pytest.raises(FeatlasError) as error:
        ask(connect("openai/tiny", base_url=provider.openai_url), requests(1))
    assert "[OPENAI_API_KEY]" in str(error.value)
    assert KEY not in str(error.value)


def test_secrets_of_an_address_are_not_shown() -> None:
    assert ENDPOINT.shown_url == "http://host/v1"
    assert KEY not in repr(ENDPOINT)
    assert ENDPOINT.scrub(f"failed: {ENDPOINT.url} with {KEY}") == "failed: http://host/v1 with [OPENAI_API_KEY]"


@pytest.mark.parametrize("key", ["sk-a b", "sk-\u00e9", "sk-a\nb"])
def test_what_cannot_be_a_key_is_refused_without_showing_it(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", key)
    with pytest.raises(UsageError, match="OPENAI_API_KEY holds characters") as error:
        connect("openai/tiny")
    assert key not in str(error.value)


def test_white_space_around_a_key_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", f" {KEY}\n")
    endpoint = read_endpoint(
        provider="openai",
        model="tiny",
        base_url=None,
        server=OwnServer("https://host", "OPENAI_BASE_URL"),
        key_name="OPENAI_API_KEY",
        key_optional=True,
    )
    assert endpoint.key == KEY


def test_waits_double_up_to_a_limit_and_spread() -> None:
    retry = RetryPolicy(first_wait_seconds=1.0, longest_wait_seconds=5.0, longest_retry_after_seconds=60.0)
    assert [retry.wait_seconds(attempt, None, 1.0) for attempt in (1, 2, 3, 4)] == [1.0, 2.0, 4.0, 5.0]
    assert retry.wait_seconds(1, None, 0.0) == 0.5
    assert retry.wait_seconds(1, 7.0, 0.0) == 7.0
    assert retry.wait_seconds(1, 3600.0, 0.0) == 60.0


def test_retry_after_is_read_in_every_form() -> None:
    assert retry_after({"retry-after-ms": "250", "retry-after": "9"}, now=0.0) == 0.25
    assert retry_after({"retry-after": "1.5"}, now=0.0) == 1.5
    assert retry_after({"retry-after": formatdate(1_000_030, usegmt=True)}, now=1_000_000.0) == 30.0
    assert retry_after({"retry-after": "soon"}, now=0.0) is None
    assert retry_after({}, now=0.0) is None


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (400, {"error": {"code": "context_length_exceeded", "message": "too many"}}, "context_too_long"),
        (400, {"code": "content_filter", "message": "no"}, "content_filter"),
        (400, {"error": {"type": "exceed_context_size_error", "message": "too many"}}, "context_too_long"),
        (400, {"error": {"message": "mock context window exceeded error", "code": "400"}}, "context_too_long"),
        (400, {"message": "longer than the maximum model length of 4096"}, "context_too_long"),
        (422, {"error": {"message": "bad schema"}}, "rejected"),
        (400, "<html>", "rejected"),
        (503, None, "overloaded"),
        (502, "<html>", "server_error"),
    ],
)
def test_an_http_error_of_any_shape_has_a_reason(status: int, body: object, reason: str) -> None:
    assert status_fault(ENDPOINT, status, body, {}).reason == reason


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"error": {"message": "Invalid model name passed in model=tiny", "code": "400"}}, "does not know the model"),
        ({"error": {"message": "tiny is not a valid model ID", "code": 400}}, "does not know the model"),
        ({"error": {"message": "No connected db.", "type": "no_db_connection"}}, "refused the key"),
    ],
)
def test_what_gateways_say_with_status_400_stops_the_run_as_well(body: object, words: str) -> None:
    with pytest.raises(FeatlasError, match=words):
        status_fault(ENDPOINT, 400, body, {})


@pytest.mark.parametrize(("provider", "hint"), [("openai", "usually ends in /v1"), ("anthropic", "ends before /v1")])
def test_the_hint_about_the_address_is_that_of_the_provider(provider: str, hint: str) -> None:
    with pytest.raises(FeatlasError, match=hint):
        status_fault(replace(ENDPOINT, provider=provider), 404, None, {})


def test_only_a_long_prefix_is_marked_for_the_cache() -> None:
    assert "cache_control" not in system_blocks("x" * 3_999)[0]
    assert system_blocks("x" * 4_000)[0].get("cache_control") == {"type": "ephemeral"}
    assert system_blocks("") == []


def test_a_request_for_another_model_is_a_mistake_in_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with pytest.raises(ValueError, match="'openai/other'"):
        ask(connect("openai/tiny"), [request("why?", model="openai/other")])


def test_a_limit_below_one_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with pytest.raises(UsageError, match="max_in_flight is 0"):
        connect("openai/tiny", max_in_flight=0)


def test_a_script_answers_with_texts_or_failures() -> None:
    lost = CompletionFailure("timeout", retryable=True)
    model = Scripted(lambda asked: lost if asked.user == "no" else asked.user)
    assert ask(model, [request("no")]) == [lost]
    assert texts(ask(model, [request("yes")])) == ["yes"]
    assert [asked.user for asked in model.asked] == ["no", "yes"]


def test_built_in_scripts_echo_or_fit_the_schema() -> None:
    assert texts(ask(connect("scripted/echo"), [request("hello")])) == ["hello"]
    assert SCHEMA["required"] == ["label"]
    assert texts(ask(connect("scripted/example"), [request("hello")])) == ['{"label": "example"}']
    with pytest.raises(UsageError, match="Known: echo, example"):
        connect("scripted/shout")


def test_many_requests_do_not_make_many_tasks() -> None:
    tasks = []

    async def work(item: int) -> int:
        tasks.append(len(asyncio.all_tasks()))
        await asyncio.sleep(0)
        return item

    assert asyncio.run(run_bounded(range(500), work, workers=8)) == list(range(500))
    assert max(tasks) <= 9


def test_a_chat_prompt_of_no_tokens_is_one_that_nobody_counted() -> None:
    usage = {"prompt_tokens": 0, "completion_tokens": 0}
    body = {"choices": [{"message": {"content": "yes"}, "finish_reason": "stop"}], "usage": usage}
    read = read_chat(json.dumps(body).encode(), endpoint_of("tiny", "http://127.0.0.1:9/v1"))
    assert isinstance(read, Completion)
    assert (read.input_tokens, read.output_tokens) == (None, None)


def test_a_message_prompt_of_no_tokens_is_one_that_nobody_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    usage = {"input_tokens": 0, "output_tokens": 0, "cache_read_input_tokens": 0}
    body = {"content": [{"type": "text", "text": "yes"}], "stop_reason": "end_turn", "usage": usage}
    read = read_message(json.dumps(body).encode(), anthropic_endpoint("tiny", "http://127.0.0.1:9"))
    assert isinstance(read, Completion)
    assert (read.input_tokens, read.cached_input_tokens, read.output_tokens) == (None, None, None)


def test_a_prompt_that_came_from_the_cache_alone_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    usage = {"input_tokens": 0, "output_tokens": 3, "cache_read_input_tokens": 40, "cache_creation_input_tokens": 2}
    body = {"content": [{"type": "text", "text": "yes"}], "stop_reason": "end_turn", "usage": usage}
    read = read_message(json.dumps(body).encode(), anthropic_endpoint("tiny", "http://127.0.0.1:9"))
    assert isinstance(read, Completion)
    assert (read.input_tokens, read.cached_input_tokens, read.cache_write_input_tokens) == (42, 40, 2)


def read(**parts: object) -> Completion | Fault:
    body = {"choices": [{"message": {"content": "yes"}, "finish_reason": "stop"}], **parts}
    return read_chat(json.dumps(body).encode(), Endpoint("openai", "tiny", "http://host/v1", "OPENAI_API_KEY", KEY))


@pytest.mark.parametrize("content", [[{"type": "text", "text": "yes"}], ["y", "es"], "yes"])
def test_content_in_parts_is_one_text(content: object) -> None:
    answer = read(choices=[{"message": {"content": content}, "finish_reason": "stop"}])
    assert isinstance(answer, Completion)
    assert answer.text == "yes"


@pytest.mark.parametrize("content", [7, {"type": "image"}, [7], [{"type": "image"}]])
def test_content_that_is_no_text_is_malformed(content: object) -> None:
    answer = read(choices=[{"message": {"content": content}, "finish_reason": "stop"}])
    assert isinstance(answer, Fault)
    assert answer.reason == "malformed"


@pytest.mark.parametrize("count", [-10, 10**30, float("nan"), float("inf"), "many", [1]])
def test_token_counts_that_no_server_could_mean_are_not_known(count: object) -> None:
    answer = read(usage={"prompt_tokens": count, "completion_tokens": count})
    assert isinstance(answer, Completion)
    assert (answer.input_tokens, answer.output_tokens) == (None, None)


def test_a_key_that_a_server_repeats_is_not_in_the_answer() -> None:
    answer = read(choices=[{"message": {"content": f"your key is {KEY}"}, "finish_reason": "stop"}])
    assert isinstance(answer, Completion)
    assert answer.text == "your key is [OPENAI_API_KEY]"
