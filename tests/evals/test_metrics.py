"""Metrics from judged items: hand-computed values, invariances, and reasons instead of numbers."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score

from evals.groups import score_groups
from evals.items import Items
from evals.metrics import METRICS, MetricTable, score_features
from tests.evals.judged import POPULATIONS, feature, rates, sampled, yes_no

SMALL = {"q1": 10, "q2": 30, "hard_token": 100, "hard_text": 300, "random": 1000}
SMALL_ITEMS = [
    ("q1", 1.0, 1.0),
    ("q1", 0.5, 1.5),
    ("q2", 0.2, 2.0),
    ("hard_token", 0.4, 0.0),
    ("hard_token", 0.0, 0.0),
    ("hard_text", 0.1, 0.0),
    ("random", 0.05, 0.0),
    ("random", 0.15, 0.0),
]


def scored(items: Items, *, intervals: bool = False) -> MetricTable:
    return score_features(items, generator=np.random.default_rng(0), intervals=intervals, draws=100)


def value(items: Items, metric: str, *, tau_share: float = 0.01) -> float:
    table = scored(items)
    return float(table.value[table.row(metric, tau_share=tau_share), 0])


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        ("balanced_hard", (13.5 / 40 + 1 - (0.2 + 0.1) / 2) / 2),
        ("balanced_random", (13.5 / 40 + 1 - 0.1) / 2),
        ("headline", (13.5 / 40 + 1 - (0.2 + 0.1) / 2) / 2),
        ("auroc_hard", 0.25 + 0.75 * (0.5 + 1) / 2),
        ("auroc_random", 1.0),
        ("recall_q1", 1.0),
        ("recall_q2", 0.0),
        ("recall", 0.25),
        ("balanced_accuracy", (0.25 + 1 - 0.0) / 2),
        ("activation_recall", (5 * 1.0 + 5 * 0.5 * 1.5 + 30 * 0.2 * 2.0) / (5 * 1.0 + 5 * 1.5 + 30 * 2.0)),
        ("f1", 2 * 10 / (2 * 10 + 30)),
        ("iou", 10 / 40),
        ("brier_skill", 1 - 4 * (0.5 * 20.45 / 40 + 0.25 * (0.08 + 0.01) / 2 + 0.25 * 0.0125)),
    ],
)
def test_metric_has_its_hand_computed_value(metric: str, expected: float) -> None:
    assert value(feature(SMALL_ITEMS, SMALL), metric) == pytest.approx(expected)


@pytest.mark.parametrize("metric", ["balanced_hard", "headline", "auroc_hard", "brier_skill"])
def test_how_many_windows_a_source_of_hard_negatives_has_does_not_matter(metric: str) -> None:
    more = feature(SMALL_ITEMS, {**SMALL, "hard_text": 30_000})
    assert value(more, metric) == value(feature(SMALL_ITEMS, SMALL), metric)
    assert value(more, "weighted_correlation") != value(feature(SMALL_ITEMS, SMALL), "weighted_correlation")


def test_a_feature_with_one_activation_everywhere_has_no_recall_by_quantile_but_a_recall() -> None:
    items = [("q3", g, 1.0) for g in (1.0, 0.9, 0.1)] + [("hard_text", 0.1, 0.0), ("random", 0.1, 0.0)]
    table = scored(feature(items, {"q3": 600, "hard_text": 100, "random": 900}), intervals=True)
    assert table.value[table.row("recall"), 0] == pytest.approx(2 / 3)
    for q in ("q1", "q3"):
        assert np.isnan(table.value[table.row(f"recall_{q}"), 0])
    assert (
        table.reason[table.row("recall_q3"), 0] == "all firing windows are about equally strong: there are no quantiles"
    )


def test_ties_count_one_half_in_auroc() -> None:
    items = [("q1", 0.5, 1.0), ("hard_text", 0.5, 0.0), ("random", 0.5, 0.0), ("random", 0.2, 0.0)]
    items_of_one = feature(items, {"q1": 5, "hard_text": 5, "random": 10})
    assert value(items_of_one, "auroc_hard") == 0.5
    assert value(items_of_one, "auroc_random") == 0.75


def test_corpus_metrics_equal_scikit_learn_with_the_weights_of_the_windows() -> None:
    generator = np.random.default_rng(5)
    grades = {s: np.round(generator.beta(3 if s[0] == "q" else 1, 2, min(n, 2000)), 1) for s, n in POPULATIONS.items()}
    items = sampled(grades, n_features=1, generator=generator, panel=400)
    fires = items.activation[0] > 0.5
    drawn = np.bincount(items.stratum[0])[items.stratum[0]]
    weight = items.population[0] / drawn
    grade = items.probability[0]
    assert value(items, "average_precision") == pytest.approx(
        average_precision_score(fires, grade, sample_weight=weight)
    )
    assert value(items, "f1") == pytest.approx(f1_score(fires, grade >= 0.5, sample_weight=weight))
    covariance = np.cov(grade, fires, aweights=weight)
    expected = covariance[0, 1] / np.sqrt(covariance[0, 0] * covariance[1, 1])
    assert value(items, "weighted_correlation") == pytest.approx(expected)
    yes = weight[grade >= 0.5]
    assert value(items, "precision") == pytest.approx((yes * fires[grade >= 0.5]).sum() / yes.sum())


def test_spearman_looks_at_firing_windows_only() -> None:
    grade, activation = [0.1, 0.4, 0.3, 0.9, 0.7, 0.3], [1.0, 2.0, 3.0, 4.0, 5.0, 5.0]
    items = [("q1", g, a) for g, a in zip(grade, activation, strict=True)]
    zeros = [("random", 0.0, 0.0)] * 20
    found = value(feature(items + zeros, {"q1": 60, "random": 100}), "spearman_firing")
    assert found == pytest.approx(spearmanr(grade, activation).statistic)


def test_at_the_higher_threshold_weaker_firing_windows_become_silent_ones_outside_balanced_metrics() -> None:
    populations = {"q1": 10, "q2": 10, "q3": 10, "hard_text": 50, "random": 100, "grey": 20}
    items = [("q1", 0.9, 1.0), ("q2", 0.8, 2.0), ("q2", 0.4, 3.0), ("q3", 0.6, 4.0)]
    items += [("hard_text", 0.2, 0.0), ("random", 0.0, 0.0), ("grey", 0.0, 0.2)]
    judged = feature(items, populations, firing_windows25=15)
    firing = (5 * 0.4 + 10 * 0.6) / 15
    assert value(judged, "balanced_hard", tau_share=0.25) == pytest.approx((firing + 1 - 0.2) / 2)
    assert value(judged, "recall", tau_share=0.25) == pytest.approx(10 / 15)
    silent_yes = 10 + 5  # all of q1, and the half of q2 below the threshold
    assert value(judged, "f1", tau_share=0.25) == pytest.approx(2 * 10 / (10 + silent_yes + 15))
    table = scored(judged)
    row = table.row("recall_q1", tau_share=0.25)
    assert table.reason[row, 0] == "q1 lies below 25 % of the maximum (15 windows are above)"


def test_panel_windows_count_in_the_stratum_they_fall_into() -> None:
    items = [
        ("q1", 1.0, 1.0),
        ("hard_text", 0.0, 0.0),
        ("random", 0.0, 0.0),
        ("random", 0.3, 0.0),
        ("hard_text", 1.0, 0.0),
    ]
    panel = [False, False, False, True, True]
    judged = feature(items, {"q1": 5, "hard_text": 10, "random": 100}, panel=panel)
    assert value(judged, "balanced_random") == pytest.approx((1 + 1 - 0.15) / 2)
    assert value(judged, "balanced_hard") == pytest.approx((1 + 1 - 0.5) / 2)


def test_top_and_grey_windows_leave_balanced_metrics_alone() -> None:
    more = [*SMALL_ITEMS, ("top", 0.0, 9.0), ("grey", 1.0, 0.2)]
    populations = {**SMALL, "top": 2, "grey": 50}
    for metric in ("headline", "auroc_hard", "auroc_random", "recall", "brier_skill"):
        assert value(feature(more, populations), metric) == value(feature(SMALL_ITEMS, SMALL), metric)
    assert value(feature(more, populations), "f1") == pytest.approx(2 * 10 / (2 * 10 + 30 + 50))


def test_the_mean_over_samples_is_the_value_of_the_whole_population() -> None:
    generator = np.random.default_rng(11)
    mean = dict(zip(POPULATIONS, (0.2, 0.4, 0.6, 0.8, 0.9, 0.4, 0.3, 0.1, 0.2, 0.05), strict=True))
    grades = {
        s: np.round(generator.beta(6 * mean[s], 6 * (1 - mean[s]), min(n, 2000)), 2) for s, n in POPULATIONS.items()
    }
    table = scored(sampled(grades, n_features=1500, generator=generator))
    firing = np.concatenate([grades[q] for q in ("q1", "q2", "q3", "q4", "q5")])
    hard = [grades[s] for s in ("hard_token", "hard_neighbor", "hard_text")]
    higher = [((firing[:, None] > one) + (firing[:, None] == one) / 2).mean() for one in hard]
    oracle = {
        "balanced_hard": (firing.mean() + 1 - np.mean([one.mean() for one in hard])) / 2,
        "balanced_random": (firing.mean() + 1 - grades["random"].mean()) / 2,
        "auroc_hard": np.mean(higher),
        "recall": (firing >= 0.5).mean(),
    }
    for metric, expected in oracle.items():
        values = table.value[table.row(metric)]
        assert abs(values.mean() - expected) < 4 * values.std() / np.sqrt(len(values)), metric


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), power=st.sampled_from([0.5, 2.0, 3.0]))
def test_auroc_depends_on_the_order_of_grades_alone(seed: int, power: float) -> None:
    generator = np.random.default_rng(seed)
    grades = {s: generator.integers(0, 101, min(n, 2000)) / 100 for s, n in POPULATIONS.items()}
    items = sampled(grades, n_features=3, generator=generator)
    before, after = scored(items), scored(items.with_probability(items.probability**power))
    for metric in ("auroc_hard", "auroc_random", "spearman_firing"):
        np.testing.assert_allclose(after.value[after.row(metric)], before.value[before.row(metric)], atol=1e-12)


@settings(max_examples=8, deadline=None)
@given(grade=st.floats(0, 1), seed=st.integers(0, 1000))
@example(grade=8.2e-159, seed=0)  # its square is no normal number
def test_a_judge_that_ignores_the_window_scores_one_half(grade: float, seed: int) -> None:
    generator = np.random.default_rng(seed)
    constant = {s: np.full(min(n, 2000), grade) for s, n in POPULATIONS.items()}
    table = scored(sampled(constant, n_features=2, generator=generator))
    for metric in ("balanced_hard", "balanced_random", "headline", "auroc_hard", "auroc_random"):
        np.testing.assert_allclose(table.value[table.row(metric)], 0.5, atol=1e-12)
    assert table.reason[table.row("weighted_correlation"), 0] == "the judge gave every window the same grade"


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_the_order_of_items_does_not_matter(seed: int) -> None:
    generator = np.random.default_rng(seed)
    items = sampled(yes_no(rates(0.8, 0.2, 0.1)), n_features=2, generator=generator)
    order = generator.permutation(items.width)
    names = ("probability", "activation", "stratum", "population", "document", "panel")
    shuffled = replace(items, **{name: getattr(items, name)[:, order] for name in names})
    np.testing.assert_allclose(scored(shuffled).value, scored(items).value, equal_nan=True, atol=1e-12)


def test_lost_items_are_stood_for_by_the_answered_ones_of_their_stratum() -> None:
    items = [*SMALL_ITEMS, ("q2", np.nan, 2.0), ("hard_text", np.nan, 0.0)]
    table, full = scored(feature(items, SMALL)), scored(feature(SMALL_ITEMS, SMALL))
    for metric in METRICS:
        row = table.row(metric)
        np.testing.assert_equal(table.value[row], full.value[row])
    assert table.n_lost[table.row("balanced_hard"), 0] == 2
    assert table.n_lost[table.row("recall"), 0] == 1
    assert table.n_items[table.row("balanced_hard"), 0] == 6


def test_a_stratum_without_an_answer_leaves_the_metrics_that_need_it_unscored_and_says_how_many_were_lost() -> None:
    items = [(s, np.nan if s == "hard_token" else g, a) for s, g, a in SMALL_ITEMS]
    table = scored(feature(items, SMALL), intervals=True)
    row = table.row("balanced_hard")
    assert np.isnan([table.value[row, 0], table.low[row, 0], table.high[row, 0]]).all()
    assert table.reason[row, 0] == "no answered window in hard_token (100 windows): all 2 that were drawn were lost"
    assert table.reason[table.row("headline"), 0] is not None
    assert table.reason[table.row("balanced_random"), 0] is None


def test_firing_windows_that_no_stratum_holds_are_noticed() -> None:
    items = replace(feature(SMALL_ITEMS, SMALL), firing_windows=np.array([60]))
    table = scored(items)
    reason = table.reason[table.row("recall"), 0]
    assert reason == "the drawn quantile strata hold 40 of the 60 firing windows"


def test_a_side_that_was_never_drawn_is_named() -> None:
    table = scored(feature(SMALL_ITEMS[:6], SMALL))
    assert table.reason[table.row("auroc_random"), 0] == "no window was drawn from random"
    assert table.reason[table.row("recall_q4"), 0] == "no window was drawn from q4 (40 windows fire)"
    assert "hold 440 of the 1,440 windows" in table.reason[table.row("f1"), 0]


def test_precision_and_average_precision_need_400_panel_windows() -> None:
    generator = np.random.default_rng(2)
    grades = yes_no(rates(0.9, 0.1, 0.05))
    few = scored(sampled(grades, n_features=1, generator=generator, panel=399), intervals=True)
    enough = scored(sampled(grades, n_features=1, generator=generator, panel=400), intervals=True)
    ratio = enough.value[enough.row("average_precision_lift"), 0] / enough.value[enough.row("average_precision"), 0]
    assert ratio == pytest.approx(sum(POPULATIONS.values()) / 500)
    for metric in ("precision", "average_precision", "average_precision_lift"):
        row = few.row(metric)
        assert few.reason[row, 0] == "not identifiable: 399 answered panel windows, at least 400 are needed"
        assert np.isnan(few.value[row, 0])
        assert enough.value[row, 0] > 0
    row = few.row("precision")
    assert 0 < few.low[row, 0] < few.high[row, 0] < 1, "the Jeffreys interval is honest with any sample"


def test_no_false_positive_in_a_small_sample_does_not_make_precision_one() -> None:
    items = sampled(yes_no(rates(1.0, 0.0, 0.0)), n_features=1, generator=np.random.default_rng(2), panel=400)
    table = scored(items, intervals=True)
    row = table.row("precision")
    assert table.reason[row, 0].startswith("not identifiable: no false positive among 460 silent windows, and 597 are")
    assert table.low[row, 0] < 0.8


def test_a_judge_that_never_says_yes_has_no_precision() -> None:
    table = scored(sampled(yes_no({}), n_features=1, generator=np.random.default_rng(2), panel=400), intervals=True)
    row = table.row("precision")
    assert np.isnan([table.value[row, 0], table.low[row, 0]]).all()
    assert table.reason[row, 0] == "the judge said yes to no window"


def test_chunks_and_the_interval_switch_change_nothing() -> None:
    items = sampled(yes_no(rates(0.8, 0.2, 0.1)), n_features=1100, generator=np.random.default_rng(2))
    whole = score_features(items, generator=np.random.default_rng(0), draws=20)
    end = score_features(items.take(slice(1050, 1100)), generator=np.random.default_rng(0), draws=20)
    np.testing.assert_array_equal(whole.value[:, 1050:], end.value)
    np.testing.assert_array_equal(whole.low[:, 1050:], end.low)
    np.testing.assert_array_equal(scored(items).value, whole.value)


def test_grades_that_are_not_probabilities_are_refused() -> None:
    with pytest.raises(ValueError, match="grades run from 0 to 7"):
        scored(feature([("q1", 7.0, 1.0), ("random", 0.0, 0.0)], SMALL))


# Traps that other systems fell into.


def test_trap_2_saying_no_to_everything_scores_chance_not_the_share_of_silent_windows() -> None:
    table = scored(sampled(yes_no({}), n_features=3, generator=np.random.default_rng(0)))
    assert (table.value[table.row("headline")] == 0.5).all()
    assert (table.value[table.row("f1")] == 0).all()


def test_trap_3_an_anticorrelated_label_scores_below_chance() -> None:
    table = scored(sampled(yes_no(rates(0.05, 0.9, 0.9, 0.9)), n_features=50, generator=np.random.default_rng(0)))
    assert (table.value[table.row("headline")] < 0.2).all()
    assert (table.value[table.row("auroc_random")] < 0.2).all()
    assert (table.value[table.row("weighted_correlation")] < 0).all()


def test_trap_5_a_judge_that_only_fails_is_unscored_everywhere() -> None:
    items = sampled(yes_no(rates(0.9, 0.1, 0.1)), n_features=3, generator=np.random.default_rng(0), panel=400)
    table = scored(items.with_probability(np.full_like(items.probability, np.nan)), intervals=True)
    assert np.isnan(table.value).all()
    assert np.isnan(table.low).all()
    assert all(isinstance(reason, str) for reason in table.reason.ravel())
    assert "were lost" in table.reason[table.row("headline"), 0]


def test_trap_5_failures_do_not_count_as_correct_negatives() -> None:
    items = [("q1", 1.0, 1.0), ("hard_text", 0.6, 0.0), ("random", 0.6, 0.0)]
    lost = [*items, ("random", np.nan, 0.0), ("random", np.nan, 0.0)]
    populations = {"q1": 5, "hard_text": 5, "random": 100}
    assert value(feature(lost, populations), "balanced_random") == value(feature(items, populations), "balanced_random")


def test_trap_7_pooling_features_does_not_mix_calibration_into_discrimination() -> None:
    """A judge is timid about one feature and bold about another: in one heap they would be told apart badly."""
    grades = np.array([[0.2, 0.1, 0.1], [0.9, 0.8, 0.8]])
    one = feature(
        [("q1", 0.2, 1.0), ("hard_text", 0.1, 0.0), ("random", 0.1, 0.0)], {"q1": 5, "hard_text": 5, "random": 100}
    )
    table = scored(one.take(np.array([0, 0])).with_probability(grades))
    row = table.row("auroc_random")
    assert table.value[row].tolist() == [1.0, 1.0]
    assert score_groups(table).mean[row] == 1.0
    fires = np.array([[True, False, False]] * 2)
    assert roc_auc_score(fires.ravel(), grades.ravel()) < 0.8


def test_trap_3_average_precision_of_windows_drawn_by_strength_is_weighted() -> None:
    items = sampled(yes_no(rates(0.9, 0.2, 0.05)), n_features=1, generator=np.random.default_rng(0), panel=425)
    unweighted = average_precision_score(items.activation[0] > 0.5, items.probability[0])
    assert value(items, "average_precision") < 0.2 < unweighted


def test_trap_3_one_class_only_is_unscored_with_its_count_and_no_error() -> None:
    always = feature([("q1", 0.9, 1.0), ("q2", 0.8, 2.0)], {"q1": 40, "q2": 40})
    table = scored(always, intervals=True)
    row = table.row("headline")
    assert (np.isnan(table.value[row, 0]), np.isnan(table.low[row, 0])) == (True, True)
    assert table.reason[row, 0] == "no window was drawn from hard_token or hard_neighbor or hard_text"
    never = feature([("hard_text", 0.9, 0.0), ("random", 0.1, 0.0)], {"hard_text": 40, "random": 900})
    assert scored(never).reason[row, 0] == "no window was drawn from the firing windows (0 windows fire)"


def test_trap_10_windows_of_one_document_are_not_independent() -> None:
    grades = [1.0, 1.0, 0.0, 0.0] * 5
    items = [("q1", g, 1.0) for g in grades] + [("hard_text", 0.1, 0.0)] * 9 + [("random", 0.1, 0.0)] * 9
    populations = {"q1": 500, "hard_text": 500, "random": 9000}
    apart = scored(feature(items, populations), intervals=True)
    together = [0, 0, 1, 1] * 5 + list(range(10, 28))  # all firing windows stand in two documents
    shared = scored(feature(items, populations, documents=together), intervals=True)
    row = apart.row("headline")
    assert apart.value[row, 0] == shared.value[row, 0]
    assert shared.high[row, 0] - shared.low[row, 0] > 1.5 * (apart.high[row, 0] - apart.low[row, 0])


def test_windows_that_are_drawn_twice_from_one_document_tell_no_more_than_once() -> None:
    once = [("q1", 0.9, 1.0), ("q1", 0.3, 1.1), ("hard_text", 0.2, 0.0), ("hard_text", 0.4, 0.0)]
    once += [("random", 0.1, 0.0), ("random", 0.0, 0.0)]
    populations = {"q1": 50, "hard_text": 50, "random": 500}
    single = scored(feature(once, populations), intervals=True)
    double = scored(feature(once * 2, populations, documents=list(range(6)) * 2), intervals=True)
    for metric in ("headline", "balanced_hard", "auroc_random"):
        row = single.row(metric)
        assert double.value[row, 0] == pytest.approx(single.value[row, 0])
        assert double.low[row, 0] == pytest.approx(single.low[row, 0])


@pytest.mark.parametrize("grade", [0.0, 0.5, 1.0])
def test_constant_grades_score_chance_with_intervals_of_a_width(grade: float) -> None:
    items = [("q1", grade, 1.0 + i) for i in range(6)] + [("hard_text", grade, 0.0)] * 6 + [("random", grade, 0.0)] * 6
    table = scored(feature(items, {"q1": 60, "hard_text": 60, "random": 900}), intervals=True)
    for metric in ("balanced_hard", "balanced_random", "headline", "auroc_hard", "auroc_random"):
        row = table.row(metric)
        assert table.value[row, 0] == pytest.approx(0.5)
        assert table.high[row, 0] - table.low[row, 0] > 0.05
    assert table.reason[table.row("weighted_correlation"), 0] == "the judge gave every window the same grade"
    assert "are the same" in table.reason[table.row("spearman_firing"), 0]


def test_a_few_firing_windows_make_a_wide_interval() -> None:
    items = [("q1", 0.9, 1.0), ("q3", 0.9, 2.0), ("q5", 0.9, 3.0)]
    items += [("hard_text", 0.1, 0.0)] * 25 + [("random", 0.1, 0.0)] * 25
    table = scored(feature(items, {"q1": 1, "q3": 1, "q5": 1, "hard_text": 60, "random": 900}), intervals=True)
    row = table.row("headline")
    assert table.value[row, 0] == pytest.approx(0.9)
    assert table.high[row, 0] - table.low[row, 0] > 0.3
    assert table.reason[table.row("spearman_firing"), 0] == "3 answered firing windows; a rank correlation needs 5"
