"""Limits on what a run may spend, and `--dry-run`, on the mini demo with a loopback provider."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.fake_provider import LoopbackProvider
from labeling.ledger import Ledger
from labeling.workspace import Workspace
from tests.flows.mini import MODEL, Mini, Ran, featlas, judge

KEY = "sk-loopback-9a8b7c6d5e4f"
N_FEATURES = 2


@pytest.fixture(autouse=True)
def _keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


@pytest.fixture
def provider() -> Iterator[LoopbackProvider]:
    with LoopbackProvider(judge) as running:
        yield running


def run(mini: Mini, provider: LoopbackProvider, command: str, *arguments: object, model: str = MODEL) -> Ran:
    return mini.featlas(
        command, "--explainer", "top_and_random", "--scorer", "detection", "--model", f"openai/{model}",
        "--base-url", provider.openai_url, "--features", mini.ok_features(N_FEATURES), *arguments,
    )  # fmt: skip


def answered(mini: Mini) -> int:
    with Ledger(Workspace(mini.workspace).ledger) as ledger:
        return ledger.summary().answered


@pytest.mark.slow
def test_a_limit_of_requests_stops_cleanly_publishes_and_a_later_run_goes_on(
    mini: Mini, tmp_path: Path, provider: LoopbackProvider
) -> None:
    copied = mini.copy(tmp_path)
    stopped = run(copied, provider, "run", "--max-requests", 9)
    assert stopped.code == 4
    said = stopped.paragraph()
    assert all(words in said for words in ("9 requests", "spent $0.0", "is stored", "--max-requests"))
    assert len(provider.asked) == answered(copied) == 9
    state, message = copied.ask("SELECT state, message FROM runs ORDER BY started_at DESC LIMIT 1").row(0)
    assert (state, "limit of 9 requests" in message) == ("partial", True)
    labels = copied.ask("SELECT count(*) FROM explanations WHERE explainer = 'top_and_random'").item()
    assert labels == 2 * N_FEATURES  # the control set gets as many
    done = run(copied, provider, "run")
    assert done.code == 0, done.err
    assert provider.counts()["answered_twice"] == 0
    score = "a score, controls included (a request they share counts in each),"
    for words in ("came from prompt caches", "a label,", score, "features without one"):
        assert words in done.out
    costs = json.loads(run(copied, provider, "score", "--json").out)["costs"]
    assert costs == [] or all(cost["usd_each"] > 0 for cost in costs)


def test_a_limit_of_cost_is_not_passed(mini: Mini, tmp_path: Path, provider: LoopbackProvider) -> None:
    copied = mini.copy(tmp_path)
    stopped = run(copied, provider, "run", "--max-cost", 0.004)
    assert stopped.code == 4, stopped.err
    assert "--max-cost" in stopped.paragraph()
    spent = copied.ask("SELECT sum(cost_usd) FROM llm_requests").item()
    assert 0.002 < spent <= 0.004


def test_a_limit_of_cost_needs_a_price_and_a_table_of_one_s_own_gives_it(
    mini: Mini, tmp_path: Path, provider: LoopbackProvider
) -> None:
    copied, own = mini.copy(tmp_path), tmp_path / "my_prices.json"
    refused = run(copied, provider, "label", "--max-cost", 5, model="unheard-of")
    assert refused.code == 2
    assert all(words in refused.paragraph() for words in ("openai/unheard-of", "llm.prices", "--max-requests"))
    assert provider.asked == []
    own.write_text('{"as_of": "2026-01-01", "models": {"openai/unheard-of": {"input": 100.0, "output": 100.0}}}')
    prices = ("--set", f"llm.prices={own}")
    assert run(copied, provider, "label", "--max-cost", 5, *prices, model="unheard-of").code == 0
    cost = copied.ask("SELECT sum(cost_usd), sum(input_tokens + output_tokens)::DOUBLE FROM llm_requests").row(0)
    assert cost[0] == pytest.approx(cost[1] * 100 / 1_000_000)
    unread = run(copied, provider, "label", "--set", "llm.prices=/no/such/prices.json")
    assert (unread.code, "/no/such/prices.json" in unread.paragraph()) == (1, True)


@pytest.mark.slow
def test_a_dry_run_sends_nothing_needs_no_key_and_comes_close(
    mini: Mini, tmp_path: Path, provider: LoopbackProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied, both = mini.copy(tmp_path), ("--explainer", "token_pattern,top_and_random")
    monkeypatch.delenv("OPENAI_API_KEY")
    ran = run(copied, provider, "run", *both, "--dry-run", "--json")
    assert ran.code == 0, ran.err
    assert provider.asked == []
    assert not Workspace(copied.workspace).ledger.exists()
    dry = json.loads(ran.out)
    assert [(e["stage"], e["feature_set"]) for e in dry["estimates"]] == [
        *[("score", "mini"), ("label", "mini"), ("score", "mini")],
        *[("score", "mini-random"), ("label", "mini-random"), ("score", "mini-random")],
    ]
    text = run(copied, provider, "run", *both, "--dry-run").out
    assert all(words in text for words in ("Nothing was sent", "±", "not compared with any bill", "In all: "))
    assert "labels that are not written yet count with 60 ± 25 characters" in text

    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    assert run(copied, provider, "run", *both).code == 0
    tokens, cost = copied.ask("SELECT sum(input_tokens), sum(cost_usd) FROM llm_requests").row(0)
    expected = {key: sum(e[key]["value"] for e in dry["estimates"]) for key in ("requests", "prompt_tokens")}
    assert expected["requests"] == len(provider.asked)  # what controls of both explainers ask counts once
    assert expected["prompt_tokens"] == pytest.approx(int(tokens), rel=0.02)
    assert abs(dry["cost_usd"] - cost) < 2 * sum(e["cost_usd"]["error"] for e in dry["estimates"])

    again = json.loads(run(copied, provider, "run", *both, "--dry-run", "--json").out)["estimates"]
    assert {e["requests"]["value"] for e in again} == {0.0}
    assert all(e["billed"]["ratio"] == pytest.approx(1.0, abs=0.01) for e in again if e["billed"]["n_answers"])
    assert "earlier answers were billed" in run(copied, provider, "run", "--dry-run").out


def test_a_dry_run_of_the_default_costs_nothing(mini: Mini, tmp_path: Path) -> None:
    assert "it costs nothing" in mini.copy(tmp_path).featlas("run", "--dry-run").out


def test_a_dry_run_before_sampling_says_so_and_makes_no_workspace(tmp_path: Path) -> None:
    workspace = tmp_path / "none"
    ran = featlas("demo", "--workspace", workspace, "--model", f"openai/{MODEL}", "--dry-run")
    assert ran.code == 0
    assert "featlas sample" in ran.out
    assert not workspace.exists()


def test_a_changed_config_needs_another_sample_for_its_dry_run(
    mini: Mini, tmp_path: Path, provider: LoopbackProvider
) -> None:
    ran = run(mini.copy(tmp_path), provider, "label", "--seed", 99, "--dry-run", "--json")
    assert json.loads(ran.out)["sampled"] is False
