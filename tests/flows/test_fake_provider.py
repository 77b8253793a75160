"""Both real SDKs against the fake provider, one question at a time: answers, usage, limits, faults, the command."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import anthropic
import openai
import pytest

from flows.cli import featlas
from flows.fake_provider import MIXED, Asked, Fault, LoopbackProvider, always, in_turn, mixed, question_name
from flows.fake_provider.answers import varied_text
from flows.fake_provider.faults import one_missing, spoil
from flows.fake_provider.openai_api import duration
from flows.fake_provider.rate_limit import Limits
from labeling.errors import UsageError
from tests.flows.provider_clients import (
    CACHED_SYSTEM,
    PATIENCE_SECONDS,
    anthropic_client,
    ask,
    chat,
    message,
    openai_client,
)
from tests.test_architecture import HEAVY

signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where the tests run in the background
ROOT = Path(__file__).resolve().parents[2]


def test_a_message_is_answered_to_fit_its_schema_and_its_tokens_are_counted() -> None:
    with LoopbackProvider() as provider, anthropic_client(provider) as client:
        reply = client.messages.create(**message("y" * 40, system="x" * 400))
        counted = client.messages.count_tokens(
            model="tiny", system="x" * 400, messages=[{"role": "user", "content": "y" * 40}]
        )
    assert reply.content[0].type == "text"
    assert json.loads(reply.content[0].text) == {"fits": [False] * 3}
    assert (reply.usage.input_tokens, counted.input_tokens) == (110, 110)
    assert reply.usage.output_tokens == len(reply.content[0].text) // 4


def test_a_marked_prefix_is_written_to_the_cache_and_then_read() -> None:
    system = [{"type": "text", "text": CACHED_SYSTEM, "cache_control": {"type": "ephemeral"}}]
    with LoopbackProvider() as provider, anthropic_client(provider) as client:
        usages = [client.messages.create(**message(user, system=system)).usage for user in ("aaaa", "bbbb")]
        short = client.messages.create(**message(system=[{**system[0], "text": "x" * 4_000}])).usage
    told = [(one.input_tokens, one.cache_creation_input_tokens, one.cache_read_input_tokens) for one in usages]
    assert told == [(1, 1_024, 0), (1, 0, 1_024)]
    assert (short.cache_creation_input_tokens, short.cache_read_input_tokens) == (0, 0)


def test_without_a_prompt_cache_usage_depends_on_the_body_alone() -> None:
    with LoopbackProvider(prompt_cache=False) as provider, openai_client(provider) as client:
        usages = [client.chat.completions.create(**chat(system=CACHED_SYSTEM)).usage for _ in range(2)]
    assert usages[0] == usages[1]


def test_questions_are_counted_by_their_words_whichever_api_they_come_through() -> None:
    with LoopbackProvider() as provider, anthropic_client(provider) as client, openai_client(provider) as openai_one:
        client.messages.create(**message("why?", system="Be brief."))
        openai_one.chat.completions.create(**chat("why?", system="Be brief."))
        openai_one.chat.completions.create(**chat("why?", system="Be brief. "))
        with urllib.request.urlopen(f"{provider.url}/questions") as reply:
            told = json.load(reply)
    assert told == {question_name("Be brief.", "why?"): 2, question_name("Be brief. ", "why?"): 1}


def test_varied_answers_fit_the_schema_and_tell_questions_apart() -> None:
    schema = {
        "type": "object",
        "properties": {"label": {"type": "string"}, "1": {"type": "integer"}, "ok": {"type": "boolean"}},
    }
    asked = Asked("openai", "tiny", "system", "user", schema, 50, {}, {}, "", 0)
    answers = [json.loads(varied_text(one)) for one in (asked, asked, replace(asked, user="another"))]
    assert answers[0] == answers[1] != answers[2]
    assert [list(answer) for answer in answers] == [["label", "1", "ok"]] * 3
    assert all(0 <= answer["1"] <= 100 and answer["ok"] is False for answer in answers)


def test_a_provider_in_a_process_of_its_own_ends_with_whoever_started_it() -> None:
    command = [sys.executable, "-m", "flows.fake_provider", "--until-input-ends", "--call-seconds=0.1", "--varied"]
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        assert json.loads(process.stdout.readline()).keys() == {"anthropic", "openai"}
        process.stdin.close()
        assert process.wait(PATIENCE_SECONDS) == 0
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_unknown_paths_are_refused_in_the_shape_of_the_provider() -> None:
    with LoopbackProvider() as provider:
        with anthropic_client(provider) as client, pytest.raises(anthropic.NotFoundError) as of_anthropic:
            client.models.list()
        with openai_client(provider) as openai_one, pytest.raises(openai.NotFoundError) as of_openai:
            openai_one.embeddings.create(model="tiny", input="x")
    assert json.loads(of_anthropic.value.response.content)["error"]["type"] == "not_found_error"
    assert of_openai.value.type == "invalid_request_error"
    assert "no such path: POST /v1/embeddings" in of_openai.value.message


def test_what_it_does_not_understand_or_do_is_refused() -> None:
    with LoopbackProvider() as provider, anthropic_client(provider) as client:
        with pytest.raises(anthropic.BadRequestError, match="not what this path takes"):
            client.post("/v1/messages", body={"model": "tiny"}, cast_to=object)
        with pytest.raises(anthropic.BadRequestError, match="does not stream"):
            client.messages.create(**message(stream=True))
    assert provider.counts()["answered"] == 0


def test_a_chat_is_answered_and_a_long_prefix_is_read_from_the_cache() -> None:
    with LoopbackProvider() as provider, openai_client(provider) as client:
        first, second = (client.chat.completions.create(**chat(u, system=CACHED_SYSTEM)) for u in ("aaaa", "bbbb"))
    assert json.loads(first.choices[0].message.content or "") == {"fits": [False] * 3}
    assert first.usage is not None
    assert second.usage is not None
    cached = [usage.prompt_tokens_details for usage in (first.usage, second.usage)]
    assert [details.cached_tokens for details in cached if details] == [0, 1_024]
    assert second.usage.prompt_tokens == 1_025


def test_limits_are_told_in_anthropic_headers_and_enforced() -> None:
    with (
        LoopbackProvider(requests_per_minute=60, tokens_per_minute=6_000, burst_seconds=2.0) as provider,
        anthropic_client(provider) as client,
    ):
        headers = client.messages.with_raw_response.create(**message("x" * 400)).headers
        client.messages.create(**message("second"))
        with pytest.raises(anthropic.RateLimitError) as error:
            client.messages.create(**message("third"))
    prefix = "anthropic-ratelimit"
    assert (headers[f"{prefix}-requests-limit"], headers[f"{prefix}-requests-remaining"]) == ("60", "1")
    assert headers[f"{prefix}-input-tokens-limit"] == "6000"
    assert 100 <= int(headers[f"{prefix}-input-tokens-remaining"]) < 200
    reset = datetime.fromisoformat(headers[f"{prefix}-requests-reset"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", headers[f"{prefix}-requests-reset"])
    assert abs((reset - datetime.now(UTC)).total_seconds()) < 10
    assert error.value.response.headers["retry-after"] == "1"
    assert error.value.response.headers[f"{prefix}-requests-remaining"] == "0"
    assert provider.counts()["rate_limited"] == 1


def test_limits_are_told_in_openai_headers_and_enforced() -> None:
    with LoopbackProvider(requests_per_minute=1, tokens_per_minute=600) as provider, openai_client(provider) as client:
        headers = client.chat.completions.with_raw_response.create(**chat()).headers
        with pytest.raises(openai.RateLimitError) as error:
            client.chat.completions.create(**chat("second"))
    assert headers["x-ratelimit-limit-requests"] == "1"
    assert headers["x-ratelimit-remaining-requests"] == "0"
    assert re.fullmatch(r"59\.\d+s|1m0s|60s", headers["x-ratelimit-reset-requests"])
    assert (headers["x-ratelimit-limit-tokens"], headers["x-ratelimit-remaining-tokens"]) == ("600", "0")
    assert 50 <= int(error.value.response.headers["retry-after"]) <= 60
    assert int(error.value.response.headers["retry-after-ms"]) <= 60_000
    assert error.value.code == "rate_limit_exceeded"


def test_without_limits_no_limits_are_told() -> None:
    with LoopbackProvider() as provider, openai_client(provider) as client:
        headers = client.chat.completions.with_raw_response.create(**chat()).headers
    assert not [name for name in headers if "ratelimit" in name]


def test_a_bucket_lets_through_what_has_flowed_in_since() -> None:
    limits = Limits(requests_per_minute=600, tokens_per_minute=None, burst_seconds=1.0, now=0.0)
    assert [limits.take(0, now=0.0) for _ in range(10)] == [0.0] * 10
    assert limits.take(0, now=0.0) == pytest.approx(0.1)
    passed = sum(limits.take(0, now=step / 1000) == 0.0 for step in range(1, 60_001))
    assert passed == pytest.approx(600, abs=1)


def test_a_request_larger_than_the_bucket_passes_when_it_is_full_and_is_paid_off() -> None:
    limits = Limits(requests_per_minute=None, tokens_per_minute=6_000, burst_seconds=1.0, now=0.0)
    assert limits.take(1_000, now=0.0) == 0.0
    assert limits.take(100, now=0.0) == pytest.approx(10.0)
    assert limits.standings(0.0)["tokens"].remaining == 0


def test_times_are_written_as_openai_writes_them() -> None:
    times = {0.0: "0ms", 0.0195: "20ms", 1.0: "1s", 8.64: "8.64s", 360.0: "6m0s", 3723.0: "1h2m3s"}
    assert {seconds: duration(seconds) for seconds in times} == times


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        ("wrong_count", '{"fits": [false, false]}'),
        ("truncated", '{"fits": [false'),
        ("empty", ""),
    ],
)
def test_an_answer_is_spoiled(fault: Fault, text: str) -> None:
    with LoopbackProvider(faults=always(fault)) as provider:
        assert ask(provider) == text
    assert provider.counts()["answered"] == 0


def test_prose_holds_the_answer_and_what_is_no_json_holds_none() -> None:
    assert '{"a": 1}' in spoil('{"a": 1}', "prose") != '{"a": 1}'
    assert "{" not in spoil('{"a": 1}', "not_json")


def test_without_a_list_a_property_is_missing() -> None:
    assert one_missing('{"a": 1, "b": 2}') == '{"a": 1}'
    assert one_missing("[1, 2]") == "[1]"
    assert one_missing("no json") == "no jso"


def asked(digest: str, seen_before: int) -> Asked:
    return Asked("openai", "tiny", "", "", {}, 0, {}, {}, digest, seen_before)


def test_mixed_faults_are_decided_by_seed_body_and_attempt() -> None:
    attempts = [asked(str(body), attempt) for body in range(500) for attempt in range(2)]
    one, again, other = ([mixed(share=0.3, seed=s)(attempt) for attempt in attempts] for s in (1, 1, 2))
    assert one == again != other
    assert 250 <= sum(fault is not None for fault in one) <= 350
    assert set(one) == {None, *MIXED}
    assert one[0::2] != one[1::2]


def test_what_only_happens_in_batches_is_no_fault_elsewhere() -> None:
    with LoopbackProvider(faults=in_turn("expired")) as provider:
        assert json.loads(ask(provider)) == {"fits": [False] * 3}
    assert provider.counts()["faults"] == 0


def test_a_mistake_in_the_answer_function_is_no_answer(caplog: pytest.LogCaptureFixture) -> None:
    def broken(asked: Asked) -> str:
        raise ValueError("a mistake")

    with LoopbackProvider(answer=broken) as provider, pytest.raises(openai.APIConnectionError):
        ask(provider)
    assert "a mistake" in caplog.text


async def raw_asks(port: int, connections: int) -> int:
    """Ask over that many connections at once, twice over each; count the replies with status 200."""
    body = json.dumps(chat()).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n".encode()

    async def twice(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> int:
        good = 0
        for _ in range(2):
            writer.write(head + body)
            reply = (await reader.readuntil(b"\r\n\r\n")).decode()
            length = re.search(r"content-length: (\d+)", reply)
            assert length is not None
            await reader.readexactly(int(length[1]))
            good += reply.startswith("HTTP/1.1 200 ")
        writer.close()
        return good

    opened = await asyncio.gather(*(asyncio.open_connection("127.0.0.1", port) for _ in range(connections)))
    return sum(await asyncio.gather(*(twice(*one) for one in opened)))


def test_six_hundred_connections_are_in_flight_at_once() -> None:
    def only_at_first(asked: Asked) -> float:
        return 1.5 if asked.seen_before < 600 else 0.0

    with LoopbackProvider(latency_seconds=only_at_first) as provider:
        assert asyncio.run(raw_asks(provider.port, 600)) == 1_200
    assert provider.most_in_flight == 600


def test_a_body_in_chunks_is_read() -> None:
    body = json.dumps(chat()).encode()
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (body[:9], body[9:])) + b"0\r\n\r\n"
    head = b"POST /v1/chat/completions HTTP/1.1\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n"
    with LoopbackProvider() as provider, socket.create_connection(("127.0.0.1", provider.port)) as client:
        client.sendall(head + chunks)
        assert client.recv(100).startswith(b"HTTP/1.1 200 ")


@pytest.fixture
def command() -> Iterator[subprocess.Popen[str]]:
    """`featlas fake-provider` in a process of its own."""
    program = "from flows.cli import main; main()"
    arguments = ("fake-provider", "--port", "0", "--latency", "0")
    process = subprocess.Popen(
        [sys.executable, "-c", program, *arguments], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    yield process
    process.kill()
    process.communicate()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_command_says_where_it_serves_and_counts_when_it_is_interrupted(
    command: subprocess.Popen[str], number: int
) -> None:
    assert command.stdout is not None
    told = [command.stdout.readline() for _ in range(5)]
    anthropic_url, openai_url = (line.split()[-1] for line in told[:2])
    assert openai_url == f"{anthropic_url}/v1"
    assert "featlas run --features 0-9" in told[3]
    with openai.OpenAI(api_key="any", base_url=openai_url) as client:
        client.chat.completions.create(**chat())
    command.send_signal(number)
    out, err = command.communicate(timeout=PATIENCE_SECONDS)
    assert (command.returncode, err) == (0, "")
    assert "\nrequests: 1\nanswered: 1\nanswered twice: 0\n" in out


def test_a_port_that_is_taken_is_named() -> None:
    with (
        LoopbackProvider() as provider,
        pytest.raises(UsageError, match=f"Port {provider.port} .* Name another --port"),
    ):
        featlas(["fake-provider", "--port", str(provider.port)], standalone_mode=False)


def test_it_listens_on_this_machine_only() -> None:
    with LoopbackProvider() as provider:
        assert provider.url.startswith("http://127.0.0.1:")
        with urllib.request.urlopen(f"{provider.url}/counts") as reply:
            assert json.load(reply)["requests"] == 0


def test_only_its_key_is_let_in() -> None:
    with (
        LoopbackProvider(key="right") as provider,
        anthropic_client(provider) as client,
        pytest.raises(anthropic.AuthenticationError),
    ):
        client.messages.batches.list()


def test_importing_the_command_imports_nothing_heavy() -> None:
    code = f"import sys, flows.commands.fake_provider; print(*sorted(set({HEAVY!r}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
