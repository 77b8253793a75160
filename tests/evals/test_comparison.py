"""Two ways of labeling, compared on the same features or on different ones."""

import numpy as np
import pytest
from scipy.stats import mannwhitneyu

from evals.comparison import DRAWS, Difference, compare_paired, compare_unpaired, holm
from evals.items import Float


def paired(a: list[float] | Float, b: list[float] | Float) -> Difference:
    return compare_paired(np.asarray(a, float), np.asarray(b, float), generator=np.random.default_rng(0))


def unpaired(a: list[float] | Float, b: list[float] | Float) -> Difference:
    return compare_unpaired(np.asarray(a, float), np.asarray(b, float), generator=np.random.default_rng(0))


def test_sign_flips_of_a_few_features_are_all_tried() -> None:
    found = paired([0.6, 0.7, 0.8, 0.5], [0.5, 0.5, 0.5, 0.4])
    assert found.difference == pytest.approx(0.175)
    assert found.p == 2 / 16  # only no flip and all flips are as far from 0
    assert paired([0.5, 0.7], [0.7, 0.5]).p == 1.0


def test_ties_are_half_a_win() -> None:
    assert paired([0.6, 0.5, 0.5, 0.4], [0.5, 0.5, 0.5, 0.5]).win_rate == 0.5
    assert unpaired([0.5, 0.6], [0.5, 0.4]).win_rate == (0.5 + 1 + 1 + 1) / 4


def test_the_features_needed_follow_the_formula() -> None:
    found = Difference(
        paired=True, n_a=9, n_b=9, mean_a=0, mean_b=0, difference=0, low=0, high=0, p=1, win_rate=0.5, deviation=0.12
    )
    assert found.features_needed(0.02) == 283  # METHODS: 282.24, and a feature is whole


def test_equal_scores_have_an_interval_of_a_width_and_no_significance() -> None:
    found = paired([0.5] * 5, [0.5] * 5)
    assert (found.difference, found.p, found.win_rate) == (0.0, 1.0, 0.5)
    assert found.low < 0 < found.high


def test_pairing_finds_what_the_spread_of_features_hides() -> None:
    generator = np.random.default_rng(0)
    feature = generator.normal(0.7, 0.15, 60)
    a, b = feature + 0.03 + generator.normal(0, 0.03, 60), feature + generator.normal(0, 0.03, 60)
    assert paired(a, b).p < 0.001
    assert paired(a, b).low > 0
    assert unpaired(a, b).p > 0.1


def test_the_interval_covers_the_true_difference_nineteen_times_in_twenty() -> None:
    generator, hits = np.random.default_rng(0), 0
    for _ in range(100):
        d = generator.normal(0.02, 0.1, 30)
        found = compare_paired(d, np.zeros(30), generator=generator)
        hits += found.low <= 0.02 <= found.high
    assert hits >= 90


def test_p_is_rarely_small_when_there_is_no_difference() -> None:
    generator = np.random.default_rng(1)
    p = [compare_paired(generator.normal(0, 1, 10), np.zeros(10), generator=generator).p for _ in range(150)]
    assert np.mean(np.array(p) <= 0.05) <= 0.08


def test_two_samples_are_compared_by_their_means_and_all_their_pairs() -> None:
    generator = np.random.default_rng(0)
    a, b = generator.normal(0.7, 0.1, 80), generator.normal(0.6, 0.1, 50)
    found = unpaired(a, b)
    assert found.difference == pytest.approx(a.mean() - b.mean())
    assert found.win_rate == pytest.approx(mannwhitneyu(a, b).statistic / (80 * 50))
    assert found.p == pytest.approx(1 / (DRAWS + 1))
    assert found.low < found.difference < found.high


def test_holm_steps_down_and_never_falls() -> None:
    assert holm([0.01, 0.04, 0.03, 0.5]) == pytest.approx([0.04, 0.09, 0.09, 0.5])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


@pytest.mark.parametrize(("a", "b"), [([0.5], [0.5]), ([0.5, np.nan], [0.5, 0.5]), ([0.5, 0.6], [0.5])])
def test_what_cannot_be_compared_is_an_error(a: list[float], b: list[float]) -> None:
    with pytest.raises(ValueError, match=r"compar|paired|at least|left out"):
        paired(a, b)


def test_many_features_are_compared_at_once_with_what_drawing_would_find(monkeypatch: pytest.MonkeyPatch) -> None:
    d = np.random.default_rng(3).normal(0.0025, 0.1, 4_000)
    drawn = paired(d, np.zeros(4_000))
    monkeypatch.setattr("evals.comparison.MANY_FEATURES", 4_000)
    found = paired(d, np.zeros(4_000))
    assert (found.low, found.high) == pytest.approx((drawn.low, drawn.high), abs=2e-4)
    assert found.p == pytest.approx(drawn.p, abs=0.02)
    assert unpaired(d + 1, np.zeros(4_000)).p == pytest.approx(1 / (DRAWS + 1))
