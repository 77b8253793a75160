"""What the end of a run says about requests that cost something, cost nothing known, or failed."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import polars as pl

from flows.cost_summary import UnitCost
from flows.pipeline import Outcome
from flows.summary import GAPS, Summary
from flows.usage import Usage
from labeling.snapshot import query
from labeling.store import Store
from labeling.workspace import Workspace
from tests.labeling.store_builders import explanation, score, small

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


def test_the_gap_of_labels_that_were_chosen_is_said() -> None:
    gaps = pl.DataFrame(
        {
            "feature_set": "small",
            "explainer": "best_of_k",
            "n_features": 20,
            "select_score": 0.7,
            "score": 0.64,
            "gap": 0.06,
        }
    )
    outcome = Outcome("1", None, {"label": 1.0}, {}, Usage(), n_reused=0, n_sent_again=0)
    scores = pl.DataFrame(schema={"feature_set": pl.String})
    place = Path("/elsewhere")
    text = Summary(place, outcome, pl.DataFrame({"feature_set": []}), scores, 1, 0, CORPORA, (), gaps).as_text()
    assert "best_of_k: chosen by a headline of 0.700 on select, 0.640 on score: gap +0.060 over 20 features" in text


def test_the_share_of_labels_that_beat_wrong_ones_and_the_judge_s_flips_are_said() -> None:
    group = {"feature_set": "main", "explainer": "e", "explainer_model": None, "scorer": "s", "judge_model": "a/judge"}
    numbers = {"n_features": 9, "mean": 0.7, "low": 0.6, "high": 0.8, "share_significant": 0.5, "n_null": 300}
    row = {
        **group,
        "metric": "headline",
        "label": "true label",
        **numbers,
        "flip_rate": 0.03,
        "icc": 0.9,
        "chance": 0.5,
        "headline_of": None,
    }
    outcome = Outcome("1", None, {}, {}, Usage(), n_reused=0, n_sent_again=0)
    text = Summary(Path("/w"), outcome, pl.DataFrame({"feature_set": []}), pl.DataFrame([row]), 1, 0, CORPORA).as_text()
    assert "e / s (a/judge): 50% of labels beat wrong ones (q < 0.05, 300 scores of wrong labels)" in text
    assert "e / s (a/judge): asked again, the judge flips 3.0% of its answers, ICC of scores 0.90" in text


def test_the_gap_of_a_run_is_that_of_first_labels_by_the_first_answers_of_their_judge(tmp_path: Path) -> None:
    chosen = {"select_score": 0.75, "parameters": '{"judge": {"scorer": "detection", "model": "a/m"}}'}
    judged = {"scorer": "detection", "judge_model": "a/m", "explainer": "best_of_k"}
    with Store(Workspace(tmp_path)) as store:
        small(store, "samples", {"sample_id": "s", "feature_set": "main", "created_at": datetime(2026, 1, 1)})
        labels = [explanation(f"x{repeat}", 1, "best_of_k", "L", repeat=repeat, **chosen) for repeat in (0, 1)]
        small(store, "explanations", *labels)
        values = {("x0", 0): 0.5, ("x0", 1): 0.25, ("x1", 0): 0.125}
        small(
            store,
            "scores",
            *(score(f"{of}{n}", 1, value, explanation_id=of, epoch=n, **judged) for (of, n), value in values.items()),
        )
        store.publish()
    rows = query(Workspace(tmp_path), GAPS).select("n_features", "score", "gap")
    assert rows.rows() == [(1, 0.5, 0.25)]


def test_a_run_that_only_labeled_says_who_has_a_label_and_shows_no_scores_of_others() -> None:
    labels = pl.DataFrame(
        {"feature_set": ["small"], "explainer": ["import"], "explainer_model": [None], "n": [1_200], "n_failed": [3]}
    )
    scores = pl.DataFrame({"feature_set": ["small"], "label": ["true label"], "metric": ["headline"]})
    outcome = Outcome("1", None, {"sample": 0.1, "label": 1.0}, {}, Usage(), n_reused=0, n_sent_again=0)
    nothing = pl.DataFrame({"feature_set": []})
    text = Summary(Path("/w"), outcome, nothing, scores, 1, 0, CORPORA, labels=labels).as_text()
    assert "small, import: 1,200 features have a label, 3 got none" in text
    assert "headline" not in text
