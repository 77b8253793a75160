"""Raw grades to probabilities: one rising curve, fitted in the balanced world."""

import json

import numpy as np
import pytest

from evals.calibration import CalibrationError, Curve, calibrate, fit_curve, reliability, reliability_sums
from evals.metrics import score_features
from tests.evals.judged import feature, rates, sampled, yes_no


def test_a_yes_is_as_probable_as_firing_windows_are_among_yes_windows_of_the_balanced_world() -> None:
    items = sampled(yes_no(rates(0.8, 0.4, 0.1)), n_features=400, generator=np.random.default_rng(0))
    curve = fit_curve(items)
    yes = 0.5 * 0.8 / (0.5 * 0.8 + 0.25 * 0.4 + 0.25 * 0.1)
    no = 0.5 * 0.2 / (0.5 * 0.2 + 0.25 * 0.6 + 0.25 * 0.9)
    assert curve(np.array([1.0]))[0] == pytest.approx(yes, abs=0.01)
    assert curve(np.array([0.0]))[0] == pytest.approx(no, abs=0.01)


def test_grades_outside_the_fitted_range_take_its_ends_and_lost_ones_stay_lost() -> None:
    curve = Curve(thresholds=(-2.0, 3.0), values=(0.1, 0.9), n_items=9)
    np.testing.assert_allclose(curve(np.array([-9.0, 0.5, 9.0, np.nan])), [0.1, 0.5, 0.9, np.nan])


def test_a_curve_survives_json() -> None:
    curve = fit_curve(sampled(yes_no(rates(0.8, 0.4, 0.1)), n_features=5, generator=np.random.default_rng(0)))
    assert Curve.from_json(json.loads(json.dumps(curve.to_json()))) == curve


def test_raw_grades_of_any_scale_become_usable_for_the_headline() -> None:
    items = sampled(yes_no(rates(0.9, 0.1, 0.1)), n_features=60, generator=np.random.default_rng(0))
    raw = items.with_probability(40 * items.probability - 7)
    table = score_features(calibrate(raw, fit_curve(raw)), generator=np.random.default_rng(0), intervals=False)
    assert table.value[table.row("headline")].mean() > 0.75


def test_trap_4_calibration_does_not_hide_the_sign_of_a_contrarian_scorer() -> None:
    items = sampled(yes_no(rates(0.1, 0.9, 0.9)), n_features=60, generator=np.random.default_rng(0))
    curve = fit_curve(items)
    assert max(curve.values) - min(curve.values) < 1e-9
    table = score_features(calibrate(items, curve), generator=np.random.default_rng(0), intervals=False)
    np.testing.assert_allclose(table.value[table.row("balanced_hard")], 0.5)


def test_features_without_all_kinds_of_windows_do_not_count_and_too_few_windows_are_an_error() -> None:
    items = feature([("q1", 1.0, 1.0), ("hard_text", 0.0, 0.0)], {"q1": 5, "hard_text": 5})
    with pytest.raises(CalibrationError, match=r"0 firing and 0 silent windows.*at least 50 of each"):
        fit_curve(items)


def test_reliability_of_a_calibrated_judge_lies_on_the_diagonal() -> None:
    items = sampled(yes_no(rates(0.8, 0.4, 0.1)), n_features=400, generator=np.random.default_rng(0))
    found = reliability(calibrate(items, fit_curve(items)))
    held = found.weight > 0
    np.testing.assert_allclose(found.probability[held], found.observed[held], atol=1e-9)
    assert found.weight.sum() == pytest.approx(1)
    assert found.n_items.sum() == 400 * 100
    assert found.brier_skill > 0.25


def test_reliability_shows_overconfidence_and_the_brier_skill_of_one_half_is_zero() -> None:
    items = sampled(yes_no(rates(0.6, 0.4, 0.4)), n_features=400, generator=np.random.default_rng(0))
    found = reliability(items)
    assert found.observed[-1] == pytest.approx(0.6, abs=0.02)
    assert found.probability[-1] == 1.0
    assert found.brier_skill < 0
    half = items.with_probability(np.full_like(items.probability, 0.5))
    assert reliability(half).brier_skill == pytest.approx(0)


def test_curves_of_parts_add_up_to_the_curve_of_all_with_intervals_around_it() -> None:
    items = sampled(yes_no(rates(0.8, 0.4, 0.1)), n_features=60, generator=np.random.default_rng(0))
    whole = reliability(items)
    parts = reliability_sums(items.take(slice(0, 13))) + reliability_sums(items.take(slice(13, 60)))
    joined = parts.curve()
    np.testing.assert_allclose(joined.observed, whole.observed)
    assert joined.brier_skill == pytest.approx(whole.brier_skill)
    held = whole.weight > 0
    assert (whole.interval.low[held] <= whole.observed[held]).all()
    assert (whole.interval.high[held] > whole.interval.low[held]).all()
    assert np.isnan(whole.interval.low[~held]).all()
