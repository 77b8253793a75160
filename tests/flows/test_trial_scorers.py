"""Runs with every scorer that asks in trials: tables, controls, what is shown, and what a lost answer leaves."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from flows.fake_provider import LoopbackProvider
from flows.fake_provider.answers import varied_text
from labeling.prompts import quote
from labeling.store import Store
from labeling.workspace import Workspace
from tests.flows.mini import MODEL, Mini, Ran

pytestmark = pytest.mark.slow

IN_TRIALS = ("fuzzing", "simulation", "discrimination", "intruder", "specificity", "panel", "saebench")
HEADLINES = {
    "fuzzing": "balanced_marks",
    "simulation": "correlation",
    "discrimination": "accuracy_adjusted",
    "intruder": "accuracy_intruder",
    "specificity": "specificity",
    "panel": "correlation_panel",
    "saebench": "accuracy_saebench",
}
N_FEATURES = 4
SHOWN = "(SELECT sample_id, feature, scorer, unnest(shown) AS window_id FROM judgments WHERE trial IS NOT NULL)"
"""Every window of every trial."""
CONTROLS = {"shuffled", "other_feature", "neighbor", "generic", "over_broad", "no_label", "random_weights"}


def run(mini: Mini, provider: LoopbackProvider, *arguments: object, scorers: str = ",".join(IN_TRIALS)) -> Ran:
    return mini.featlas(
        "run", "--scorer", scorers, "--model", f"openai/{MODEL}", "--base-url", provider.openai_url,
        "--features", mini.ok_features(N_FEATURES), *arguments,
    )  # fmt: skip


@pytest.fixture(scope="module")
def asked(mini: Mini, tmp_path_factory: pytest.TempPathFactory) -> tuple[Mini, Ran]:
    """A workspace that every scorer in trials has judged, with detection beside them."""
    copied = mini.copy(tmp_path_factory.mktemp("trials"))
    with pytest.MonkeyPatch.context() as patch, LoopbackProvider(varied_text, key="sk-1") as provider:
        patch.setenv("OPENAI_API_KEY", "sk-1")
        ran = run(copied, provider, "--json", scorers=",".join((*IN_TRIALS, "detection")))
    return copied, ran


def test_a_run_with_all_of_them_ends_well(asked: tuple[Mini, Ran]) -> None:
    _, ran = asked
    assert ran.code == 0, ran.err
    assert json.loads(ran.out)["failures"] == {}


def test_every_scorer_has_its_controls_on_the_scoreboard_with_headline_and_chance(asked: tuple[Mini, Ran]) -> None:
    mini, _ = asked
    rows = mini.ask(
        "SELECT scorer, coalesce(control, '') AS control, headline_of, mean, chance, low, high FROM scoreboard "
        "WHERE metric = 'headline' AND judge_model IS NOT NULL AND tau = 0.01"
    )
    for scorer, metric in HEADLINES.items():
        own = rows.filter(pl.col("scorer") == scorer)
        controls = {"random_weights"} if scorer == "intruder" else CONTROLS
        assert set(own["control"]) == {"", *controls}
        assert own["headline_of"].unique().to_list() == [metric]
        assert own["chance"].null_count() == (len(own) if scorer == "specificity" else 0)
    assert rows.filter(pl.col("scorer") == "detection")["headline_of"].null_count() == 9
    negative = rows.filter(pl.col("scorer") == "simulation")
    assert (negative["low"] < 0).all()  # correlations are not cut at 0


def test_a_headline_repeats_the_metric_it_stands_for(asked: tuple[Mini, Ran]) -> None:
    mini, _ = asked
    for scorer, metric in HEADLINES.items():
        rows = mini.ask(
            "SELECT score_id, count(DISTINCT value) AS n FROM scores "
            f"WHERE scorer = '{scorer}' AND metric IN ('headline', '{metric}') GROUP BY score_id"
        )
        assert len(rows) > 0
        assert rows["n"].max() == 1


def test_every_score_leads_to_its_trials_and_every_trial_to_its_request(asked: tuple[Mini, Ran]) -> None:
    mini, _ = asked
    rows = mini.ask(
        "SELECT j.scorer, count(*) AS n, count(r.request_key) AS found, count(j.grade) AS graded, "
        "count(*) FILTER (j.place >= 1) AS placed, count(*) FILTER (len(j.shown) >= 1) AS shown "
        "FROM judgments AS j LEFT JOIN llm_requests AS r USING (request_key) WHERE j.trial IS NOT NULL GROUP BY ALL"
    )
    assert set(rows["scorer"]) == set(IN_TRIALS)
    for name in ("found", "graded", "placed", "shown"):
        assert (rows[name] == rows["n"]).all()
    wrong = mini.ask(
        f"SELECT s.scorer FROM {SHOWN} AS s JOIN samples USING (sample_id) "
        "JOIN windows AS w ON w.corpus_id = samples.corpus_id AND w.window_id = s.window_id WHERE w.split <> 'score'"
    )
    assert wrong.is_empty()


def test_trap_1_of_methods_2_4_no_window_of_a_trial_was_shown_to_an_explainer(asked: tuple[Mini, Ran]) -> None:
    mini, _ = asked
    leaked = mini.ask(
        f"SELECT s.scorer, s.window_id FROM {SHOWN} AS s "
        "JOIN explanations AS e USING (sample_id, feature) WHERE list_contains(e.evidence, s.window_id)"
    )
    shared = mini.ask(
        f"SELECT w.document_id FROM {SHOWN} AS s JOIN samples USING (sample_id) "
        "JOIN windows AS w ON w.corpus_id = samples.corpus_id AND w.window_id = s.window_id "
        "JOIN windows AS seen ON seen.corpus_id = w.corpus_id AND seen.document_id = w.document_id "
        "WHERE seen.split = 'explain'"
    )
    looked_at = mini.ask(
        f"SELECT (SELECT count(*) FROM {SHOWN}) AS shown, (SELECT sum(len(evidence)) FROM explanations) AS evidence, "
        "(SELECT count(*) FROM windows WHERE split = 'explain') AS explained"
    ).row(0)
    assert min(looked_at) > 100
    assert leaked.is_empty()
    assert shared.is_empty()


def test_truth_of_trials_agrees_with_the_stored_activations(asked: tuple[Mini, Ran]) -> None:
    mini, _ = asked
    levels = mini.ask(
        "SELECT list_max(j.token_activations) AS seen, c.max_activation AS stored FROM judgments AS j JOIN contexts AS c "
        "USING (sample_id, feature, split, window_id) WHERE j.scorer = 'simulation'"
    )
    assert len(levels) > 100
    assert (levels["seen"] - levels["stored"]).abs().max() == 0
    random = mini.ask(
        "SELECT j.truth, coalesce(p.max_activation > f.tau, false) AS fires FROM judgments AS j "
        "JOIN features AS f USING (sample_id, feature) "
        "LEFT JOIN panel_activity AS p USING (sample_id, feature, window_id) "
        "WHERE j.scorer = 'panel' OR (j.scorer = 'saebench' AND j.variant = 'random')"
    )
    assert set(random.unique().rows()) == {(1.0, True), (0.0, False)}


def test_simulations_say_by_which_levels_they_are_measured(asked: tuple[Mini, Ran]) -> None:
    kinds = asked[0].ask(
        "SELECT len(token_expected_levels) = len(token_levels) AS expected, count(*) AS n FROM judgments "
        "WHERE scorer = 'simulation' AND state = 'answered' GROUP BY ALL"
    )
    assert kinds["expected"].to_list() == [True]
    told = asked[0].ask("SELECT DISTINCT value FROM scores WHERE metric = 'levels_expected' AND reason IS NULL")
    assert told["value"].to_list() == [1]
    assert asked[0].ask("SELECT 1 FROM scores WHERE metric = 'levels_expected' AND scorer <> 'simulation'").is_empty()


def test_a_judge_that_refuses_log_probabilities_is_taken_at_its_written_levels(
    asked: tuple[Mini, Ran], tmp_path: Path
) -> None:
    copied, model = asked[0].copy(tmp_path), "openai/thinking"
    with pytest.MonkeyPatch.context() as patch, LoopbackProvider(varied_text, logprobs="refuses") as provider:
        patch.setenv("OPENAI_API_KEY", "sk-1")
        ran = run(copied, provider, "--model", model, scorers="simulation")
    assert ran.code == 0, ran.err
    told = copied.ask(
        "SELECT metric, round(avg(value), 6) AS mean FROM scores WHERE judge_model = 'openai/thinking' AND control IS NULL "
        "AND metric IN ('levels_expected', 'correlation', 'correlation_written') GROUP BY ALL"
    )
    means = dict(told.iter_rows())
    assert means["levels_expected"] == 0
    assert means["correlation"] == means["correlation_written"]


def test_labels_are_shown_with_scores_that_compare(asked: tuple[Mini, Ran]) -> None:
    shown = asked[0].ask("SELECT DISTINCT scorer, metric FROM labels WHERE score IS NOT NULL")
    assert set(shown["metric"]) == {"headline"}
    assert not set(shown["scorer"]) & set(IN_TRIALS)


def test_the_same_command_again_asks_nothing_and_changes_nothing(asked: tuple[Mini, Ran], tmp_path: Path) -> None:
    copied = asked[0].copy(tmp_path)
    before = copied.ask("SELECT count(*) AS n, sum(value) AS total FROM scores").rows()
    with pytest.MonkeyPatch.context() as patch, LoopbackProvider(varied_text, key="sk-1") as provider:
        patch.setenv("OPENAI_API_KEY", "sk-1")
        ran = run(copied, provider, "--json")
        assert provider.counts()["requests"] == 0
    assert ran.code == 0, ran.err
    assert copied.ask("SELECT count(*) AS n, sum(value) AS total FROM scores").rows() == before


def test_a_dry_run_names_every_scorer_with_its_requests(mini_copy: Mini) -> None:
    with pytest.MonkeyPatch.context() as patch, LoopbackProvider(varied_text, key="sk-1") as provider:
        patch.setenv("OPENAI_API_KEY", "sk-1")
        ran = run(mini_copy, provider, "--dry-run")
        assert provider.counts()["requests"] == 0
    for scorer in IN_TRIALS:
        of = "" if scorer == "intruder" else " of token_pattern"
        assert f"score mini ({scorer}{of}, openai/{MODEL}): {N_FEATURES} features" in ran.out


def test_what_controls_of_several_explainers_ask_counts_once_where_they_ask_the_same(mini_copy: Mini) -> None:
    with pytest.MonkeyPatch.context() as patch, LoopbackProvider(varied_text, key="sk-1") as provider:
        patch.setenv("OPENAI_API_KEY", "sk-1")
        explainers = ("--explainer", "token_pattern,ngram", "--dry-run", "--json")
        ran = run(mini_copy, provider, *explainers, scorers="fuzzing,discrimination")
    asked = {e["name"]: e["requests"]["value"] for e in json.loads(ran.out)["estimates"] if e["feature_set"] == "mini"}
    assert asked["fuzzing of ngram"] < asked["fuzzing of token_pattern"]
    assert asked["discrimination of ngram"] == asked["discrimination of token_pattern"]  # rivals stand in its prompts


def test_rivals_are_labels_of_the_explainer_as_it_is_now_whether_their_features_are_judged_or_not(
    mini_copy: Mini,
) -> None:
    with Store(Workspace(mini_copy.workspace)) as store:
        now = store.read("explanations", state="labeled", explainer="token_pattern")
        before = now.with_columns(
            ("old-" + pl.col("explanation_id")).alias("explanation_id"),
            pl.lit("said long ago").alias("text"),
            pl.col("created_at") + pl.duration(days=1),
        )
        store.save("explanations", before)
        store.publish()
    with pytest.MonkeyPatch.context() as patch, LoopbackProvider(varied_text) as provider:
        patch.setenv("OPENAI_API_KEY", "sk-1")
        ran = run(mini_copy, provider, "--set", "score.controls=false", scorers="discrimination")
    assert ran.code == 0, ran.err
    judged = [int(feature) for feature in mini_copy.ok_features(N_FEATURES).split(",")]
    others = now.filter(~pl.col("feature").is_in(judged))["text"].unique().to_list()
    prompts = [asked.user for asked in provider.asked]
    assert not [prompt for prompt in prompts if "said long ago" in prompt]
    assert [prompt for prompt in prompts if any(quote(text) in prompt for text in others)]


def test_a_scorer_that_judges_features_says_nothing_of_labels_that_several_share(asked: tuple[Mini, Ran]) -> None:
    shares = asked[0].ask(
        "SELECT scorer, share_same_label FROM group_statistics WHERE scorer IN ('intruder', 'fuzzing')"
    )
    assert shares.filter(pl.col("scorer") == "intruder")["share_same_label"].unique().to_list() == [None]
    assert shares.filter(pl.col("scorer") == "fuzzing")["share_same_label"].null_count() == 0
