"""The ledger: answers are stored at once, never asked for twice, and survive processes, bad files and full disks."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from flows.fake_provider import Asked, LoopbackProvider, always
from labeling.errors import FeatlasError
from labeling.evidence import TABLES
from labeling.ledger import Ledger, request_key
from labeling.ledger_file import is_alive, this_process
from labeling.ledger_model import LedgerModel
from labeling.llm import ask
from labeling.llm.scripted import Scripted
from labeling.types import Completion, CompletionFailure, LLMRequest, LLMResult, NumberToken
from tests.labeling.llm_builders import KEY, KEY_NAMES, request, requests, texts, tiny
from tests.waiting import wait_until

ASK_MANY = """
import signal
import sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where the tests run in the background
from pathlib import Path
from labeling.ledger import Ledger
from labeling.ledger_model import LedgerModel
from labeling.llm import ask, connect
from tests.labeling.llm_builders import requests
path, url, count = sys.argv[1:]
with Ledger(Path(path)) as ledger:
    ask(LedgerModel(connect("openai/tiny", base_url=url, max_in_flight=8), ledger), requests(int(count)))
"""


@pytest.fixture(autouse=True)
def _keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in KEY_NAMES:
        monkeypatch.setenv(variable, KEY)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger(tmp_path / "ledger.sqlite") as opened:
        yield opened


def ask_in_another_process(ledger: Ledger, provider: LoopbackProvider, count: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", ASK_MANY, str(ledger.path), provider.openai_url, str(count)])


def has_answers(ledger: Ledger, at_least: int) -> bool:
    return ledger.summary().answered >= at_least


def times_asked(provider: LoopbackProvider, user: str) -> int:
    return sum(asked.user == user for asked in provider.asked)


def test_what_is_answered_is_not_asked_again(ledger: Ledger) -> None:
    inner = Scripted(lambda asked: asked.user.upper())
    first = ask(LedgerModel(inner, ledger), requests(3))
    again = LedgerModel(inner, ledger)
    assert ask(again, requests(4))[:3] == first
    assert [asked.user for asked in inner.asked] == [f"question {number}" for number in range(4)]
    assert (again.reused, again.sent, again.sent_again) == (3, 1, 0)


def test_equal_requests_of_one_call_are_sent_once(ledger: Ledger) -> None:
    inner = Scripted(lambda asked: "yes")
    results = ask(LedgerModel(inner, ledger), [request("same"), request("other"), request("same")])
    assert texts(results) == ["yes", "yes", "yes"]
    assert [asked.user for asked in inner.asked] == ["same", "other"]


def test_requests_that_ask_for_no_log_probabilities_keep_the_keys_they_always_had() -> None:
    assert request_key(request("why?")) == "d8bb50e37d457bed03c304644e6e7007"
    keys = {request_key(replace(request("why?"), top_logprobs=n)) for n in (0, 1, 20)}
    assert len(keys) == 3


def test_log_probabilities_are_in_the_ledger_with_their_answer_and_gone_with_it(ledger: Ledger) -> None:
    tokens = (NumberToken(3, 5, (("10", 0.75), ("9", 0.25))),)
    answer = Completion("a: 10", "stop", 1, 0, 1, 1.0, number_tokens=tokens)
    (key,) = ledger.register([request("why?")])
    ledger.claim(key)
    assert ledger.finish(key, answer) == answer == ledger.answers([key])[key]
    assert [billed and billed.number_tokens for _, _, billed in ledger.billed([key])] == [None]
    ledger.reject(key, "not_json", "it held no JSON object")
    assert ledger.failures([key])[key].answer == answer
    ledger.claim(key)
    without = replace(answer, number_tokens=None)
    both = replace(
        without, input_tokens=2, output_tokens=2, attempts=2
    )  # what was billed for the rejected answer stays
    assert ledger.finish(key, without) == both


def test_equal_requests_of_calls_that_overlap_are_sent_once(ledger: Ledger) -> None:
    async def overlap() -> tuple[list[LLMResult], list[LLMResult]]:
        model = LedgerModel(tiny(provider), ledger)
        return await asyncio.gather(model.complete(requests(5)), model.complete(requests(5)))

    with LoopbackProvider(latency_seconds=0.1) as provider:
        one, other = asyncio.run(overlap())
    assert one == other
    assert (len(provider.asked), provider.counts()["answered_twice"]) == (5, 0)


@pytest.mark.parametrize(
    "changed",
    [
        {"model": "openai/large"},
        {"system": "x"},
        {"user": "x"},
        {"schema": {"type": "string"}},
        {"max_output_tokens": 101},
        {"repeat": 1},
        {"purpose": "score"},
    ],
)
def test_everything_in_a_request_is_part_of_its_key(changed: dict[str, object]) -> None:
    one = request("why?")
    other: LLMRequest = replace(one, **changed)  # type: ignore[arg-type]  # one field at a time, by name
    assert request_key(one) == request_key(request("why?"))
    assert request_key(one) != request_key(other)


def test_an_answer_is_stored_before_the_next_one_is_there(ledger: Ledger) -> None:
    stored = []

    def script(asked: LLMRequest) -> str:
        stored.append(ledger.summary().answered)
        return "yes"

    ask(LedgerModel(Scripted(script), ledger), requests(3))
    assert stored == [0, 1, 2]


def test_a_failure_is_stored_with_its_reason_and_asked_again_in_the_next_run(ledger: Ledger) -> None:
    half = Completion("half", "length", 10, 0, 5, 0.1)
    failure = CompletionFailure("truncated", retryable=False, detail="length: half", answer=half, attempts=2)
    assert ask(LedgerModel(Scripted(lambda asked: failure), ledger), requests(1)) == [failure]
    assert ledger.summary().failed_by_reason == {"truncated": 1}
    (row,) = ledger.export().to_dicts()
    assert (row["state"], row["reason"], row["attempts"], row["answer"]) == ("failed", "truncated", 2, "half")

    whole = Completion("whole", "stop", 10, 4, 7, 0.2)
    (answer,) = ask(LedgerModel(Scripted(lambda asked: whole), ledger), requests(1))
    # Both answers are billed, so both are counted.
    assert answer == replace(whole, input_tokens=20, output_tokens=12, attempts=3)
    assert ask(LedgerModel(Scripted(lambda asked: ""), ledger), requests(1)) == [answer]


def test_the_export_is_the_declared_table(ledger: Ledger) -> None:
    ask(LedgerModel(Scripted(lambda asked: "yes"), ledger), requests(2))
    ledger.register([request("never sent")])
    table = ledger.export(lambda model, answer: 0.5 if model == "openai/tiny" else None)
    assert dict(table.schema) == dict(TABLES["llm_requests"].schema)
    assert table["request_key"].to_list() == sorted(request_key(one) for one in requests(2))
    assert table["cost_usd"].to_list() == [0.5, 0.5]
    assert abs(table["answered_at"].dt.epoch("s")[0] - time.time()) < 60
    assert ledger.export()["cost_usd"].to_list() == [None, None]


def test_costs_add_up_over_what_was_billed_and_stay_unknown_once_they_are(tmp_path: Path) -> None:
    half, whole = Completion("half", "length", 10, 0, 5, 0.1), Completion("whole", "stop", 10, 0, 7, 0.1)
    prices = {"openai/tiny": 0.5}
    with Ledger(tmp_path / "ledger.sqlite", price=lambda model, answer: prices.get(model)) as ledger:
        keys = ledger.register([*requests(1), request("?", model="openai/unknown"), request("nothing came")])
        failures = [CompletionFailure("truncated", False, answer=half)] * 2 + [CompletionFailure("timeout", True)]
        for key, failure in zip(keys, failures, strict=True):
            ledger.claim(key)
            ledger.finish(key, failure)
        prices["openai/unknown"] = 0.25
        for key in keys:
            ledger.claim(key)
            ledger.finish(key, whole)
        costs = {row["request_key"]: row["cost_usd"] for row in ledger.export().to_dicts()}
        assert [costs[key] for key in keys] == [1.0, None, 0.5]
        summary = ledger.summary()
        assert (summary.cost_usd, summary.n_cost_unknown) == (1.5, 1)


def test_an_answer_that_cannot_be_used_becomes_a_failure_and_is_asked_for_again(ledger: Ledger) -> None:
    (answer,) = ask(LedgerModel(Scripted(lambda asked: "maybe"), ledger), requests(1))
    key = request_key(requests(1)[0])
    ledger.reject(key, "not_json", "no JSON\ud800")
    assert isinstance(answer, Completion)
    assert answer.input_tokens is not None
    assert ledger.failures([key]) == {key: CompletionFailure("not_json", False, "no JSON?", answer)}
    assert (ledger.answers([key]), ledger.summary().failed_by_reason) == ({}, {"not_json": 1})
    assert ledger.summary().input_tokens == answer.input_tokens
    assert texts(ask(LedgerModel(Scripted(lambda asked: "{}"), ledger), requests(1))) == ["{}"]
    assert ledger.summary().input_tokens == 2 * answer.input_tokens


def test_tokens_that_are_not_known_are_not_zero(tmp_path: Path) -> None:
    uncounted = Completion("yes", "stop", None, None, None, 0.1, cache_write_input_tokens=None)
    with Ledger(tmp_path / "own.sqlite", price=lambda model, answer: answer.input_tokens) as ledger:
        keys = ledger.register(requests(2))
        assert (ledger.summary().input_tokens, ledger.summary().cost_usd) == (0, 0)
        ledger.claim_each(keys)
        assert ledger.finish(keys[0], uncounted) == uncounted
        assert ledger.answers(keys) == {keys[0]: uncounted}
        summary = ledger.summary()
        assert (summary.input_tokens, summary.cached_input_tokens, summary.output_tokens) == (None, None, None)
        assert (summary.cost_usd, summary.n_cost_unknown, summary.n_tokens_unknown) == (None, 1, 1)
        ledger.finish(keys[1], Completion("yes", "stop", 10, 0, 1, 0.1))
        summary = ledger.summary()
        assert (summary.input_tokens, summary.n_tokens_unknown, summary.cost_usd) == (10, 1, 10)
        assert ledger.export()["input_tokens"].null_count() == 1


def test_a_sum_with_an_answer_that_nobody_counted_is_not_known(ledger: Ledger) -> None:
    (key,) = ledger.register(requests(1))
    uncounted = Completion("half", "length", None, None, None, 0.1, cache_write_input_tokens=None)
    counted = Completion("whole", "stop", 10, 0, 7, 0.1)
    ledger.claim(key)
    ledger.finish(key, CompletionFailure("truncated", True, "", uncounted))
    ledger.claim(key)
    answer = ledger.finish(key, counted)
    assert isinstance(answer, Completion)
    assert (answer.input_tokens, answer.output_tokens) == (None, None)


def test_only_an_answered_request_can_be_rejected(ledger: Ledger) -> None:
    pending, failed = ledger.register(requests(2))
    ledger.claim(failed)
    ledger.finish(failed, CompletionFailure("timeout", retryable=True))
    for key in (pending, failed):
        ledger.reject(key, "not_json", "")
    assert (ledger.summary().pending, ledger.summary().failed_by_reason) == (1, {"timeout": 1})


def test_what_comes_back_together_is_committed_together_or_not_at_all(ledger: Ledger) -> None:
    keys = ledger.register(requests(3))
    assert all(claim.granted for claim in ledger.claim_each(keys))
    answer = Completion("yes", "stop", 1, 0, 1, 0.1)
    with pytest.raises(ValueError):
        ledger.finish_many([(keys[0], answer), ("no such request", answer)])
    assert ledger.summary().answered == 0
    failure = CompletionFailure("timeout", retryable=True)
    ledger.claim(keys[0])
    assert ledger.finish_many([(keys[0], answer), (keys[1], failure)]) == [replace(answer, attempts=2), failure]
    assert (ledger.summary().answered, ledger.summary().failed, ledger.summary().sent) == (1, 1, 1)


def test_a_ledger_can_be_read_while_another_process_writes(ledger: Ledger) -> None:
    ledger.register(requests(2))
    with Ledger(ledger.path, read_only=True) as reader:
        with ledger._writing():
            assert reader.summary().pending == 2
        with pytest.raises(FeatlasError, match="cannot be written"):
            reader.register(requests(3))
        with reader._reading():
            ledger.register(requests(4))
        assert reader.summary().pending == 4


def test_reading_makes_no_ledger_where_there_is_none(tmp_path: Path) -> None:
    with pytest.raises(FeatlasError, match="There is no ledger"):
        Ledger(tmp_path / "ledger.sqlite", read_only=True)
    assert list(tmp_path.iterdir()) == []


def test_the_prompt_can_be_read_again_and_its_fixed_part_is_stored_once(ledger: Ledger) -> None:
    long_prefix = os.urandom(20_000).hex()
    keys = ledger.register([request(f"question {number}\ud800", system=long_prefix) for number in range(200)])
    assert ledger.request(keys[7]) == request("question 7\ud800", system=long_prefix)
    with sqlite3.connect(ledger.path) as connection:
        (count,) = connection.execute("SELECT count(*) FROM texts WHERE length(text) > 10000").fetchone()
    connection.close()
    assert count == 1
    with pytest.raises(KeyError, match="has no request 'nothing'"):
        ledger.request("nothing")


def test_half_surrogates_in_every_text_of_a_failure_are_stored(ledger: Ledger) -> None:
    (key,) = ledger.register(requests(1))
    ledger.claim(key)
    answer = Completion("a\ud800", "stop\udfff", 1, 0, 1, 0.1)
    failure = ledger.finish(key, CompletionFailure("trun\ud800cated", True, "why\ud800", answer))
    clean = replace(answer, text="a?", stop_reason="stop?")
    assert failure == CompletionFailure("trun?cated", True, "why?", clean)
    assert ledger.failures([key]) == {key: failure}
    assert ledger.export()["stop_reason"].to_list() == ["stop?"]


def test_half_a_surrogate_in_an_answer_is_stored(ledger: Ledger) -> None:
    (first,) = ask(LedgerModel(Scripted(lambda asked: "a\ud800b"), ledger), requests(1))
    assert ask(LedgerModel(Scripted(lambda asked: ""), ledger), requests(1)) == [first]
    assert isinstance(first, Completion)
    assert first.text == "a?b"


def test_a_request_left_by_a_process_that_died_is_sent_again_and_counted(ledger: Ledger) -> None:
    died = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    keys = ledger.register(requests(3))
    with sqlite3.connect(ledger.path) as connection:
        connection.execute(
            "UPDATE requests SET state = 'sent', owner = ?, sent_at = ? WHERE request_key != ?",
            (f"{died.pid}:1", time.time(), keys[0]),
        )
    connection.close()
    died.communicate()
    assert ledger.interrupted() == 2
    model = LedgerModel(Scripted(lambda asked: "yes"), ledger)
    ask(model, requests(3))
    assert (model.sent, model.sent_again, ledger.interrupted()) == (3, 2, 0)


def test_a_request_that_another_process_has_under_way_is_waited_for(ledger: Ledger) -> None:
    (key,) = ledger.register(requests(1))
    assert ledger.claim(key).granted
    answer = Completion("theirs", "stop", 1, 0, 1, 0.1)
    threading.Timer(0.3, ledger.finish, (key, answer)).start()
    with Ledger(ledger.path) as other:
        assert not other.claim(key).granted
        assert other.interrupted() == 0
        inner = Scripted(lambda asked: "ours")
        assert texts(ask(LedgerModel(inner, other), requests(1))) == ["theirs"]
    assert inner.asked == []


def test_a_process_is_known_by_more_than_its_id() -> None:
    assert is_alive(this_process())
    assert not is_alive(f"{os.getpid()}:1")


def test_a_mistake_in_a_script_leaves_nothing_under_way(ledger: Ledger) -> None:
    def script(asked: LLMRequest) -> str:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        ask(LedgerModel(Scripted(script), ledger), requests(1))
    assert ledger.interrupted() == 1
    assert texts(ask(LedgerModel(Scripted(lambda asked: "yes"), ledger), requests(1))) == ["yes"]


def test_a_refused_key_leaves_requests_pending_and_keeps_the_answer_under_way(ledger: Ledger) -> None:
    first, second = requests(12)[:2]

    def latency(asked: Asked) -> float:
        return 0.4 if asked.user == first.user else 0.1

    with LoopbackProvider(
        faults=lambda asked: None if asked.user == first.user else "401", latency_seconds=latency
    ) as provider:
        model = LedgerModel(tiny(provider, max_in_flight=2), ledger)
        with pytest.raises(FeatlasError, match="refused the key"):
            ask(model, requests(12))
    assert len(provider.asked) == 2
    assert list(ledger.answers([request_key(first), request_key(second)])) == [request_key(first)]
    summary = ledger.summary()
    assert (summary.answered, summary.pending, summary.sent) == (1, 11, 0)


def test_no_key_gets_into_the_ledger(ledger: Ledger) -> None:
    with LoopbackProvider(faults=always("400"), answer=lambda asked: f"no: {asked.headers}") as provider:
        ask(LedgerModel(tiny(provider), ledger), requests(2))
    with LoopbackProvider(key="another") as provider, pytest.raises(FeatlasError):
        ask(LedgerModel(tiny(provider), ledger), requests(3))
    files = list(ledger.path.parent.iterdir())
    assert len(files) >= 1
    assert not any(KEY.encode() in file.read_bytes() for file in files)


def test_a_damaged_file_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    path.write_bytes(b"this is not SQLite at all" * 100)
    before = path.read_bytes()
    with pytest.raises(FeatlasError, match=r"damaged.*left as it is"):
        Ledger(path)
    assert path.read_bytes() == before


def test_an_emptied_file_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    path.touch()
    with pytest.raises(FeatlasError, match=r"empty file.*Nothing was written"):
        Ledger(path)
    assert path.read_bytes() == b""


def test_threads_that_make_the_ledger_together_get_one_and_leave_nothing_beside_it(tmp_path: Path) -> None:
    path, together = tmp_path / "ledger.sqlite", threading.Barrier(8)

    def make(number: int) -> list[str]:
        together.wait(timeout=20)
        with Ledger(path) as ledger:
            return ledger.register([request(f"question {number}")])

    with ThreadPoolExecutor(8) as threads:
        keys = [key for some in threads.map(make, range(8)) for key in some]
    with Ledger(path) as ledger:
        assert ledger.summary().pending == len(set(keys)) == 8
    assert {file.name.partition(".sqlite")[0] for file in tmp_path.iterdir()} == {"ledger"}


def test_a_file_damaged_in_the_middle_is_an_error_and_not_a_missing_answer(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    with Ledger(path) as ledger:
        ledger.register(requests(500))
    data = bytearray(path.read_bytes())
    data[8192:] = b"\xff" * (len(data) - 8192)
    path.write_bytes(bytes(data))
    with Ledger(path) as ledger, pytest.raises(FeatlasError, match="damaged"):
        ask(LedgerModel(Scripted(lambda asked: "yes"), ledger), requests(500))


def test_a_ledger_of_a_newer_version_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    Ledger(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(FeatlasError, match="version 99; this featlas knows versions up to 3"):
        Ledger(path)
    assert path.read_bytes() == before


def test_another_programs_file_is_refused(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "other.sqlite") as connection:
        connection.execute("CREATE TABLE mine (x)")
    connection.close()
    with pytest.raises(FeatlasError, match="of some other program"):
        Ledger(tmp_path / "other.sqlite")


def test_a_folder_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(FeatlasError, match=r"nowhere/ledger\.sqlite cannot be written"):
        Ledger(tmp_path / "nowhere" / "ledger.sqlite")


def test_a_full_disk_stops_the_run_and_keeps_what_is_stored(ledger: Ledger) -> None:
    ask(LedgerModel(Scripted(lambda asked: "yes"), ledger), requests(3))
    pages = ledger._connection.execute("PRAGMA page_count").fetchone()[0]
    ledger._connection.execute(f"PRAGMA max_page_count = {pages}")
    inner = Scripted(lambda asked: "z" * 100_000)
    with pytest.raises(FeatlasError, match=r"is full.*Free some space"):
        ask(LedgerModel(inner, ledger), requests(20))
    assert len(inner.asked) == 1
    with Ledger(ledger.path) as reopened:
        assert reopened.summary().answered == 3


@pytest.mark.slow
def test_after_a_kill_only_what_was_under_way_is_sent_again(ledger: Ledger) -> None:
    asked_when_stored: dict[str, int] = {}
    with LoopbackProvider(latency_seconds=0.1) as provider:
        for answers in (10, 40, 80):
            process = ask_in_another_process(ledger, provider, 150)
            wait_until(partial(has_answers, ledger, answers))
            process.send_signal(signal.SIGKILL)
            process.wait()
            stored = ledger.answers(request_key(one) for one in requests(150))
            users = [one.user for one in requests(150) if request_key(one) in stored]
            asked_when_stored |= {user: times_asked(provider, user) for user in users}
        model = LedgerModel(tiny(provider), ledger)
        interrupted = ledger.interrupted()
        assert 0 < interrupted <= 8
        results = ask(model, requests(150))
    assert len(texts(results)) == 150
    assert model.sent_again == interrupted
    assert len(asked_when_stored) >= 80
    assert asked_when_stored == {user: times_asked(provider, user) for user in asked_when_stored}
    # Only what was in flight at one of the three kills was asked again.
    assert len(provider.asked) <= 150 + 3 * 8


@pytest.mark.slow
def test_two_processes_on_one_ledger_share_the_work(ledger: Ledger) -> None:
    with LoopbackProvider(latency_seconds=0.05) as provider:
        both = [ask_in_another_process(ledger, provider, 150) for _ in range(2)]
        assert [process.wait(timeout=100) for process in both] == [0, 0]
    assert ledger.summary().answered == 150
    assert provider.counts()["answered_twice"] == 0
    assert len(provider.asked) == 150


@pytest.mark.slow
def test_an_interrupt_ends_the_run_at_once_and_what_was_under_way_is_counted(ledger: Ledger) -> None:
    with LoopbackProvider(latency_seconds=60.0) as provider:
        process = subprocess.Popen(
            [sys.executable, "-c", ASK_MANY, str(ledger.path), provider.openai_url, "20"], stderr=subprocess.PIPE
        )
        wait_until(lambda: len(provider.asked) >= 8)
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=20)
    assert b"KeyboardInterrupt" in error
    assert ledger.interrupted() == 8
