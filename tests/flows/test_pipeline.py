"""The whole run without a language model: what it prints, which tables and files it leaves, and how it resumes."""

from __future__ import annotations

import json

import polars as pl

from labeling.types import CONTROLS
from tests.flows.mini import CONTROL_SET, FEATURE_SET, Mini, Ran, differing, featlas, tables

LABELS = [
    "feature_set",
    "sample_id",
    "run_id",
    "feature",
    "label",
    "explainer",
    "explainer_model",
    "scorer",
    "judge_model",
    "metric",
    "score",
    "score_low",
    "score_high",
    "firing_rate",
    "max_activation",
    "status",
    "cluster",
    "cluster_name",
    "neighbor_labels",
]
SCOREBOARD = [
    "feature_set",
    "explainer",
    "explainer_model",
    "scorer",
    "judge_model",
    "metric",
    "tau",
    "control",
    "n_features",
    "n_unscored",
    "mean",
    "low",
    "high",
    "requests",
    "input_tokens",
    "output_tokens",
    "cost_usd",
]


def test_a_run_ends_well_and_says_where_the_report_is(mini_run: tuple[Mini, Ran]) -> None:
    mini, ran = mini_run
    assert ran.code == 0, ran.err
    report = mini.workspace / "reports" / "report.html"
    assert f"Report: {report}" in ran.out
    assert report.stat().st_size > 50_000
    assert list(report.parent.glob("**/*.csv"))
    assert all(stage in ran.out for stage in ("sample", "label", "score", "cluster", "report"))


def test_labels_and_scoreboard_have_the_promised_columns(mini: Mini) -> None:
    assert mini.ask("SELECT * FROM labels").columns == LABELS
    assert mini.ask("SELECT * FROM scoreboard").columns == SCOREBOARD


def test_every_feature_has_a_row_in_labels_and_every_ok_one_a_label(mini: Mini) -> None:
    labels = mini.ask(f"SELECT * FROM labels WHERE feature_set = '{FEATURE_SET}'")
    assert labels["feature"].to_list() == list(range(64))
    ok = labels.filter(labels["status"] == "ok")
    assert len(ok) >= 30
    assert ok["label"].null_count() == ok["score"].null_count() == ok["cluster"].null_count() == 0
    assert labels.filter(labels["status"] != "ok")["label"].null_count() == 64 - len(ok)


def test_every_control_has_rows_in_scoreboard_for_every_scorer(mini: Mini) -> None:
    rows = mini.ask("SELECT DISTINCT scorer, control FROM scoreboard WHERE mean IS NOT NULL AND feature_set = 'mini'")
    assert set(rows.iter_rows()) == {(s, c) for s in ("pattern", "embedding") for c in (*CONTROLS, None)}
    assert mini.ask(f"SELECT * FROM scoreboard WHERE feature_set = '{CONTROL_SET}'").is_empty()


def test_labels_beat_shuffled_ones_on_real_features(mini: Mini) -> None:
    rows = mini.ask(
        "SELECT control, mean FROM scoreboard WHERE scorer = 'pattern' AND metric = 'auroc_random' AND tau = 0.01 "
        "AND (control IS NULL OR control = 'shuffled')"
    )
    mean = dict(rows.iter_rows())
    assert mean[None] > mean["shuffled"] + 0.1


def test_running_again_changes_nothing_but_the_history(mini_copy: Mini, mini_tables: dict[str, pl.DataFrame]) -> None:
    again = mini_copy.featlas("run", "--json")
    assert again.code == 0
    assert json.loads(again.out)["failures"] == {}
    assert differing(mini_tables, tables(mini_copy.workspace)) == []
    assert len(mini_copy.ask("SELECT * FROM runs")) == 2


def test_a_workspace_remembers_its_config(mini_copy: Mini) -> None:
    assert featlas("cluster", "--workspace", mini_copy.workspace).code == 0


def test_doctor_finds_nothing_wrong(mini: Mini) -> None:
    assert featlas("doctor", "--workspace", mini.workspace).code == 0
