"""A judge that is asked again: flips, kappa, PABAK, intraclass correlation."""

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from evals.judge_noise import agreement, concordance, repeatability


def test_flips_and_kappa_have_their_textbook_values() -> None:
    generator = np.random.default_rng(0)
    first = generator.random(400) < 0.3
    second = np.where(generator.random(400) < 0.1, ~first, first)
    yes = np.stack([first, second], axis=1).astype(float)
    found = agreement(np.arange(400) // 20, yes)
    assert found.flip_rate.value == pytest.approx((first != second).mean())
    assert found.kappa.value == pytest.approx(cohen_kappa_score(first, second))
    assert found.pabak.value == pytest.approx(1 - 2 * (first != second).mean())
    assert (found.n_features, found.n_windows) == (20, 400)
    for ranged in (found.flip_rate, found.kappa, found.pabak):
        assert ranged.low < ranged.value < ranged.high


def test_kappa_collapses_at_extreme_base_rates_and_pabak_does_not() -> None:
    yes = np.zeros((200, 2))
    yes[:2, 0] = yes[2:4, 1] = 1
    found = agreement(np.arange(200) // 10, yes)
    assert found.kappa.value < 0
    assert found.pabak.value == pytest.approx(0.96)


def test_a_judge_that_never_flips_still_has_an_interval() -> None:
    yes = np.tile(np.arange(60)[:, None] % 2, (1, 2)).astype(float)
    found = agreement(np.arange(60) // 6, yes)
    assert (found.flip_rate.value, found.flip_rate.low) == (0.0, 0.0)
    assert 0 < found.flip_rate.high < 0.2
    assert found.kappa.low < found.kappa.value == 1.0


def test_the_same_answer_to_everything_has_no_kappa() -> None:
    found = agreement(np.arange(9), np.ones((9, 2)))
    assert np.isnan(found.kappa.value)
    assert found.pabak.value == 1.0


def test_lost_answers_are_left_out_and_none_left_is_not_known() -> None:
    yes = np.array([[1, 0], [np.nan, 1], [1, 1]], float)
    assert agreement(np.array([1, 1, 2]), yes).n_windows == 2
    nothing = agreement(np.array([1]), np.array([[np.nan, 1.0]]))
    assert (nothing.n_windows, np.isnan(nothing.flip_rate.value)) == (0, True)


def test_flips_that_come_together_in_features_widen_the_interval() -> None:
    spread = np.zeros((200, 2))
    spread[::10, 1] = 1
    bunched = np.zeros((200, 2))
    bunched[:20, 1] = 1
    feature = np.arange(200) // 20
    narrow, wide = (agreement(feature, yes).flip_rate for yes in (spread, bunched))
    assert narrow.value == wide.value == pytest.approx(0.1)
    assert wide.high - wide.low > 1.5 * (narrow.high - narrow.low)


def test_more_than_two_epochs_take_the_mean_over_their_pairs() -> None:
    found = agreement(np.arange(3), np.array([[1, 0, 0], [0, 0, 0], [1, 1, 1]], float))
    assert found.flip_rate.value == pytest.approx((1 / 3 + 1 / 3 + 0) / 3)


def test_icc_has_the_published_value_of_shrout_and_fleiss() -> None:
    """Their table 2: six targets, four judges; ICC(2,1) = .29, 95 % limits .02 to .76 (McGraw and Wong's method)."""
    ratings = np.array([[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]], float)
    found = repeatability(ratings).icc
    assert found.value == pytest.approx(0.2898, abs=1e-4)
    assert found.low == pytest.approx(0.019, abs=2e-3)
    assert found.high == pytest.approx(0.761, abs=2e-3)


def test_the_judge_s_variance_is_that_between_epochs() -> None:
    generator = np.random.default_rng(0)
    truth = generator.normal(0.7, 0.1, 5000)
    scores = truth[:, None] + generator.normal(0, 0.05, (5000, 2))
    found = repeatability(scores)
    assert found.judge_variance == pytest.approx(0.0025, rel=0.05)
    assert found.icc.value == pytest.approx(0.01 / 0.0125, abs=0.02)


def test_scores_that_come_back_the_same_are_reliable_with_an_interval() -> None:
    found = repeatability(np.tile(np.linspace(0.4, 0.9, 9)[:, None], (1, 2)))
    assert found.judge_variance == 0
    assert found.icc.low < found.icc.value
    assert found.icc.value > 0.999


def test_a_missing_score_leaves_its_feature_out_and_few_features_have_no_icc() -> None:
    found = repeatability(np.array([[0.5, 0.6], [np.nan, 0.7], [0.8, 0.9]]))
    assert found.n_features == 2
    assert np.isnan(found.icc.value)
    assert found.judge_variance == pytest.approx(0.005)
    assert np.isnan(repeatability(np.zeros((0, 2))).judge_variance)


def test_two_judges_correlate_over_the_labels_both_scored_and_noise_is_taken_off() -> None:
    a, b = np.array([0.1, 0.2, 0.3, 0.5, np.nan, 0.9]), np.array([0.2, 0.1, 0.4, 0.4, 0.7, np.nan])
    found = concordance(a, b, icc_a=0.81, icc_b=1.0)
    assert found.n_features == 4
    assert found.correlation.value == pytest.approx(np.corrcoef(a[:4], b[:4])[0, 1])
    assert found.correlation.low < found.correlation.value < found.correlation.high
    assert found.disattenuated == pytest.approx(found.correlation.value / 0.9)


@pytest.mark.parametrize(("icc_a", "icc_b"), [(np.nan, 0.5), (0.5, np.nan), (0.0, 0.5), (-0.1, -0.5)])
def test_a_correlation_is_freed_of_noise_only_by_reliabilities_above_zero(icc_a: float, icc_b: float) -> None:
    found = concordance(np.arange(5.0), np.array([0.0, 2, 1, 3, 4]), icc_a=icc_a, icc_b=icc_b)
    assert found.correlation.value == pytest.approx(0.9)
    assert np.isnan(found.disattenuated)


@pytest.mark.parametrize("b", [[0.5] * 5, [0.1, 0.2, 0.3, np.nan, np.nan]])
def test_a_judge_that_scores_all_the_same_or_too_few_has_no_correlation(b: list[float]) -> None:
    assert np.isnan(concordance(np.arange(5.0), np.array(b), icc_a=1, icc_b=1).correlation.value)
