"""p- and q-values against the pooled scores of wrong labels."""

import numpy as np
import pytest

from evals.controls import density_terciles
from evals.items import Float
from evals.metrics import score_features
from evals.significance import MIN_NULL, NULL_DRAWS, against_null, null_pairs
from tests.evals.judged import rates, sampled, yes_no


def test_each_third_by_firing_rate_has_a_null_of_its_own_when_it_is_large_enough() -> None:
    null = np.concatenate([np.full(MIN_NULL, 0.2), np.full(MIN_NULL, 0.8)])
    group = np.repeat([0, 1], MIN_NULL)
    found = against_null(np.array([0.5, 0.5]), np.array([0, 1]), null, group)
    assert found.p == pytest.approx([1 / (MIN_NULL + 1), 1.0])
    assert found.null_95 == pytest.approx([0.2, 0.8])
    assert (found.n_null.tolist(), found.pooled.tolist()) == ([MIN_NULL, MIN_NULL], [False, False])


def test_small_nulls_are_taken_together_and_the_count_says_so() -> None:
    found = against_null(np.array([0.9]), np.array([2]), np.array([0.1, 0.2, np.nan, 0.95]), np.array([0, 1, 1, 2]))
    assert found.p == pytest.approx([2 / 4])
    assert (found.n_null.tolist(), found.pooled.tolist()) == ([3], [True])


def test_without_a_null_there_is_no_p_and_an_unscored_feature_has_none_either() -> None:
    nothing = against_null(np.array([0.9]), np.array([0]), np.zeros(0), np.zeros(0, np.int64))
    assert np.isnan([nothing.p, nothing.q, nothing.null_95]).all()
    assert not nothing.significant.any()
    assert not nothing.above_null.any()
    unscored = against_null(np.array([np.nan, 0.9]), np.array([0, 0]), np.full(99, 0.5), np.zeros(99, np.int64))
    assert np.isnan(unscored.p).tolist() == [True, False]
    assert unscored.q[1] == unscored.p[1]  # what is unscored is no test


def test_a_score_equal_to_null_scores_counts_them_all() -> None:
    found = against_null(np.array([0.5]), np.array([0]), np.full(99, 0.5), np.zeros(99, np.int64))
    assert found.p.tolist() == [1.0]


def test_pairs_of_a_null_stay_within_their_third_differ_and_are_drawn_once() -> None:
    tercile = density_terciles(np.arange(150, dtype=float))
    feature, source = null_pairs(tercile, draws=NULL_DRAWS, generator=np.random.default_rng(0))
    assert (feature != source).all()
    assert (tercile[feature] == tercile[source]).all()
    assert np.bincount(tercile[feature]).tolist() == [NULL_DRAWS] * 3
    assert len(set(zip(feature.tolist(), source.tolist(), strict=True))) == len(feature)


@pytest.mark.parametrize("n", [0, 1, 2, 3, 9])
def test_few_features_give_all_pairs_there_are(n: int) -> None:
    tercile = density_terciles(np.arange(n, dtype=float))
    feature, _ = null_pairs(tercile, draws=50, generator=np.random.default_rng(0))
    sizes = np.bincount(tercile, minlength=3) if n else np.zeros(3, int)
    assert len(feature) == (sizes * (sizes - 1)).sum()


def test_the_same_seed_draws_the_same_pairs_also_of_very_many_features() -> None:
    tercile = density_terciles(np.arange(30_000, dtype=float))
    first, again = (null_pairs(tercile, draws=1000, generator=np.random.default_rng(3)) for _ in range(2))
    assert [x.tolist() for x in first] == [x.tolist() for x in again]
    assert np.bincount(tercile[first[0]]).tolist() == [1000] * 3


def headlines(firing: float, silent: float, n: int, seed: int) -> Float:
    """Headlines of labels whose judge says yes so often."""
    items = sampled(yes_no(rates(firing, silent, silent)), n_features=n, generator=np.random.default_rng(seed))
    table = score_features(items, generator=np.random.default_rng(0), intervals=False, tau_shares=(0.01,))
    values: Float = table.value[table.row("headline")]
    return values


def test_true_labels_of_a_good_judge_are_significant_and_wrong_ones_are_not() -> None:
    """The control test needs power as well: at TPR .92 / FPR .02, nine in ten true labels must reach q < .05."""
    tercile = np.arange(300) % 3
    null, null_tercile = headlines(0.05, 0.05, 1200, seed=1), np.arange(1200) % 3
    true = against_null(headlines(0.92, 0.02, 300, seed=2), tercile, null, null_tercile)
    wrong = against_null(headlines(0.05, 0.05, 300, seed=3), tercile, null, null_tercile)
    assert true.significant.mean() >= 0.9
    assert wrong.significant.mean() <= 0.05
    assert 0.01 <= wrong.above_null.mean() <= 0.09
