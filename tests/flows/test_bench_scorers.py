"""The bench of scorers on a small plantation: what it measures is there, holds what it promises, and stands in the store."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from evals.planted.judges import make_judges
from evals.planted.protocols import DELPHI
from flows.benches import BenchOptions, Row
from flows.benches._planted_blind import METRICS, guesses
from flows.benches._planted_costs import Cost, cheapest
from flows.benches._planted_grades import SKIP, ask, sampled_windows, score
from flows.benches._planted_judged import METHODS, OURS, JudgedSet, judge_set, label_table, peer_scores
from flows.benches._planted_robust import batch_changes, judge_change, window_change, wording_change
from flows.benches._planted_workspace import SIZES, Planted, plant
from flows.benches.scorers import ScorersBench, create
from labeling.errors import UsageError
from labeling.snapshot import query
from labeling.types import HARD, QUANTILES, STRATA
from labeling.workspace import Workspace


def test_sizes_that_are_not_known_and_options_of_other_benches_are_refused() -> None:
    with pytest.raises(UsageError, match="default, large, small"):
        create(options=BenchOptions(size="huge"))
    with pytest.raises(UsageError, match="--kills"):
        create(options=BenchOptions(kills=3))
    assert create(options=BenchOptions(size="small", seed=3)) == ScorersBench(size="small", seed=3)


def test_a_text_that_is_too_short_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("too short\n" * 10, encoding="utf-8")
    with pytest.raises(UsageError, match="characters; at least"):
        plant(tmp_path / "bench", SIZES["small"], corpus=str(tmp_path / "text.txt"))


def test_the_cheapest_size_keeps_the_target_at_every_larger_one() -> None:
    costs = [Cost(n, 50 * n, accuracy) for n, accuracy in ((10, 0.96), (20, 0.9), (40, 0.97), (80, 0.99))]
    assert cheapest(costs) == costs[2]
    assert cheapest([Cost(10, 500, 0.5), Cost(20, 1000, float("nan"))]) is None


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    size = replace(SIZES["small"], characters=120_000, planted=90, decoys=30, families=("negation", "places"))
    return plant(tmp_path_factory.mktemp("planted"), size)


@pytest.fixture(scope="module")
def judged(planted: Planted) -> JudgedSet:
    judges = make_judges(planted.knowledge)
    return judge_set(planted, "graded", {name: judges[name] for name in ("exact", "related-aware")}, seed=0)


@pytest.mark.slow
def test_truth_and_strata_of_every_window_agree_with_what_the_pipeline_counted(planted: Planted) -> None:
    for name, population in planted.populations.items():
        splits = planted.facts[name].splits.filter(pl.col("split") == "score").sort("feature")
        assert population.fires.sum(axis=1).tolist() == splits["firing_windows"].to_list()
        quantile = np.isin(population.stratum, [STRATA.index(q) for q in QUANTILES])
        assert (quantile == population.fires).all()
        silent = np.isin(population.stratum, [STRATA.index(s) for s in (*HARD, "random")])
        assert (silent == (population.activation == 0)).all()


@pytest.mark.slow
def test_without_noise_a_feature_fires_where_its_label_holds(planted: Planted) -> None:
    for feature, found in enumerate(planted.features["graded"]):
        label = found.labels["true"][0].text
        assert (planted.knowledge.meanings[label].covered == planted.populations["graded"].fires[feature]).all()


@pytest.mark.slow
def test_items_carry_the_windows_that_were_sampled(planted: Planted) -> None:
    sampled, population = sampled_windows(planted, "graded"), planted.populations["graded"]
    for feature, contexts in sampled.contexts.items():
        rows = sampled.row[feature][sampled.row[feature] >= 0]
        assert set(rows.tolist()) == set(contexts.row.tolist())
        strata = sampled.items.stratum[feature][sampled.row[feature] >= 0]
        inside = strata != STRATA.index("top")
        assert (population.stratum[feature, rows[inside]] == strata[inside]).all()


@pytest.mark.slow
def test_prompts_and_direct_questions_give_the_same_grades(planted: Planted, judged: JudgedSet) -> None:
    judge = make_judges(planted.knowledge)["related-aware"]
    rows = judged.sampled.row[0]
    grades = judged.asked["related-aware"].grades[0, 3][rows >= 0]
    assert len(grades) >= 50
    assert (100 * grades).round().tolist() == judge.grades(judged.labels[0][3], rows[rows >= 0]).tolist()


@pytest.mark.slow
def test_a_perfect_judge_gives_true_labels_a_perfect_score_and_generic_ones_half(judged: JudgedSet) -> None:
    scores = judged.scores["exact", OURS]
    assert np.nanmin(scores[:, :3]) == 1.0
    generic = scores[:, 9]
    assert generic.tolist() == [0.5] * len(generic)
    assert {method for _, method in judged.scores} == set(METHODS)


@pytest.mark.slow
def test_intervals_of_the_perfect_judge_hold_the_oracle_values(judged: JudgedSet) -> None:
    for low, high, oracle in judged.intervals.values():
        known = ~np.isnan(oracle)
        held = (low[known] <= oracle[known] + 1e-9) & (oracle[known] <= high[known] + 1e-9)
        assert held.mean() >= 0.93
        assert (high[known] - low[known]).min() > 0


@pytest.mark.slow
def test_a_judge_that_fails_leaves_no_score_but_a_reason(planted: Planted) -> None:
    from evals.planted.judges import fail

    sampled = sampled_windows(planted, "graded")
    labels = [[texts[0]] for texts in label_table(planted.features["graded"])]
    answers = ask(planted, sampled, labels, {"fails": fail})["fails"]
    table = score(sampled, answers.grades[:, 0], intervals=True)
    assert np.isnan(table.value).all()
    assert all(reason for reason in table.reason.ravel())
    assert answers.reasons == {"not_json": answers.n_windows}


@pytest.mark.slow
def test_labels_that_do_not_exist_are_not_asked_about(planted: Planted) -> None:
    sampled = sampled_windows(planted, "other")
    labels = [[SKIP, texts[0]] for texts in label_table(planted.features["other"])]
    answers = ask(planted, sampled, labels, {"exact": make_judges(planted.knowledge)["exact"]})["exact"]
    assert np.isnan(answers.grades[:, 0]).all()
    assert not np.isnan(answers.grades[0, 1]).all()


@pytest.mark.slow
def test_a_protocol_judges_the_labels_of_a_feature_on_the_same_windows(planted: Planted, judged: JudgedSet) -> None:
    judge = make_judges(planted.knowledge)["exact"]
    found = [peer_scores(planted, "graded", judged.labels, judge, DELPHI, windows=100, seed=seed) for seed in (0, 0, 1)]
    assert np.nanmin(found[0][:, :3]) == 1.0
    assert np.array_equal(found[0], found[1], equal_nan=True)
    assert not np.array_equal(found[0], found[2], equal_nan=True)


@pytest.mark.slow
def test_the_whole_bench_meets_its_targets_on_a_small_plantation_and_keeps_its_numbers(tmp_path: Path) -> None:
    rows = {row.name: row for row in ScorersBench(workspace=tmp_path / "kept", size="small").measure()}
    missed = [row for row in rows.values() if not row.ok]
    assert missed == []
    assert _value(rows, "noisy .95/.05: true above too broad") >= 0.95
    assert _value(rows, "related-aware: true above too narrow") >= 0.95
    assert _value(rows, "related-aware, SAEBench-like: true above too narrow") < 0.95
    assert _value(rows, "exact judge: intervals of zero width") == 0
    assert _value(rows, "contrarian judge: largest headline") < 0.2
    assert _value(rows, "all-errors judge: lost judgments with a reason") > 1000
    kept = query(
        Workspace(tmp_path / "kept" / "workspace"), "SELECT name, value FROM bench_rows WHERE bench = 'scorers'"
    )
    assert dict(kept.iter_rows()) == {name: row.value for name, row in rows.items()}
    scores = query(
        Workspace(tmp_path / "kept" / "workspace"),
        "SELECT kind, avg(value) AS score, avg(mcc) AS mcc FROM planted_scores JOIN planted_labels USING (sample_id, "
        "feature, kind, wording) WHERE method = 'detection' AND judge = 'exact' AND shape = 'graded' GROUP BY kind",
    )
    by_kind = {kind: (value, mcc) for kind, value, mcc in scores.iter_rows()}
    assert by_kind["true"] == (1.0, 1.0)
    assert by_kind["generic"] == (0.5, 0.0)
    assert by_kind["truncated"][1] is None


def _value(rows: dict[str, Row], name: str) -> float:
    value = rows[name].value
    assert value is not None
    return value


@pytest.mark.slow
def test_a_guesser_without_a_label_gets_chance_on_every_scorer_in_trials_about_labels(
    planted: Planted, judged: JudgedSet
) -> None:
    found = {guessed.scorer: guessed for guessed in guesses(planted, judged, seed=0)}
    assert set(found) == set(METRICS)
    assert [name for name, of in found.items() if of.n_features < 4 or not of.outside <= 0] == []


@pytest.mark.slow
def test_a_judge_without_habits_changes_with_the_windows_alone(planted: Planted, judged: JudgedSet) -> None:
    exact, related = (make_judges(planted.knowledge)[name] for name in ("exact", "related-aware"))
    assert wording_change([judged], "exact") < 0.01
    assert judge_change([judged], "exact", "exact") == 0.0
    assert set(batch_changes(planted, judged, exact).values()) == {0.0}
    assert 0.0 < window_change(planted, [judged], related, seed=0) < 0.1
