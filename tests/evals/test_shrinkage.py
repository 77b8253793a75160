"""Scores drawn toward the mean of their group."""

import numpy as np
import pytest

from evals.shrinkage import MIN_FEATURES, shrink

Z = 1.959963984540054


def test_the_shrunk_score_follows_the_formula() -> None:
    value = np.array([0.5, 0.6, 0.7, 0.8, 0.9])
    error = np.full(5, 0.1)
    found = shrink(value, value - Z * error, value + Z * error, largest=2.0)
    assert found is not None
    feature = value.var(ddof=1) - 0.01
    reliability = feature / (feature + 0.01)
    assert found.variances.feature == pytest.approx(feature)
    assert found.variances.item == pytest.approx(0.01)
    assert found.variances.reliability == pytest.approx(reliability)
    np.testing.assert_allclose(found.value, 0.7 + reliability * (value - 0.7))


def test_a_score_with_a_wide_interval_is_drawn_further_than_one_with_a_narrow_one() -> None:
    value = np.array([0.9, 0.9, 0.5, 0.5, 0.6, 0.8])
    half = np.array([0.05, 0.4, 0.05, 0.05, 0.05, 0.05])
    found = shrink(value, value - half, value + half)
    assert found is not None
    assert found.value[0] > found.value[1]


def test_noise_of_the_judge_is_told_from_noise_of_the_windows() -> None:
    value = np.linspace(0.4, 0.9, 11)
    half = np.full(11, Z * 0.1)
    found = shrink(value, value - half, value + half, judge_variance=0.004)
    assert found is not None
    assert found.variances.item == pytest.approx(0.006)
    assert found.variances.judge == 0.004
    noisier = shrink(value, value - half, value + half, judge_variance=0.02)
    assert noisier is not None
    assert noisier.variances.feature == pytest.approx(value.var(ddof=1) - 0.02)  # more than the intervals hold
    assert noisier.variances.reliability < found.variances.reliability


def test_scores_that_differ_by_noise_alone_all_become_the_mean_and_keep_an_interval() -> None:
    value = np.array([0.50, 0.51, 0.49, 0.5, 0.5])
    found = shrink(value, value - 0.2, value + 0.2)
    assert found is not None
    assert found.variances.reliability == 0
    np.testing.assert_allclose(found.value, 0.5)
    assert (found.interval.high - found.interval.low > 0).all()


def test_constant_scores_have_intervals_of_a_width() -> None:
    value = np.full(6, 0.5)
    found = shrink(value, value - 0.1, value + 0.1)
    assert found is not None
    assert (found.interval.low < 0.5).all()
    assert (found.interval.high > 0.5).all()


def test_unscored_features_stay_unscored_and_few_features_are_left_alone() -> None:
    value = np.array([0.5, np.nan, 0.7, 0.6, 0.8, 0.9])
    found = shrink(value, value - 0.1, value + 0.1)
    assert found is not None
    assert np.isnan(found.value).tolist() == np.isnan(found.interval.low).tolist() == np.isnan(value).tolist()
    few = np.full(MIN_FEATURES - 1, 0.5)
    assert shrink(few, few - 0.1, few + 0.1) is None


def test_shrunk_scores_are_nearer_the_truth_and_their_intervals_cover_it() -> None:
    generator = np.random.default_rng(0)
    truth = np.clip(generator.normal(0.7, 0.08, 4000), 0, 1)
    error = generator.choice([0.03, 0.12], 4000)
    value = truth + generator.normal(0, error)
    found = shrink(value, value - Z * error, value + Z * error)
    assert found is not None
    assert ((found.value - truth) ** 2).mean() < 0.6 * ((value - truth) ** 2).mean()
    covered = (found.interval.low <= truth) & (truth <= found.interval.high)
    assert covered.mean() >= 0.93
