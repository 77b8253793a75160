"""Intervals of bounded means: known values, never of zero width, and measured coverage."""

import numpy as np
import pytest
from scipy.stats import beta

from evals.intervals import Estimate, bounded_interval, combine, jeffreys, spearman_interval, stratified_mean
from evals.metrics import METRICS, score_features
from evals.strata import ABOVE, lay_out
from tests.evals.judged import POPULATIONS, feature, rates, sampled, yes_no


def estimate(mean: float, variance: float, units: float) -> Estimate:
    return Estimate(np.array([mean]), np.array([variance]), np.array([units]), np.array([1e6]), np.zeros(0))


def test_jeffreys_interval_is_the_beta_quantiles_and_closed_at_the_ends() -> None:
    low, high = jeffreys(np.array([7, 0, 10, 0]), np.array([10, 10, 10, 0]))
    assert low[0] == pytest.approx(beta.ppf(0.025, 7.5, 3.5))
    assert high[0] == pytest.approx(beta.ppf(0.975, 7.5, 3.5))
    assert (low[1], high[2]) == (0.0, 1.0)
    assert high[1] == pytest.approx(beta.ppf(0.975, 0.5, 10.5))
    assert np.isnan([low[3], high[3]]).all()


def test_the_bounded_interval_of_a_proportion_is_the_jeffreys_interval() -> None:
    low, high = bounded_interval(estimate(0.7, 0.7 * 0.3 / 10, 10))
    assert (low[0], high[0]) == pytest.approx((beta.ppf(0.025, 7.5, 3.5), beta.ppf(0.975, 7.5, 3.5)), abs=1e-5)


def test_an_interval_of_equal_grades_has_a_width() -> None:
    for grade in (0.0, 0.5, 0.97, 1.0):
        low, high = bounded_interval(estimate(grade, 0.0, 50))
        assert low[0] <= grade <= high[0]
        assert high[0] - low[0] > 0.02


def test_documents_not_items_are_the_units_of_a_variance() -> None:
    grades = [0.0, 0.0, 1.0, 1.0]
    items = [("q1", g, 1.0) for g in grades]
    apart = lay_out(feature(items, {"q1": 10}), share_of_max=0.01)
    pairs = lay_out(feature(items, {"q1": 10}, documents=[1, 1, 2, 2]), share_of_max=0.01)
    by_item = stratified_mean(apart, np.array(grades), apart.share(ABOVE))
    by_document = stratified_mean(pairs, np.array(grades), pairs.share(ABOVE))
    assert by_item.variance[0] == pytest.approx(4 * (0.5 / 4) ** 2 * 4 / 3)
    assert by_document.variance[0] == pytest.approx(2 * (1.0 / 4) ** 2 * 2 / 1)
    assert by_document.units[0] == pytest.approx(2)


def test_unequal_stratum_weights_lower_the_effective_number_of_items() -> None:
    design = lay_out(feature([("q1", 0.1, 1.0), ("q2", 0.9, 2.0)], {"q1": 30, "q2": 10}), share_of_max=0.01)
    found = stratified_mean(design, np.array([0.1, 0.9]), design.share(ABOVE))
    assert found.mean[0] == pytest.approx(0.75 * 0.1 + 0.25 * 0.9)
    assert found.units[0] == pytest.approx(1 / (0.75**2 + 0.25**2))


def test_distances_to_the_limits_are_squared_and_added() -> None:
    one = np.array([1.0])
    parts = jeffreys(np.array([10]), np.array([10])), jeffreys(np.array([0]), np.array([10]))
    low, high = combine(one, (one, parts[0], 0.5), (0 * one, parts[1], -0.5))
    assert high[0] == 1.0
    assert low[0] == pytest.approx(1 - np.sqrt(2) / 2 * beta.ppf(0.975, 0.5, 10.5))


def test_a_perfect_rank_correlation_has_an_interval_that_includes_it() -> None:
    low, high = spearman_interval(np.array([1.0, 0.3]), np.array([50.0, 4.0]))
    assert low[0] < high[0] == 1.0
    assert np.isnan(low[1])


CASES = {
    0.5: rates(0.3, 0.3, 0.3, 0.3),
    0.7: rates(0.7, 0.3, 0.3, 0.3),
    0.9: rates(0.9, 0.1, 0.1, 0.1),
    0.95: rates(0.9, 0.0, 0.0),
    0.98: rates(0.96, 0.0, 0.0),
    0.985: rates(1.0, 0.03, 0.03),
    1.0: rates(1.0, 0.0, 0.0),
}


@pytest.mark.parametrize("oracle", CASES)
def test_intervals_cover_the_oracle_of_a_noise_free_judge(oracle: float) -> None:
    generator = np.random.default_rng(7)
    items = sampled(yes_no(CASES[oracle]), n_features=600, generator=generator)
    table = score_features(items, generator=generator, draws=100, tau_shares=(0.01,))
    for metric in ("balanced_hard", "balanced_random", "auroc_hard", "auroc_random"):
        row = table.row(metric)
        covered = (table.low[row] <= oracle + 1e-9) & (table.high[row] >= oracle - 1e-9)
        assert covered.mean() >= 0.93, metric
        assert (table.high[row] - table.low[row]).min() > 0.01, metric


@pytest.mark.parametrize(("firing", "random"), [(0.9, 0.0), (0.9, 0.02), (1.0, 0.002)])
def test_precision_and_f1_at_the_base_rate_are_covered_where_a_bootstrap_fails(firing: float, random: float) -> None:
    generator = np.random.default_rng(3)
    items = sampled(yes_no(rates(firing, 0.1 * (random > 0), random)), n_features=500, generator=generator)
    table = score_features(items, generator=generator, draws=400, tau_shares=(0.01,))
    silent = sum(POPULATIONS.values()) - 500
    false = 0.1 * (random > 0) * 3700 + random * 95_500
    base, rate = 500 / (500 + silent), false / silent
    precision = base * firing / (base * firing + (1 - base) * rate)
    f1 = 2 * base * firing / (base * firing + (1 - base) * rate + base)
    for metric, oracle in (("precision", precision), ("f1", f1)):
        row = table.row(metric)
        covered = (table.low[row] <= oracle + 1e-6) & (table.high[row] >= oracle - 1e-6)
        assert covered.mean() >= 0.93, metric


def test_average_precision_is_covered_and_no_false_positive_does_not_make_it_certain() -> None:
    generator = np.random.default_rng(3)
    items = sampled(yes_no(rates(0.9, 0.1, 0.02, 0.02)), n_features=250, generator=generator, panel=400)
    table = score_features(items, generator=generator, draws=200, tau_shares=(0.01,))
    row = table.row("average_precision")
    silent = 99_500
    false, hits = 0.1 * 3700 + 0.02 * (95_500 + 300), 0.9 * 500
    oracle = 0.9 * hits / (hits + false) + 0.1 * 500 / (500 + silent)
    assert ((table.low[row] <= oracle) & (table.high[row] >= oracle)).mean() >= 0.93
    clean = sampled(yes_no(rates(0.9, 0.0, 0.0)), n_features=1, generator=generator, panel=400)
    table = score_features(clean, generator=generator, draws=200, tau_shares=(0.01,))
    assert table.low[row, 0] < 0.5 < 0.85 < table.high[row, 0]


def test_activation_recall_is_covered_when_strong_windows_are_found_more_often() -> None:
    generator = np.random.default_rng(4)
    shares = dict(zip(("q1", "q2", "q3", "q4", "q5"), (0.3, 0.5, 0.7, 0.8, 0.95), strict=True))
    items = sampled(yes_no({**rates(0, 0.1, 0.05), **shares}), n_features=300, generator=generator)
    table = score_features(items, generator=generator, draws=10, tau_shares=(0.01,))
    row = table.row("activation_recall")
    strength = np.arange(1, 6) + 0.25  # see the builder
    oracle = (strength * list(shares.values())).sum() / strength.sum()
    covered = (table.low[row] <= oracle) & (oracle <= table.high[row])
    assert 0.93 <= covered.mean() <= 0.995
    assert (table.low[row] < table.value[row]).all()


def test_every_scored_value_lies_within_its_interval() -> None:
    generator = np.random.default_rng(1)
    grades = {s: generator.beta(2, 2, min(n, 2000)) for s, n in POPULATIONS.items()}
    items = sampled(grades, n_features=20, generator=generator, panel=420)
    table = score_features(items, generator=generator, draws=200)
    scored = ~np.isnan(table.value)
    assert scored[[table.row(m) for m in METRICS]].all()
    assert (table.low[scored] <= table.value[scored] + 1e-12).all()
    assert (table.high[scored] >= table.value[scored] - 1e-12).all()
    assert (table.high[scored] > table.low[scored]).all()
