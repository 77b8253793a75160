"""The whole run without a language model: what it prints, which tables and files it leaves, and how it resumes."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from flows.fake_provider import LoopbackProvider
from labeling.types import CONTROLS
from tests.flows.mini import CONTROL_SET, FEATURE_SET, MODEL, Mini, Ran, differing, featlas, judge, tables

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
    "p",
    "q",
    "score_shrunk",
    "score_shrunk_low",
    "score_shrunk_high",
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
    "share_significant",
    "share_above_null",
    "n_null",
    "reliability",
    "flip_rate",
    "icc",
    "chance",
    "headline_of",
    "sample_id",
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
    assert set(rows.iter_rows()) == {
        (s, c) for s in ("pattern", "embedding") for c in (*CONTROLS, None) if c != "random_directions"
    }
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


def test_doctor_finds_nothing_wrong(mini_copy: Mini) -> None:
    assert featlas("doctor", "--workspace", mini_copy.workspace).code == 0


def test_a_trial_on_a_few_features_is_undone_by_the_next_whole_run(
    mini_copy: Mini, mini_tables: dict[str, pl.DataFrame]
) -> None:
    few = mini_copy.featlas("score", "--scorer", "pattern", "--features", mini_copy.ok_features(5))
    assert few.code == 0, few.err
    scoreboard = "SELECT max(n_features) FROM scoreboard WHERE scorer = 'pattern' AND control IS NULL"
    assert mini_copy.ask(scoreboard).item() == 5
    assert mini_copy.featlas("score").code == 0
    assert differing(mini_tables, tables(mini_copy.workspace)) == []


def test_clusterings_with_other_settings_give_way_to_those_of_the_last_run(
    mini_copy: Mini, mini_tables: dict[str, pl.DataFrame]
) -> None:
    assert mini_copy.featlas("cluster", "--set", "cluster.neighbors=4").code == 0
    assert mini_copy.ask("SELECT count(DISTINCT rank) FROM neighbors").item() == 4
    assert mini_copy.featlas("cluster").code == 0
    changed = differing(mini_tables, tables(mini_copy.workspace))
    assert set(changed) <= {
        "clusterings",
        "clusters",
        "cluster_members",
    }  # earlier clusterings stay, beside the default
    default = "SELECT * FROM clusterings WHERE is_default ORDER BY ALL"
    assert mini_copy.ask(default).drop("created_at", strict=False).height == 2


@pytest.mark.slow
def test_two_feature_sets_on_one_dictionary_are_both_clustered(mini: Mini, tmp_path: Path) -> None:
    text = mini.config.read_text()
    start, control = text.index("[[features]]"), text.index("[[features]]", 5)
    twin = text[:control].replace('name = "mini"', 'name = "twin"\nmax_tokens = 15000')
    text = text[start:control] + text[text.index("[corpus]") :]
    config = tmp_path / "twin.toml"
    config.write_text(twin + text)
    both = Mini(config, tmp_path / "workspace")
    assert both.featlas("cluster").code == 0
    counted = dict(both.ask("SELECT feature_set, count(*) FROM map_points GROUP BY ALL").iter_rows())
    assert counted["twin"] == counted["mini"] == 64


def test_scorers_that_cannot_judge_any_label_say_so_and_the_run_is_complete(
    mini_copy: Mini, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`pattern` needs executable labels; a language model writes none."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-loopback-123456")
    with LoopbackProvider(judge) as provider:
        options = (
            "--features",
            mini_copy.ok_features(2),
            "--explainer",
            "top_and_random",
            "--model",
            f"openai/{MODEL}",
        )
        address = ("--base-url", provider.openai_url)
        assert mini_copy.featlas("label", *options, *address).code == 0
        ran = mini_copy.featlas("score", *options, *address, "--scorer", "pattern")
    assert ran.code == 0, ran.err
    assert "labels can't be judged: no_pattern" in ran.err


@pytest.mark.slow
def test_results_of_two_judges_stand_beside_each_other(mini_copy: Mini, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-loopback-123456")
    with LoopbackProvider(judge) as provider:
        for model in ("one", "two"):
            options = ("--features", mini_copy.ok_features(2), "--scorer", "detection", "--model", f"openai/{model}")
            ran = mini_copy.featlas("score", *options, "--base-url", provider.openai_url)
            assert ran.code == 0, ran.err
    assert "token_pattern / detection (openai/one): true label" in ran.out
    assert "token_pattern / detection (openai/two): true label" in ran.out


@pytest.mark.parametrize("sql", ["select null::int", "select 64", "select -1"])
def test_numbers_that_are_no_features_are_refused(sql: str, mini_copy: Mini) -> None:
    ran = mini_copy.featlas("label", "--features", f"sql: {sql}")
    assert ran.code == 2
    assert "mini has features 0 to 63" in ran.paragraph()
