"""Nearest features: exact, without self and dead features, ties by number, whatever the blocks."""

import numpy as np
import pytest

from labeling.errors import FeatlasError
from labeling.neighbors import nearest_neighbors, nearest_of, random_pair_floor, unit_directions
from labeling.types import FloatArray


def random_directions(n: int, d: int = 16, seed: int = 0) -> FloatArray:
    return np.random.default_rng(seed).standard_normal((n, d)).astype(np.float32)


def test_neighbors_of_four_directions_are_the_ones_computed_by_hand() -> None:
    found = nearest_neighbors(np.array([[1, 0], [3, 4], [0, 2], [-1, 0]], dtype=np.float32), count=2)
    assert found.neighbor.tolist() == [[1, 2], [2, 0], [1, 0], [2, 1]]
    assert found.similarity == pytest.approx(np.array([[0.6, 0], [0.8, 0.6], [0.8, 0], [0, -0.6]]), abs=1e-7)


def test_neighbors_equal_a_full_sort_in_double_precision() -> None:
    directions = random_directions(200)
    unit = directions.astype(np.float64) / np.linalg.norm(directions.astype(np.float64), axis=1, keepdims=True)
    cosine = unit @ unit.T
    np.fill_diagonal(cosine, -2)
    assert (nearest_neighbors(directions, count=10).neighbor == np.argsort(-cosine, axis=1)[:, :10]).all()


def test_a_duplicate_direction_is_a_neighbor_and_the_feature_itself_is_not() -> None:
    directions = random_directions(6)
    directions[4] = 2 * directions[1]
    found = nearest_neighbors(directions, count=5)
    assert (found.neighbor[4, 0], found.neighbor[1, 0]) == (1, 4)
    assert not (found.neighbor == np.arange(6)[:, None]).any()


def test_more_equal_directions_than_neighbors_are_listed_in_order_of_their_number() -> None:
    directions = np.repeat(random_directions(2, d=97), 30, axis=0)
    for scratch_mib in (0.0, 0.01, 256):
        found = nearest_neighbors(directions, count=3, scratch_mib=scratch_mib)
        assert found.neighbor[0].tolist() == [1, 2, 3]
        assert found.neighbor[29].tolist() == [0, 1, 2]
        assert found.neighbor[59].tolist() == [30, 31, 32]


def test_block_size_changes_nothing() -> None:
    directions = random_directions(150, d=33)
    whole = nearest_neighbors(directions, count=7)
    for scratch_mib in (0.0, 0.02, 0.1):
        blocked = nearest_neighbors(directions, count=7, scratch_mib=scratch_mib)
        assert (blocked.neighbor == whole.neighbor).all()
        assert (blocked.similarity == whole.similarity).all()


def test_dead_features_have_no_neighbors_and_are_nobodys() -> None:
    directions = random_directions(8)
    directions[[0, 5]] = 0
    found = nearest_neighbors(directions, count=7)
    assert found.alive.tolist() == [False, True, True, True, True, False, True, True]
    assert (found.neighbor[[0, 5]] == -1).all()
    assert not np.isin(found.neighbor, [0, 5]).any()
    assert np.isnan(found.similarity[1, 5:]).all()


@pytest.mark.parametrize("directions", [np.zeros((0, 4)), np.zeros((3, 4)), np.ones((1, 4))])
def test_features_without_a_pair_have_no_neighbors(directions: FloatArray) -> None:
    found = nearest_neighbors(directions.astype(np.float32), count=3)
    assert found.frame("set").is_empty()
    assert random_pair_floor(directions.astype(np.float32), generator=np.random.default_rng(0)) is None


def test_a_direction_that_is_not_a_number_is_named() -> None:
    directions = random_directions(5)
    directions[3, 2] = np.nan
    with pytest.raises(FeatlasError, match="feature 3"):
        nearest_neighbors(directions)


def test_table_lists_ranks_from_zero_and_leaves_out_missing_neighbors() -> None:
    directions = np.array([[1, 0], [1, 1], [0, 0]], dtype=np.float32)
    rows = nearest_neighbors(directions, count=2).frame("set").rows()
    assert [row[:5] for row in rows] == [("set", "decoder_cosine", 0, 0, 1), ("set", "decoder_cosine", 1, 0, 0)]
    assert rows[0][5] == pytest.approx(0.5**0.5)


def test_floor_is_the_99th_percentile_of_random_pairs() -> None:
    directions = random_directions(300, d=100)
    floor = random_pair_floor(directions, generator=np.random.default_rng(1))
    assert floor == pytest.approx(0.2304, abs=0.01)  # cosines of random directions: nearly normal, deviation 0.1


def test_floor_never_pairs_a_feature_with_itself() -> None:
    opposite = np.array([[1, 0], [0, 0], [-1, 0]], dtype=np.float32)
    assert random_pair_floor(opposite, generator=np.random.default_rng(0)) == -1


@pytest.mark.parametrize("scratch_mib", [256, 0.01])
def test_neighbors_of_some_features_alone_are_those_among_all(scratch_mib: float) -> None:
    directions = np.random.default_rng(6).standard_normal((90, 7)).astype(np.float32)
    directions[40] = 0
    whole = nearest_neighbors(directions, count=4)
    for features in (np.array([3, 40, 41, 89]), np.array([70, 2]), np.zeros(0, np.int64)):
        neighbor, similarity = nearest_of(features, *unit_directions(directions), count=4, scratch_mib=scratch_mib)
        assert (neighbor == whole.neighbor[features]).all()
        assert np.array_equal(similarity, whole.similarity[features], equal_nan=True)
