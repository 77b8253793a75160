"""What requests used, read from the ledger by key: everything that was paid, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows.fake_provider import Asked, LoopbackProvider
from flows.usage import Usage, usage_of
from labeling.ledger import Ledger
from labeling.llm._prices import ModelPrice, Prices
from labeling.types import Completion, CompletionFailure
from labeling.workspace import Workspace
from tests.flows.mini import Mini, judge
from tests.flows.test_llm_pipeline import KEY, run
from tests.labeling.llm_builders import requests

PRICES = Prices("2026-01-01", {"openai/tiny": ModelPrice(1e6, 1e6, 1e6, 1e6)})


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path)


def answer(tokens: int | None) -> Completion:
    return Completion("yes", "stop", tokens, tokens and 0, tokens and 1, 0.1, cache_write_input_tokens=tokens and 0)


def answered(workspace: Workspace, *results: Completion | CompletionFailure) -> list[str]:
    with Ledger(workspace.ledger) as ledger:
        keys = ledger.register(requests(len(results)))
        ledger.claim_each(keys)
        ledger.finish_many(zip(keys, results, strict=True))
    return keys


def test_only_the_requests_that_are_named_count_and_each_once(workspace: Workspace) -> None:
    refused = CompletionFailure("refused", False, answer=answer(5))
    keys = answered(workspace, answer(10), refused, CompletionFailure("timeout", True), answer(100))
    used = usage_of(workspace, [*keys[:3], keys[0]], PRICES)
    assert used == Usage(requests=3, input_tokens=15, output_tokens=2, cost_usd=17.0)
    assert usage_of(workspace, [], PRICES) == Usage()


def test_one_request_that_nobody_counted_makes_the_sum_unknown(workspace: Workspace) -> None:
    keys = answered(workspace, answer(10), answer(None))
    assert usage_of(workspace, keys, PRICES) == Usage(2, None, None, None, None)
    assert usage_of(workspace, keys[:1], PRICES).input_tokens == 10


@pytest.mark.slow
def test_a_group_pays_for_answers_that_could_not_be_used(mini_copy: Mini, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)

    def bad_at_first(asked: Asked) -> str:
        grading, again = "label" not in asked.schema["properties"], "You have answered this before" in asked.user
        return "I'd rather not." if grading and not again else judge(asked)

    with LoopbackProvider(bad_at_first) as provider:
        ran = run(mini_copy, provider)
    assert ran.code == 0, ran.err
    total = mini_copy.ask(
        "SELECT count(*) AS requests, sum(input_tokens)::BIGINT AS input_tokens FROM llm_requests WHERE purpose = 'score'"
    ).row(0)
    judged = "SELECT request_key, first_request_key FROM judgments WHERE scorer = 'detection'"
    linked = mini_copy.ask(
        f"SELECT count(DISTINCT key) FROM (SELECT unnest([request_key, first_request_key]) AS key FROM ({judged}))"
    )
    assert linked.item() == total[0]
    groups = mini_copy.ask(
        "SELECT sum(requests)::BIGINT AS requests, sum(input_tokens)::BIGINT AS input_tokens FROM "
        "(SELECT DISTINCT sample_id, control, requests, input_tokens FROM score_groups WHERE scorer = 'detection')"
    ).row(0)
    shared = mini_copy.ask(  # by two controls: each group counts them
        "SELECT count(*) FROM (SELECT DISTINCT sample_id, control, request_key FROM judgments WHERE scorer = 'detection')"
    ).item()
    assert groups[0] == 2 * shared
    assert groups[0] >= total[0] > 0
    assert groups[1] >= total[1]


@pytest.mark.slow
def test_a_run_on_a_server_that_counts_nothing_shows_no_zero(mini_copy: Mini, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with LoopbackProvider(judge, says_usage=False) as provider:
        ran = run(mini_copy, provider)
    assert ran.code == 0, ran.err
    assert "tokens not known (the server did not say), cost not known" in ran.out
    assert "cost not known a label" not in ran.out
    where = {
        "llm_requests": "state = 'answered'",
        "explanations": "explainer = 'top_and_random'",
        "score_groups": "scorer = 'detection' AND control <> 'permuted'",  # which asks nobody
    }
    for table, condition in where.items():
        known = mini_copy.ask(
            f"SELECT count(*), count(input_tokens), count(output_tokens), count(cost_usd) FROM {table} WHERE {condition}"
        ).row(0)
        assert known[0] > 0
        assert known[1:] == (0, 0, 0), table
