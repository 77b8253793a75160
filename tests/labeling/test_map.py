"""The map: neighbors stand together, the same seed draws the same map, dead features have no place."""

import random

import numpy as np
import pytest

from labeling.map import map_frame, place_features
from labeling.neighbors import nearest_neighbors
from tests.labeling.test_clusters import planted


def test_features_of_one_group_stand_together() -> None:
    directions, group = planted([25, 20, 19])
    place = place_features(nearest_neighbors(directions), seed=0)
    away = np.linalg.norm(place[:, None] - place[None], axis=-1)
    np.fill_diagonal(away, np.inf)
    assert (group[away.argmin(axis=1)] == group).all()


def test_map_is_centered_and_fills_the_square() -> None:
    place = place_features(nearest_neighbors(planted([40, 30])[0]), seed=0)
    assert np.abs(place).max() == pytest.approx(1.0)
    assert place.max(axis=0) == pytest.approx(-place.min(axis=0), abs=1e-6)


def test_the_same_seed_draws_the_same_map_and_another_seed_another() -> None:
    neighbors = nearest_neighbors(planted([20, 20])[0])
    first, again, other = (place_features(neighbors, seed=seed) for seed in (1, 1, 2))
    assert (first == again).all()
    assert (first != other).any()


def test_the_global_random_generator_is_neither_read_nor_moved() -> None:
    neighbors = nearest_neighbors(planted([20, 20])[0])
    first = place_features(neighbors, seed=1)
    random.seed(123)
    before = random.getstate()
    assert (place_features(neighbors, seed=1) == first).all()
    assert random.getstate() == before


def test_igraph_draws_from_the_default_generator_again_afterwards() -> None:
    import igraph

    place_features(nearest_neighbors(planted([20, 20])[0]), seed=1)
    graphs = []
    for _ in range(2):
        random.seed(5)
        graphs.append(igraph.Graph.Erdos_Renyi(n=30, m=40).get_edgelist())
    assert graphs[0] == graphs[1]


def test_dead_features_have_no_place() -> None:
    directions, _ = planted([12, 8])
    directions[3] = 0
    place = place_features(nearest_neighbors(directions), seed=0)
    assert np.flatnonzero(np.isnan(place).any(axis=1)).tolist() == [3]
    frame = map_frame("set", place)
    assert frame["feature"].to_list() == [f for f in range(20) if f != 3]
    assert frame.columns == ["feature_set", "feature", "x", "y"]


@pytest.mark.parametrize("directions", [np.zeros((3, 4)), np.eye(1), np.eye(2), np.ones((12, 4)), -np.eye(5)])
def test_odd_dictionaries_still_have_a_finite_map(directions: np.ndarray) -> None:
    neighbors = nearest_neighbors(directions.astype(np.float32))
    place = place_features(neighbors, seed=0)
    assert np.isfinite(place[neighbors.alive]).all()
    assert np.isnan(place[~neighbors.alive]).all()
