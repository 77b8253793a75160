"""What scores mean, after a whole run: p-values against wrong labels, the control that asks nobody, reliability."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from evals.controls import density_terciles
from evals.significance import MIN_NULL
from flows.fake_provider import LoopbackProvider
from flows.stages.labels_to_judge import n_repeated
from flows.stages.score_statistics import share_of_same_labels
from labeling.config import ScoreConfig
from labeling.store import Store
from labeling.workspace import Workspace
from tests.flows.mini import FEATURE_SET, MODEL, Mini, Ran, differing, judge, tables


def test_the_p_value_of_every_label_follows_from_the_stored_null(mini: Mini) -> None:
    labels = mini.ask(
        f"SELECT feature, score, p FROM labels WHERE feature_set = '{FEATURE_SET}' AND scorer = 'pattern' ORDER BY feature"
    )
    null = mini.ask(
        "SELECT feature, value FROM null_scores WHERE scorer = 'pattern' AND metric = 'headline' AND tau = 0.01"
    )
    rates = mini.ask(
        "SELECT feature, firing_rate FROM features JOIN samples USING (sample_id) WHERE feature_set = 'mini'"
    )
    rate = labels.join(rates, on="feature", maintain_order="left")["firing_rate"].to_numpy()
    tercile = dict(zip(labels["feature"].to_list(), density_terciles(rate).tolist(), strict=True))
    assert set(null["feature"].to_list()) <= tercile.keys()
    values = {t: [v for f, v in null.iter_rows() if tercile[f] == t] for t in range(3)}
    assert all(len(own) >= MIN_NULL for own in values.values())
    for feature, score, p in labels.iter_rows():
        own = np.array(values[tercile[feature]])
        assert p == pytest.approx((1 + (own >= score).sum()) / (1 + len(own)))


def test_a_null_is_made_of_other_features_labels_in_other_words(mini: Mini) -> None:
    rows = mini.ask(
        "SELECT n.feature, e.feature AS source, e.text, own.text AS own FROM null_scores AS n "
        "JOIN explanations AS e USING (explanation_id) JOIN explanations AS own ON own.sample_id = n.sample_id "
        "AND own.feature = n.feature WHERE own.state = 'labeled'"
    )
    assert len(rows) > 1000
    assert rows.filter((pl.col("feature") == pl.col("source")) | (pl.col("text") == pl.col("own"))).is_empty()


def test_an_auditor_can_filter_by_q_and_the_scoreboard_says_how_many_pass(mini: Mini) -> None:
    passed = mini.ask(
        f"SELECT avg((q < 0.05)::INTEGER), avg((p <= 0.05)::INTEGER) FROM labels WHERE feature_set = '{FEATURE_SET}' "
        "AND scorer = 'pattern'"
    ).row(0)
    board = mini.ask(
        "SELECT share_significant, share_above_null, n_null, reliability FROM scoreboard WHERE scorer = 'pattern' "
        "AND metric = 'headline' AND tau = 0.01 AND control IS NULL"
    ).row(0)
    assert board[:2] == pytest.approx(passed)
    assert board[0] > 0.2
    assert board[2] >= 3 * MIN_NULL
    assert 0 < board[3] < 1


def test_trap_11_labels_that_several_features_share_are_counted(mini: Mini) -> None:
    assert share_of_same_labels(pl.Series(["plural nouns", "commas", "plural nouns", "names"])) == 0.5
    assert share_of_same_labels(pl.Series([None, None], dtype=pl.String)) is None
    counted = mini.ask(
        "SELECT avg((n > 1)::INTEGER) FROM (SELECT count(*) OVER (PARTITION BY label) AS n FROM labels "
        f"WHERE feature_set = '{FEATURE_SET}' AND scorer = 'pattern')"
    ).item()
    stored = mini.ask(
        "SELECT DISTINCT share_same_label FROM group_statistics JOIN samples USING (sample_id) "
        f"WHERE feature_set = '{FEATURE_SET}' AND scorer = 'pattern'"
    ).item()
    assert stored == counted


def test_both_parts_of_the_headline_are_tested_at_both_thresholds(mini: Mini) -> None:
    rows = mini.ask("SELECT DISTINCT metric, tau FROM score_statistics WHERE p IS NOT NULL AND q IS NOT NULL")
    metrics = ("headline", "balanced_hard", "balanced_random")
    assert set(rows.iter_rows()) == {(metric, tau) for metric in metrics for tau in (0.01, 0.25)}


def test_wrong_labels_hardly_ever_stand_out_against_the_null(mini: Mini) -> None:
    share = mini.ask(
        "SELECT avg((s.value > t.limit_95)::INTEGER) FROM scores AS s JOIN (SELECT scorer, quantile_cont(value, 0.95) "
        "AS limit_95 FROM null_scores WHERE metric = 'headline' AND tau = 0.01 GROUP BY scorer) AS t USING (scorer) "
        "WHERE s.metric = 'headline' AND s.tau = 0.01 AND s.control = 'other_feature' AND s.scorer = 'pattern'"
    ).item()
    assert share <= 0.15  # of 60 labels; 0.05 is expected


def test_grades_dealt_again_score_chance_and_ask_nobody(mini: Mini) -> None:
    means = mini.ask(
        "SELECT mean, low, high, requests FROM scoreboard WHERE control = 'permuted' AND scorer = 'pattern' "
        "AND metric IN ('balanced_hard', 'balanced_random') AND tau = 0.01"
    )
    assert len(means) == 2
    for mean, low, high, requests in means.iter_rows():
        assert low < 0.5 < high
        assert (abs(mean - 0.5) < 0.03, requests) == (True, 0)
    assert mini.ask("SELECT count(*) FROM judgments WHERE control = 'permuted'").item() == 0


def test_shrunk_scores_lie_between_the_score_and_the_mean(mini: Mini) -> None:
    rows = mini.ask(
        "SELECT score, score_shrunk, score_shrunk_low, score_shrunk_high, avg(score) OVER () AS mean FROM labels "
        f"WHERE feature_set = '{FEATURE_SET}' AND scorer = 'pattern' AND score IS NOT NULL"
    )
    for score, shrunk, low, high, mean in rows.iter_rows():
        assert min(score, mean) - 1e-9 <= shrunk <= max(score, mean) + 1e-9
        assert low < high


def test_the_reliability_curve_holds_every_answered_window_of_the_balanced_world(mini: Mini) -> None:
    curves = mini.ask(
        "SELECT scorer, sum(weight) AS weight, sum(n_items) AS n, any_value(brier_skill) AS skill, count(*) AS bins "
        f"FROM reliability_curves JOIN samples USING (sample_id) WHERE feature_set = '{FEATURE_SET}' GROUP BY scorer"
    )
    assert len(curves) == 2
    for _, weight, n, skill, bins in curves.iter_rows():
        assert (weight, bins) == (pytest.approx(1.0), 10)
        assert n > 300
        assert skill < 1
    board = mini.ask(
        "SELECT mean FROM scoreboard WHERE scorer = 'pattern' AND metric = 'brier_skill' AND tau = 0.01 AND control IS NULL"
    ).item()
    skill = curves.filter(pl.col("scorer") == "pattern")["skill"].item()
    assert skill == pytest.approx(board, abs=0.05)  # the panel counts in the scores, and not in the curve


def test_scoring_a_few_features_meets_the_curve_and_the_scores_of_the_whole_run(
    mini_copy: Mini, mini_tables: dict[str, pl.DataFrame]
) -> None:
    few = mini_copy.ok_features(3)
    numbers = [int(number) for number in few.split(",")]
    assert mini_copy.featlas("score", "--scorer", "pattern", "--features", few).code == 0
    after = tables(mini_copy.workspace)
    assert differing({"calibrations": mini_tables["calibrations"]}, {"calibrations": after["calibrations"]}) == []
    chosen = (pl.col("scorer") == "pattern") & pl.col("control").is_null() & pl.col("feature").is_in(numbers)
    before, now = (
        t["scores"].filter(chosen).sort("score_id", "metric", "tau").with_columns(pl.col(pl.Float64).round(5))
        for t in (mini_tables, after)
    )
    assert len(now) > 100
    assert before.equals(now)


def test_a_curve_is_fitted_again_when_labels_are_added(tmp_path: Path, mini: Mini) -> None:
    copied = mini.copy(tmp_path)
    with Store(Workspace(copied.workspace)) as store:
        before = store.read("calibrations", scorer="pattern")
        gone = store.read("explanations").filter(pl.col("feature") == int(mini.ok_features(1)))
        store.remove("explanations", "explanation_id", gone["explanation_id"].to_list())
    assert copied.featlas("score", "--scorer", "pattern").code == 0
    with Store(Workspace(copied.workspace)) as store:
        fewer = store.read("calibrations", scorer="pattern")
    assert (fewer["inputs"] != before["inputs"]).any()
    assert fewer["n_features"].sum() < before["n_features"].sum()


@pytest.mark.parametrize(("share", "n", "expected"), [(0.1, 9, 0), (0.1, 10, 1), (0.5, 7, 3), (0.0, 100, 0)])
def test_a_share_of_features_is_judged_again_rounded_down(share: float, n: int, expected: int) -> None:
    assert n_repeated(ScoreConfig(repeat_share=share), n) == expected
    assert n_repeated(ScoreConfig(repeats=1, repeat_share=share), n) == 0


N_JUDGED = 8


def ask_twice(mini: Mini, provider: LoopbackProvider, *arguments: object) -> Ran:
    """Judge some features by a language model, half of them three times."""
    return mini.featlas(
        "score", "--scorer", "detection", "--model", f"openai/{MODEL}", "--base-url", provider.openai_url,
        "--features", mini.ok_features(N_JUDGED), "--set", "score.repeats=3", "--set", "score.repeat_share=0.5",
        "--set", "score.control_features=3", *arguments,
    )  # fmt: skip


def test_a_judge_is_asked_again_about_a_part_of_the_features_and_its_agreement_is_stored(
    mini: Mini, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-loopback")
    copied = mini.copy(tmp_path)
    with LoopbackProvider(judge) as provider:
        planned = ask_twice(copied, provider, "--dry-run", "--json")
        assert planned.code == 0, planned.err
        ran = ask_twice(copied, provider)
        assert ran.code == 0, ran.err
        sent = len(provider.asked)
        assert ask_twice(copied, provider).code == 0
        assert len(provider.asked) == sent  # asked again is answered for good, like everything else
    epochs = copied.ask(
        "SELECT epoch, count(DISTINCT feature) AS features, count(DISTINCT control) AS controls, min(repeat) AS least, "
        "max(repeat) AS most FROM judgments JOIN samples USING (sample_id) JOIN llm_requests USING (request_key) "
        f"WHERE scorer = 'detection' AND feature_set = '{FEATURE_SET}' GROUP BY epoch ORDER BY epoch"
    )
    assert epochs.rows()[1:] == [(1, N_JUDGED // 2, 0, 1, 1), (2, N_JUDGED // 2, 0, 2, 2)]
    assert epochs["features"][0] == N_JUDGED
    found = copied.ask(
        f"SELECT r.* FROM judge_reliability AS r JOIN samples USING (sample_id) WHERE feature_set = '{FEATURE_SET}'"
    ).row(0, named=True)
    again = copied.ask(
        "WITH said AS (SELECT feature, window_id, list(probability >= 0.5 ORDER BY epoch) AS yes FROM judgments "
        f"JOIN samples USING (sample_id) WHERE scorer = 'detection' AND feature_set = '{FEATURE_SET}' AND control IS NULL "
        "GROUP BY ALL HAVING count(*) = 3) SELECT count(*), avg(((yes[1] <> yes[2])::INTEGER + (yes[1] <> yes[3])::INTEGER "
        "+ (yes[2] <> yes[3])::INTEGER) / 3) FROM said"
    ).row(0)
    assert (found["n_epochs"], found["n_features"], found["n_windows"]) == (3, N_JUDGED // 2, again[0])
    assert found["flip_rate"] == pytest.approx(again[1])
    assert found["pabak"] == pytest.approx(1 - 2 * again[1])
    assert found["variance_judge"] > 0
    board = copied.ask(
        "SELECT n_features, flip_rate FROM scoreboard WHERE scorer = 'detection' AND metric = 'headline' AND tau = 0.01 "
        "AND control IS NULL"
    ).row(0)
    assert board == (N_JUDGED, pytest.approx(again[1]))
