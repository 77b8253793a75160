"""Both real SDKs against the batches of the fake provider: every call, every end, limits, and what is counted."""

from __future__ import annotations

import json
import time

import anthropic
import openai
import pytest
from anthropic.types.messages import MessageBatch
from openai.types import Batch

from flows.fake_provider import CallFault, Fault, LoopbackProvider
from tests.flows.provider_clients import (
    JSON,
    PATIENCE_SECONDS,
    anthropic_client,
    chat,
    message,
    openai_client,
)


def message_batch(client: anthropic.Anthropic, count: int) -> MessageBatch:
    return client.messages.batches.create(
        requests=[{"custom_id": f"key-{number}", "params": message(f"question {number}")} for number in range(count)]
    )


def ended(client: anthropic.Anthropic, name: str) -> MessageBatch:
    until = time.monotonic() + PATIENCE_SECONDS
    while (batch := client.messages.batches.retrieve(name)).processing_status != "ended":
        assert time.monotonic() < until, batch
        time.sleep(0.01)
    return batch


def result_types(client: anthropic.Anthropic, name: str) -> dict[str, str]:
    return {one.custom_id: one.result.type for one in client.messages.batches.results(name)}


def test_a_message_batch_ends_with_one_result_for_each_request_in_another_order() -> None:
    with LoopbackProvider() as provider, anthropic_client(provider) as client:
        created = message_batch(client, 10)
        batch = ended(client, created.id)
        results = list(client.messages.batches.results(batch.id))
    assert (created.processing_status, created.request_counts.processing) == ("in_progress", 10)
    assert created.results_url is None
    assert (batch.request_counts.succeeded, batch.request_counts.processing) == (10, 0)
    names = [one.custom_id for one in results]
    assert sorted(names) == [f"key-{number}" for number in range(10)] != names
    assert results[0].result.type == "succeeded"
    assert results[0].result.message.usage.service_tier == "batch"
    assert provider.counts()["answered"] == provider.counts()["batch_requests"] == 10


def test_a_call_is_done_although_nobody_waits_for_its_slow_reply() -> None:
    with LoopbackProvider(call_seconds=60) as provider, anthropic_client(provider) as client:
        with pytest.raises(anthropic.APITimeoutError):
            message_batch(client.with_options(timeout=0.3), 3)
        assert (provider.counts()["batches"], provider.counts()["batch_requests"]) == (1, 3)


def test_message_batches_are_listed_newest_first_and_page_by_page() -> None:
    with LoopbackProvider() as provider, anthropic_client(provider) as client:
        names = [message_batch(client, 1).id for _ in range(5)][::-1]
        first = client.messages.batches.list(limit=2)
        second = client.messages.batches.list(limit=2, after_id=first.last_id or "")
        before = client.messages.batches.list(limit=2, before_id=names[3])
        every = [batch.id for batch in client.messages.batches.list(limit=2)]
    assert ([batch.id for batch in first.data], first.has_more) == (names[:2], True)
    assert [batch.id for batch in second.data] == names[2:4]
    assert ([batch.id for batch in before.data], before.has_more) == (names[1:3], True)
    assert every == names


def test_a_canceled_message_batch_keeps_what_was_done() -> None:
    with (
        LoopbackProvider(batch_seconds=60, batch_done_at_cancel=0.5) as provider,
        anthropic_client(provider) as client,
    ):
        batch = message_batch(client, 4)
        canceling = client.messages.batches.cancel(batch.id)
        counts = ended(client, batch.id).request_counts
        types = result_types(client, batch.id)
        with pytest.raises(anthropic.BadRequestError, match="has ended"):
            client.messages.batches.cancel(batch.id)
    assert (canceling.processing_status, canceling.cancel_initiated_at is None) == ("canceling", False)
    assert (counts.succeeded, counts.canceled) == (2, 2)
    assert sorted(types.values()) == ["canceled", "canceled", "succeeded", "succeeded"]
    assert provider.counts()["answered"] == 2


def test_requests_of_a_message_batch_expire_or_fail_alone() -> None:
    fates: dict[str, Fault] = {"key-0": "expired", "key-1": "500", "key-2": "reset", "key-3": "truncated"}
    with (
        LoopbackProvider(faults=lambda asked: fates.get(asked.custom_id)) as provider,
        anthropic_client(provider) as client,
    ):
        name = ended(client, message_batch(client, 5).id).id
        results = {one.custom_id: one.result for one in client.messages.batches.results(name)}
    assert [results[f"key-{n}"].type for n in range(5)] == ["expired", "errored", "errored", "succeeded", "succeeded"]
    failed, cut = results["key-1"], results["key-3"]
    assert failed.type == "errored"
    assert failed.error.error.type == "api_error"
    assert cut.type == "succeeded"
    assert cut.message.stop_reason == "max_tokens"
    assert provider.counts()["answered"] == 1


def test_results_are_not_there_before_the_end() -> None:
    with LoopbackProvider(batch_seconds=60) as provider, anthropic_client(provider) as client:
        name = message_batch(client, 1).id
        with pytest.raises(anthropic.NotFoundError, match="no results yet"):
            client.get(f"/v1/messages/batches/{name}/results", cast_to=object)
        with pytest.raises(anthropic.NotFoundError, match="No batch found"):
            client.messages.batches.retrieve("msgbatch_0")


def test_message_batches_that_break_the_rules_are_refused() -> None:
    with (
        LoopbackProvider(batch_max_requests=3, batch_max_bytes=2_000) as provider,
        anthropic_client(provider) as client,
    ):
        with pytest.raises(anthropic.BadRequestError, match="at most 3 items after validation, not 4"):
            message_batch(client, 4)
        for names, words in ((["a", "a"], "not unique"), (["a b"], "should match pattern")):
            with pytest.raises(anthropic.BadRequestError, match=words):
                client.messages.batches.create(requests=[{"custom_id": n, "params": message()} for n in names])
        with pytest.raises(anthropic.RequestTooLargeError):
            client.messages.batches.create(requests=[{"custom_id": "a", "params": message("x" * 2_000)}])
    assert provider.counts()["batches"] == 0


def test_a_message_batch_whose_creation_got_no_reply_is_found_by_listing() -> None:
    with (
        LoopbackProvider(call_faults={"create": ["reset", "lost_create"]}) as provider,
        anthropic_client(provider) as client,
    ):
        for made in (0, 1):
            with pytest.raises(anthropic.APIConnectionError):
                message_batch(client, 2)
            assert len(client.messages.batches.list().data) == made
        name = ended(client, client.messages.batches.list().data[0].id).id
        assert set(result_types(client, name)) == {"key-0", "key-1"}
        assert message_batch(client, 1).id != name


def lines(count: int, **changed: JSON) -> list[JSON]:
    return [
        {
            "custom_id": f"key-{n}",
            "method": "POST",
            "url": "/v1/chat/completions",
            "body": chat(f"question {n}"),
            **changed,
        }
        for n in range(count)
    ]


def upload(client: openai.OpenAI, requests: list[JSON]) -> str:
    content = "\n".join(json.dumps(one) for one in requests).encode()
    return client.files.create(file=("requests.jsonl", content), purpose="batch").id


def batch_of(client: openai.OpenAI, requests: list[JSON], metadata: dict[str, str] | None = None) -> Batch:
    return client.batches.create(
        input_file_id=upload(client, requests),
        endpoint="/v1/chat/completions",
        completion_window="24h",
        metadata=metadata or {},
    )


def finished(client: openai.OpenAI, name: str) -> Batch:
    until = time.monotonic() + PATIENCE_SECONDS
    while (batch := client.batches.retrieve(name)).status in ("validating", "in_progress", "finalizing", "cancelling"):
        assert time.monotonic() < until, batch
        time.sleep(0.01)
    return batch


def read_lines(client: openai.OpenAI, file: str | None) -> list[JSON]:
    assert file is not None
    return [json.loads(line) for line in client.files.content(file).text.splitlines()]


def test_a_file_is_told_and_given_back_as_it_was() -> None:
    content = json.dumps(lines(1)[0]).encode() + b"\r\n\r\n--x\r\n"
    with LoopbackProvider() as provider, openai_client(provider) as client:
        stored = client.files.create(file=("some.jsonl", content), purpose="batch")
        told = client.files.retrieve(stored.id)
        assert client.files.content(stored.id).content == content
        with pytest.raises(openai.NotFoundError, match="No such File object"):
            client.files.content("file-0")
    assert (told.filename, told.bytes, told.purpose) == ("some.jsonl", len(content), "batch")


def test_a_batch_ends_with_one_line_for_each_request_in_another_order() -> None:
    with LoopbackProvider() as provider, openai_client(provider) as client:
        created = batch_of(client, lines(10), {"ours": "7f"})
        batch = finished(client, created.id)
        output = read_lines(client, batch.output_file_id)
    assert (created.status, batch.status, batch.metadata) == ("validating", "completed", {"ours": "7f"})
    assert batch.error_file_id is None
    assert batch.request_counts is not None
    assert (batch.request_counts.total, batch.request_counts.completed) == (10, 10)
    names = [line["custom_id"] for line in output]
    assert sorted(names) == [f"key-{number}" for number in range(10)] != names
    assert output[0]["response"]["status_code"] == 200
    assert output[0]["response"]["body"]["choices"][0]["finish_reason"] == "stop"


def test_a_batch_goes_through_the_states_of_the_provider() -> None:
    seen: list[str] = []
    with LoopbackProvider(batch_seconds=0.5) as provider, openai_client(provider) as client:
        name = batch_of(client, lines(1)).id
        until = time.monotonic() + PATIENCE_SECONDS
        while not seen or seen[-1] != "completed":
            assert time.monotonic() < until
            seen.append(client.batches.retrieve(name).status)
    order = list(dict.fromkeys(seen))
    assert order == [state for state in ("validating", "in_progress", "finalizing", "completed") if state in seen]
    assert "in_progress" in order


def test_batches_are_listed_newest_first_and_page_by_page() -> None:
    with LoopbackProvider() as provider, openai_client(provider) as client:
        names = [batch_of(client, lines(1), {"n": str(n)}).id for n in range(5)][::-1]
        first = client.batches.list(limit=2)
        second = client.batches.list(limit=2, after=first.data[-1].id)
        every = [batch.id for batch in client.batches.list(limit=2)]
    assert ([batch.id for batch in first.data], first.has_more) == (names[:2], True)
    assert [batch.id for batch in second.data] == names[2:4]
    assert every == names


def test_a_canceled_batch_keeps_what_was_done() -> None:
    with LoopbackProvider(batch_seconds=60, batch_done_at_cancel=0.5) as provider, openai_client(provider) as client:
        name = batch_of(client, lines(4)).id
        canceling = client.batches.cancel(name)
        batch = finished(client, name)
        output = read_lines(client, batch.output_file_id)
    assert (canceling.status, batch.status) == ("cancelling", "cancelled")
    assert (len(output), batch.error_file_id) == (2, None)


def test_requests_of_a_batch_expire_or_fail_alone() -> None:
    fates: dict[str, Fault] = {"key-0": "expired", "key-1": "500"}
    with (
        LoopbackProvider(faults=lambda asked: fates.get(asked.custom_id)) as provider,
        openai_client(provider) as client,
    ):
        batch = finished(client, batch_of(client, lines(3)).id)
        output = read_lines(client, batch.output_file_id)
        errors = {line["custom_id"]: line for line in read_lines(client, batch.error_file_id)}
    assert batch.status == "expired"
    assert [line["custom_id"] for line in output] == ["key-2"]
    assert (errors["key-0"]["error"]["code"], errors["key-0"]["response"]) == ("batch_expired", None)
    assert errors["key-1"]["response"]["status_code"] == 500
    assert errors["key-1"]["response"]["body"]["error"]["type"] == "server_error"


@pytest.mark.parametrize(
    ("requests", "code"),
    [
        (lines(4), "too_many_tasks"),
        (lines(2, custom_id="same"), "duplicate_custom_id"),
        (lines(1, url="/v1/embeddings"), "invalid_url"),
        (lines(1, body={"model": "tiny"}), "invalid_json_line"),
        ([*lines(1), {**lines(2)[1], "body": {**chat(), "model": "other"}}], "mismatched_model"),
        ([], "empty_file"),
    ],
)
def test_a_file_that_can_not_be_worked_on_makes_the_batch_fail(requests: list[JSON], code: str) -> None:
    with LoopbackProvider(batch_max_requests=3) as provider, openai_client(provider) as client:
        batch = finished(client, batch_of(client, requests).id)
    assert batch.status == "failed"
    assert batch.errors is not None
    assert [error.code for error in batch.errors.data or []] == [code]
    assert provider.counts()["requests"] == 0


def test_a_file_that_is_too_large_is_refused() -> None:
    with (
        LoopbackProvider(batch_max_bytes=100) as provider,
        openai_client(provider) as client,
        pytest.raises(openai.BadRequestError, match="File is too large"),
    ):
        upload(client, lines(3))


def test_a_batch_whose_creation_got_no_reply_is_found_by_its_metadata() -> None:
    with LoopbackProvider(call_faults={"create": ["lost_create"]}) as provider, openai_client(provider) as client:
        with pytest.raises(openai.APIConnectionError):
            batch_of(client, lines(2), {"ours": "7f"})
        (found,) = [batch for batch in client.batches.list() if (batch.metadata or {}).get("ours") == "7f"]
        assert len(read_lines(client, finished(client, found.id).output_file_id)) == 2


@pytest.mark.parametrize(("fault", "error"), [("500", openai.InternalServerError), ("429", openai.RateLimitError)])
def test_calls_about_batches_meet_faults_in_turn(fault: CallFault, error: type[Exception]) -> None:
    faults = {"retrieve": [None, fault], "content": [fault]}
    with LoopbackProvider(call_faults=faults) as provider, openai_client(provider) as client:  # type: ignore[arg-type]
        name = batch_of(client, lines(1)).id
        client.batches.retrieve(name)
        with pytest.raises(error):
            client.batches.retrieve(name)
        batch = finished(client, name)
        with pytest.raises(error):
            read_lines(client, batch.output_file_id)
        assert len(read_lines(client, batch.output_file_id)) == 1


def test_equal_bodies_are_counted_as_paid_twice_whichever_way_they_came() -> None:
    with LoopbackProvider() as provider, openai_client(provider) as client, anthropic_client(provider) as other:
        client.chat.completions.create(**chat("question 0"))
        finished(client, batch_of(client, lines(2)).id)
        other.messages.create(**message("question 0"))
        ended(other, message_batch(other, 2).id)
    assert provider.counts() == {
        "calls": provider.counts()["calls"], "requests": 6, "answered": 6, "answered_twice": 2, "faults": 0,
        "rate_limited": 0, "batches": 2, "batch_requests": 4, "most_in_flight": 1,
    }  # fmt: skip
    assert sorted(provider.answered.values()) == [1, 1, 2, 2]


def test_a_batch_that_would_fill_the_queue_fails_until_others_have_ended() -> None:
    with LoopbackProvider(batch_enqueued_tokens=4, batch_seconds=0.3) as provider, openai_client(provider) as client:
        first, second = batch_of(client, lines(3)[:1]), batch_of(client, lines(3)[1:])
        refused = finished(client, second.id)
        assert refused.errors is not None
        assert [problem.code for problem in refused.errors.data or []] == ["token_limit_exceeded"]
        assert finished(client, first.id).status == "completed"
        assert finished(client, batch_of(client, lines(3)[1:]).id).status == "completed"
    assert provider.counts()["batch_requests"] == 3
