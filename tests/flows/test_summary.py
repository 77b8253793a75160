"""What the end of a run says about requests that cost something, cost nothing known, or failed."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from flows.cost_summary import UnitCost
from flows.pipeline import Outcome
from flows.summary import Summary
from flows.usage import Usage

CORPORA = pl.DataFrame(schema=dict.fromkeys(("name", "documents", "tokens", "problem", "n"), pl.String))


def said(usage: Usage, **failures: int) -> str:
    """The summary of a run in a workspace that is not the default one."""
    named = {reason.replace("_", ": ", 1): count for reason, count in failures.items()}
    outcome = Outcome("1", None, {"label": 1.0}, named, usage, n_reused=0, n_sent_again=0)
    scores = pl.DataFrame(schema={"feature_set": pl.String})
    return Summary(Path("/elsewhere"), outcome, pl.DataFrame({"feature_set": []}), scores, 1, 0, CORPORA).as_text()


def test_failures_are_named_with_the_command_that_shows_what_came_back() -> None:
    text = said(Usage(4, 100, 10, 0.1), label_not_json=2)
    assert "Not complete: label: not_json (2)" in text
    assert "featlas ledger failures --workspace /elsewhere" in text
    assert "--retry-failed" in text


def test_a_run_that_asked_no_language_model_is_not_sent_to_the_ledger() -> None:
    text = said(Usage(), sample_lost=2)
    assert "sample: lost (2)" in text
    assert "ledger" not in text


def test_a_server_that_counts_no_tokens_is_told_from_a_model_without_a_price() -> None:
    assert "tokens not known (the server did not say), cost not known" in said(Usage(4, None, None, None))
    assert "100 tokens in, 10 out, cost not known" in said(Usage(4, 100, 10, None))
    assert "$0.0000" in said(Usage(4))


def test_where_nothing_was_made_there_is_no_cost_of_one() -> None:
    nothing = UnitCost("small", "label", "top_and_random", "openai/tiny", 0, None, 5, None)
    assert nothing.as_text() == "small, top_and_random (openai/tiny): no label so far"


def test_only_models_of_this_run_have_lines_and_earlier_ones_are_named() -> None:
    now, earlier = (
        UnitCost("small", "label", "top_and_random", f"openai/{model}", 4, 0.01, 5, 0.05)
        for model in ("now", "earlier")
    )
    outcome = Outcome("1", None, {}, {}, Usage(4, 100, 10, 0.1), 0, 0, models=("openai/now",))
    scores = pl.DataFrame(schema={"feature_set": pl.String})
    no_features = pl.DataFrame({"feature_set": []})
    summary = Summary(Path("/elsewhere"), outcome, no_features, scores, 1, 0, CORPORA, costs=(now, earlier))
    lines = [line for line in summary.as_text().splitlines() if "openai/" in line]
    assert lines == [now.as_text(), "What openai/earlier cost in earlier runs: --json"]
    assert len(summary.as_json()["costs"]) == 2
