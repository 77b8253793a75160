"""Effects of place and company are found where they were put, and only there."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from evals.order_effects import EFFECTS, Effect, Judgments, OrderEffects, measure_order_effects


def judged(*, features: int = 4, requests: int = 5, windows: int = 8, seed: int = 0) -> Judgments:
    """Half of the windows fire, in random order; grades are 80 and 20."""
    shape = (features, requests, windows)
    number = np.arange(features * requests * windows)
    fires = np.random.default_rng(seed).random(shape).ravel() < 0.5
    return Judgments(
        feature=number // (requests * windows),
        request=number // windows,
        place=number % windows + 1,
        fires=fires,
        grade=np.where(fires, 80.0, 20.0),
    )


def values(effects: OrderEffects) -> list[float]:
    return [getattr(effects, name).value for name in EFFECTS]


def test_a_judge_without_flaws_has_no_effects() -> None:
    assert values(measure_order_effects(judged())) == pytest.approx([0, 0, 0, 0], abs=1e-9)


def test_each_effect_is_found_beside_the_others() -> None:
    plain = judged()
    fires, place = plain.fires.astype(float), plain.place.astype(float)
    before = np.where(place == 1, 0, np.roll(fires, 1))
    first = np.where(place == 1, 0, np.repeat(fires[::8], 8))  # the first window is not its own anchor
    flawed = replace(plain, grade=plain.grade - 0.5 * place - 2 * (fires - 0.5) * place - 4 * before + 3 * first)
    assert values(measure_order_effects(flawed)) == pytest.approx([-0.5, -2, -4, 3])


def test_the_order_of_the_rows_makes_no_difference() -> None:
    plain = judged()
    noisy = replace(plain, grade=plain.grade + np.random.default_rng(1).normal(0, 5, len(plain.grade)))
    mixed = np.random.default_rng(2).permutation(len(plain.grade))
    other = Judgments(*(getattr(noisy, name)[mixed] for name in ("feature", "request", "place", "fires", "grade")))
    assert values(measure_order_effects(other)) == pytest.approx(values(measure_order_effects(noisy)))


def test_a_level_of_its_own_for_each_feature_is_no_effect() -> None:
    plain = judged()
    assert values(measure_order_effects(replace(plain, grade=plain.grade + 7 * plain.feature))) == pytest.approx(
        [0, 0, 0, 0], abs=1e-9
    )


def test_a_lost_window_still_stands_before_the_next_one() -> None:
    plain = judged()
    before = np.where(plain.place == 1, 0, np.roll(plain.fires.astype(float), 1))
    grade = plain.grade - 4 * before
    grade[::11] = np.nan
    assert measure_order_effects(replace(plain, grade=grade)).contrast.value == pytest.approx(-4)


def test_the_interval_of_a_slope_computed_by_hand() -> None:
    """Two features of one request each whose noise rises by 1 and by 3 a place: 2 +- t(1) x 1, nothing else varies."""
    plain = judged(features=2, requests=40, windows=4)
    slope = np.where(plain.feature == 0, 1.0, 3.0)
    drift = measure_order_effects(replace(plain, grade=plain.grade + slope * plain.place)).drift
    assert drift.value == pytest.approx(2, abs=0.1)
    assert drift.high - drift.value == pytest.approx(12.706, rel=0.15)
    assert drift.low == pytest.approx(2 * drift.value - drift.high)


def test_intervals_hold_the_true_effect_nineteen_times_in_twenty() -> None:
    found = []
    for seed in range(200):
        plain = judged(features=12, requests=3, windows=6, seed=seed)
        noise = np.random.default_rng([seed, 1]).normal(0, 10, len(plain.grade))
        drift = measure_order_effects(replace(plain, grade=plain.grade + noise - 0.5 * plain.place)).drift
        found.append(drift.low <= -0.5 <= drift.high)
    assert 0.89 <= np.mean(found) <= 0.99  # 4 standard errors


def test_one_request_a_feature_hides_the_anchor_alone() -> None:
    plain = judged(features=5, requests=1, windows=40)
    drift, fading, contrast, anchoring = values(
        measure_order_effects(replace(plain, grade=plain.grade - 0.5 * plain.place))
    )
    assert [drift, fading, contrast] == pytest.approx([-0.5, 0, 0], abs=1e-9)
    assert np.isnan(anchoring)


@pytest.mark.parametrize("windows", [1, 2])
def test_requests_too_short_to_tell_give_no_number(windows: int) -> None:
    effects = measure_order_effects(judged(windows=windows, requests=40))
    assert all(np.isnan(value) for value in values(effects))


def test_one_feature_has_no_interval_and_no_number() -> None:
    unknown = measure_order_effects(judged(features=1, requests=40)).drift
    assert isinstance(unknown, Effect)
    assert np.isnan(unknown.value)


def test_nothing_judged_gives_no_number() -> None:
    assert all(np.isnan(value) for value in values(measure_order_effects(judged(features=0))))
