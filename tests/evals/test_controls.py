"""Controls: whose label a feature gets, and p-values against the pooled null."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evals.controls import (
    LABEL_CONTROLS,
    Assignment,
    LabelControl,
    assign_controls,
    benjamini_hochberg,
    density_terciles,
    permute_grades,
    pooled_p_values,
)
from evals.metrics import score_features
from labeling.types import STRATA
from tests.evals.judged import feature, rates, sampled, yes_no


def assigned(n: int = 60, *, limit: int = 20, seed: int = 0, k: int = 3) -> dict[LabelControl, Assignment]:
    feature = np.arange(n) * 10
    neighbors = np.stack([(feature + 10 * (i + 1)) % (10 * n) for i in range(k)], axis=1)
    return assign_controls(
        feature,
        firing_rate=np.linspace(0.001, 0.04, n),
        neighbors=neighbors,
        labeled=np.ones(n, bool),
        limit=limit,
        generator=np.random.default_rng(seed),
    )


def test_every_control_has_the_same_features_and_the_same_seed_gives_the_same_assignment() -> None:
    first, again = assigned(), assigned()
    assert tuple(first) == LABEL_CONTROLS
    for control, assignment in first.items():
        assert assignment.feature.tolist() == first["shuffled"].feature.tolist() == again[control].feature.tolist()
        assert len(assignment.feature) == 20
    assert first["shuffled"].source is not None
    assert again["shuffled"].source is not None
    assert first["shuffled"].source.tolist() == again["shuffled"].source.tolist()


@settings(max_examples=30, deadline=None)
@given(n=st.integers(2, 40), seed=st.integers(0, 1000))
def test_shuffled_labels_are_a_derangement_within_density_terciles(n: int, seed: int) -> None:
    shuffled = assigned(n, limit=n, seed=seed)["shuffled"]
    assert shuffled.source is not None
    assert sorted(shuffled.source) == sorted(shuffled.feature)
    assert (shuffled.source != shuffled.feature).all()
    if n >= 6:
        tercile = density_terciles(np.linspace(0.001, 0.04, n))
        assert (tercile[shuffled.source // 10] == tercile[shuffled.feature // 10]).all()


def test_a_single_labeled_feature_has_no_shuffled_label_but_a_generic_one() -> None:
    found = assigned(1)
    assert len(found["shuffled"].feature) == len(found["other_feature"].feature) == 0
    assert found["generic"].feature.tolist() == [0]


def test_other_feature_is_the_nearest_in_density_that_is_no_decoder_neighbor() -> None:
    found = assign_controls(
        np.array([1, 2, 3, 4]),
        firing_rate=np.array([0.010, 0.011, 0.012, 0.030]),
        neighbors=np.array([[2, -1], [1, -1], [1, -1], [1, -1]]),
        labeled=np.ones(4, bool),
        limit=4,
        generator=np.random.default_rng(0),
    )["other_feature"]
    assert found.source is not None
    assert dict(zip(found.feature.tolist(), found.source.tolist(), strict=True)) == {1: 3, 2: 3, 3: 2, 4: 3}


def test_neighbor_is_the_nearest_decoder_neighbor_that_has_a_label() -> None:
    found = assign_controls(
        np.array([1, 2, 3]),
        firing_rate=np.array([0.01, 0.02, 0.03]),
        neighbors=np.array([[2, 3], [1, 3], [2, -1]]),
        labeled=np.array([True, False, True]),
        limit=9,
        generator=np.random.default_rng(0),
    )["neighbor"]
    assert (found.feature.tolist(), None if found.source is None else found.source.tolist()) == ([1], [3])


def test_fixed_controls_name_their_label() -> None:
    found = assigned()
    assert found["generic"].label is not None
    assert found["generic"].label.text == "any text"
    assert found["over_broad"].label is not None
    assert found["over_broad"].label.text == "any English text"
    assert found["no_label"].label is None
    assert found["no_label"].source is None


def test_p_values_count_the_null_of_the_own_tercile_that_is_at_least_as_high() -> None:
    p = pooled_p_values(
        np.array([0.7, 0.5, np.nan, 0.7]),
        np.array([0, 0, 0, 1]),
        np.array([0.4, 0.5, 0.6, np.nan, 0.9]),
        np.array([0, 0, 0, 0, 1]),
    )
    np.testing.assert_allclose(p, [1 / 4, 3 / 4, np.nan, 1.0])


def test_q_values_are_those_of_benjamini_and_hochberg_and_skip_what_is_unscored() -> None:
    q = benjamini_hochberg(np.array([0.01, np.nan, 0.04, 0.03]))
    np.testing.assert_allclose(q, [0.03, np.nan, 0.04, 0.04])
    assert np.isnan(benjamini_hochberg(np.array([np.nan]))).all()


def test_shuffled_labels_are_rarely_significant_and_good_ones_mostly() -> None:
    generator = np.random.default_rng(0)
    null, tercile = generator.normal(0.5, 0.05, 3000), np.repeat([0, 1, 2], 1000)
    scores = np.concatenate([generator.normal(0.5, 0.05, 150), generator.normal(0.85, 0.05, 150)])
    q = benjamini_hochberg(pooled_p_values(scores, np.tile([0, 1, 2], 100), null, tercile))
    assert (q[:150] < 0.05).mean() <= 0.05
    assert (q[150:] < 0.05).mean() >= 0.9


@pytest.mark.parametrize("n", [0, 1, 2, 7])
def test_terciles_are_equal_thirds(n: int) -> None:
    counts = np.bincount(density_terciles(np.arange(n, dtype=float)), minlength=3)
    assert counts.max() - counts.min() <= 1


def test_permuted_grades_are_the_same_grades_in_other_places_and_score_chance() -> None:
    items = sampled(yes_no(rates(0.95, 0.05, 0.02)), n_features=300, generator=np.random.default_rng(0))
    dealt = permute_grades(items, np.random.default_rng(1))
    assert (np.sort(dealt.probability, axis=1) == np.sort(items.probability, axis=1)).all()
    table = score_features(dealt, generator=np.random.default_rng(0), intervals=False)
    for metric in ("balanced_hard", "balanced_random", "auroc_hard", "auroc_random"):
        assert table.value[table.row(metric)].mean() == pytest.approx(0.5, abs=0.02)


def test_permuting_leaves_padding_and_the_strongest_windows_where_they_are() -> None:
    one = feature(
        [("top", 0.9, 6.0), ("q1", 0.1, 1.0), ("random", np.nan, 0.0), ("random", 0.3, 0.0)],
        {"top": 5, "q1": 9, "random": 99},
    )
    seen = set()
    for seed in range(80):
        dealt = permute_grades(one, np.random.default_rng(seed))
        assert dealt.probability[0, dealt.stratum[0] == STRATA.index("top")].tolist() == [0.9]
        seen.add(tuple(np.nan_to_num(dealt.probability[0, 1:], nan=-1.0).tolist()))
    assert {tuple(sorted(row)) for row in seen} == {(-1.0, 0.1, 0.3)}
    assert len(seen) == 6
