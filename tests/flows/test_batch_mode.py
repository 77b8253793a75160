"""Whole runs in batch mode, through both real SDKs against a server on 127.0.0.1."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from flows.fake_provider import Asked, Fault, LoopbackProvider
from labeling.ledger import BatchRow, Ledger
from labeling.workspace import Workspace
from tests.flows.mini import Mini, Ran, differing, featlas, judge, tables
from tests.flows.test_llm_pipeline import KEY, PRICED, run, url

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY"):
        monkeypatch.setenv(name, KEY)


def batches(mini: Mini) -> list[BatchRow]:
    with Ledger(Workspace(mini.workspace).ledger) as ledger:
        return ledger.batches()


@pytest.mark.parametrize("name", sorted(PRICED))
def test_a_run_in_batches_gives_the_tables_of_an_interactive_run_at_half_the_cost(
    mini: Mini, tmp_path: Path, name: str
) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    single, batched = mini.copy(tmp_path / "a"), mini.copy(tmp_path / "b")
    with LoopbackProvider(judge) as provider:
        first = run(single, provider, "--json", name=name)
        asked = provider.counts()["requests"]
        second = run(batched, provider, "--mode", "batch", "--json", name=name)
        assert (first.code, second.code) == (0, 0), first.err + second.err
        assert provider.counts()["batch_requests"] == asked
    assert [row.state for row in batches(batched)] == ["collected"] * 2  # one for each stage
    cost = [json.loads(ran.out)["llm"]["cost_usd"] for ran in (first, second)]
    assert 0.4 < cost[1] / cost[0] <= 0.5  # the second run meets a warm prompt cache
    costly = {"llm_requests", "explanations", "score_groups", "scoreboard", "labels"}
    assert set(differing(tables(single.workspace), tables(batched.workspace))) <= costly


@pytest.mark.parametrize("name", sorted(PRICED))
def test_no_wait_submits_and_later_runs_collect_and_go_on(mini: Mini, tmp_path: Path, name: str) -> None:
    copied = mini.copy(tmp_path)

    def again(*arguments: object) -> Ran:
        return run(copied, provider, "--mode", "batch", "--no-wait", *arguments, name=name)

    with LoopbackProvider(judge, batch_seconds=0.3) as provider:
        first = again("--json")
        assert (first.code, json.loads(first.out)["pending"]) == (0, 6), first.err
        assert "submitted 6 requests in 1 batch" in first.err
        assert copied.ask("SELECT * FROM explanations WHERE explainer = 'top_and_random'").is_empty()
        later = [again("--json")]
        while json.loads(later[-1].out)["pending"] and len(later) < 10:
            later.append(again("--json"))
        assert len(later) > 1  # the labels had to be there before they could be judged
        assert [ran.code for ran in later] == [0] * len(later), later[-1].err
        assert json.loads(later[-1].out)["failures"] == {}
        assert provider.counts()["batches"] == 2
        assert provider.counts()["answered_twice"] == 0
    assert copied.ask("SELECT count(*) FROM scores WHERE scorer = 'detection'").item() > 0


def test_what_is_in_a_batch_is_not_submitted_again(mini: Mini, tmp_path: Path) -> None:
    copied = mini.copy(tmp_path)
    with LoopbackProvider(judge, batch_seconds=600) as provider:
        for _ in range(2):
            ran = run(copied, provider, "--mode", "batch", "--no-wait", "--json", command="label")
            assert (ran.code, json.loads(ran.out)["pending"]) == (0, 6), ran.err
        assert provider.counts()["batches"] == 1
        dry = json.loads(run(copied, provider, "--dry-run", "--json", command="label").out)
        assert [e["requests"]["value"] for e in dry["estimates"]] == [0.0, 0.0]


def test_an_interactive_run_waits_for_what_is_in_a_batch(mini: Mini, tmp_path: Path) -> None:
    copied = mini.copy(tmp_path)
    with LoopbackProvider(judge, batch_seconds=0.5) as provider:
        assert run(copied, provider, "--mode", "batch", "--no-wait", command="label").code == 0
        ran = run(copied, provider, command="label")
        assert ran.code == 0, ran.err
        assert provider.counts()["requests"] == provider.counts()["batch_requests"] == 6
        assert provider.counts()["answered_twice"] == 0
    assert len(copied.ask("SELECT * FROM explanations WHERE explainer = 'top_and_random'")) == 6


def test_what_failed_in_a_batch_is_counted_and_asked_again_by_the_next_run(mini: Mini, tmp_path: Path) -> None:
    copied = mini.copy(tmp_path)
    expired = set[str]()

    def faults(asked: Asked) -> Fault | None:
        if asked.seen_before == 0 and len(expired) < 2:
            expired.add(asked.digest)
        return "expired" if asked.digest in expired and asked.seen_before == 0 else None

    with LoopbackProvider(judge, faults=faults) as provider:
        first = run(copied, provider, "--mode", "batch", "--json", command="label")
        assert (first.code, json.loads(first.out)["failures"]) == (3, {"label: batch_expired": 2}), first.err
        second = run(copied, provider, "--mode", "batch", command="label")
        assert second.code == 0, second.err
        assert provider.counts()["batch_requests"] == 8
        assert provider.counts()["answered_twice"] == 0


def test_an_answer_that_cannot_be_used_is_asked_for_again_in_a_second_batch(mini: Mini, tmp_path: Path) -> None:
    copied = mini.copy(tmp_path)
    spoiled: list[str] = []

    def answer(asked: Asked) -> str:
        if not spoiled:
            spoiled.append(asked.digest)
            return "I'd rather not say."
        return judge(asked)

    with LoopbackProvider(answer) as provider:
        ran = run(copied, provider, "--mode", "batch", command="label")
        assert ran.code == 0, ran.err
    assert [row.n_requests for row in batches(copied)] == [6, 1]


def test_a_limit_of_requests_ends_with_exit_code_4_and_what_was_sent_is_stored(mini: Mini, tmp_path: Path) -> None:
    copied = mini.copy(tmp_path)
    with LoopbackProvider(judge) as provider:
        first = run(copied, provider, "--mode", "batch", "--max-requests", 4, command="label")
        assert first.code == 4, first.err
        assert run(copied, provider, "--mode", "batch", command="label").code == 0
        assert provider.counts()["batch_requests"] == 6
        assert provider.counts()["answered_twice"] == 0


@pytest.mark.parametrize("name", sorted(PRICED))
def test_batches_are_listed_canceled_and_collected(mini: Mini, tmp_path: Path, name: str) -> None:
    copied = mini.copy(tmp_path)
    place = ("--workspace", copied.workspace)
    with LoopbackProvider(judge, batch_seconds=60) as provider:
        assert run(copied, provider, "--mode", "batch", "--no-wait", command="label", name=name).code == 0
        listed = featlas("batches", *place)
        (row,) = json.loads(featlas("batches", *place, "--json").out)
        assert "submitted" in listed.out
        assert row["n_requests"] == 6
        canceled = featlas("batches", *place, "cancel", row["batch"][:8], "--base-url", url(provider, name))
        assert canceled.code == 0, canceled.err
        time.sleep(0.3)
        collected = featlas("batches", *place, "collect", "--json")
        assert collected.code == 0, collected.err
        (changed,) = json.loads(collected.out)["changed"]
        assert (changed["state"], json.loads(collected.out)["under_way"]) in (("canceled", 0), ("collected", 0))
        assert featlas("batches", *place, "cancel", "no such id").code == 2
        # interactively: a batch would take a minute here
        ran = run(copied, provider, "--mode", "interactive", command="label", name=name)
        assert ran.code == 0, ran.err
        assert provider.counts()["answered_twice"] == 0


def test_without_batches_the_list_says_so(mini: Mini, tmp_path: Path) -> None:
    copied = mini.copy(tmp_path)
    Ledger(Workspace(copied.workspace).ledger).close()
    assert "No language model was asked in batches" in featlas("batches", "--workspace", copied.workspace).out
