"""Clusters: planted groups are found, numbered by size, the same every time; every alive feature is in one."""

import json

import numpy as np
import pytest

from labeling.cluster_names import ClusterName
from labeling.clusters import (
    by_size,
    clustering_id,
    clusterings_frame,
    clusters_frame,
    default_resolution,
    find_clusters,
    members_frame,
    neighbor_graph,
)
from labeling.neighbors import Neighbors, nearest_neighbors
from labeling.types import FloatArray, IntArray


def planted(sizes: list[int], *, noise: float = 1.0, d: int = 64, seed: int = 0) -> tuple[FloatArray, IntArray]:
    """Directions in groups of the given sizes, shuffled, and each one's group."""
    generator = np.random.default_rng(seed)
    group = generator.permutation(np.repeat(np.arange(len(sizes)), sizes))
    centers = generator.standard_normal((len(sizes), d))
    directions = centers[group] + noise * generator.standard_normal((len(group), d))
    return directions.astype(np.float32), group


def lists(neighbor: list[list[int]], similarity: list[list[float]]) -> Neighbors:
    alive = np.array([row[0] >= 0 for row in neighbor])
    return Neighbors(np.array(neighbor), np.array(similarity, dtype=np.float32), alive)


@pytest.mark.parametrize("sizes", [[28, 20, 16], [90, 70, 60, 50, 40, 30, 20]])
def test_planted_groups_are_found_and_numbered_by_size(sizes: list[int]) -> None:
    directions, group = planted(sizes)
    found = find_clusters(neighbor_graph(nearest_neighbors(directions)), resolution=1.0, seed=0)
    assert (found.cluster == group).all()
    assert found.sizes.tolist() == sizes


def test_higher_resolution_gives_more_clusters() -> None:
    directions, _ = planted([60] * 6, noise=2.5)
    graph = neighbor_graph(nearest_neighbors(directions))
    counts = [len(find_clusters(graph, resolution=r, seed=0).sizes) for r in (0.1, 1.0, 4.0)]
    assert counts[0] < counts[1] < counts[2]


def test_the_same_seed_gives_the_same_clusters_and_another_seed_may_not() -> None:
    graph = neighbor_graph(nearest_neighbors(planted([300], noise=9.0)[0]))  # no groups: many cuts are equally good
    first, again, other = (find_clusters(graph, resolution=2.0, seed=seed) for seed in (3, 3, 4))
    assert (first.cluster == again.cluster).all()
    assert first.modularity == again.modularity
    assert (first.cluster != other.cluster).any()


def test_neighbors_of_each_other_are_joined_and_each_feature_with_its_nearest() -> None:
    neighbors = lists([[1, 2], [0, 2], [1, 0], [0, 1]], [[0.9, 0.5], [0.9, 0.8], [0.8, 0.5], [0.4, 0.3]])
    graph = neighbor_graph(neighbors, always=1)  # 0, 1 and 2 know each other; nobody answers 3
    assert list(zip(graph.source, graph.target, strict=True)) == [(0, 1), (0, 2), (0, 3), (1, 2)]
    assert graph.weight == pytest.approx([0.9, 0.5, 0.4, 0.8])


def test_opposite_directions_are_not_joined() -> None:
    graph = neighbor_graph(lists([[1], [0], [0]], [[-0.2], [-0.2], [0.0]]))
    found = find_clusters(graph, resolution=1.0, seed=0)
    assert found.cluster.tolist() == [0, 1, 2]
    assert found.modularity is None


def test_modularity_is_the_one_computed_by_hand() -> None:
    graph = neighbor_graph(lists([[1], [0], [3], [2]], [[0.5], [0.5], [0.5], [0.5]]))
    found = find_clusters(graph, resolution=1.0, seed=0)
    assert found.cluster.tolist() == [0, 0, 1, 1]
    assert found.modularity == pytest.approx(0.5)  # two pairs: 1 - 2 * (1/2)^2


def test_dead_features_are_in_no_cluster() -> None:
    directions, _ = planted([20, 12])
    directions[[0, 7]] = 0
    found = find_clusters(neighbor_graph(nearest_neighbors(directions)), resolution=1.0, seed=0)
    assert np.flatnonzero(found.cluster < 0).tolist() == [0, 7]
    assert found.sizes.sum() == 30
    assert members_frame("id", found).height == 30


def test_a_dictionary_of_dead_features_has_no_clusters() -> None:
    graph = neighbor_graph(nearest_neighbors(np.zeros((5, 4), dtype=np.float32)))
    found = find_clusters(graph, resolution=1.0, seed=0)
    assert (found.cluster == -1).all()
    assert len(found.sizes) == 0
    assert clusters_frame("id", found, []).is_empty()


def test_groups_of_equal_size_are_numbered_by_their_first_member() -> None:
    assert by_size(np.array([7, 2, 2, 7, 5, 5, 5, 9])).tolist() == [1, 2, 2, 1, 0, 0, 0, 3]


def test_the_default_resolution_is_the_one_nearest_to_one() -> None:
    assert default_resolution([0.5, 1.0, 2.0]) == 1.0
    assert default_resolution([2.0, 0.5]) == 0.5
    assert default_resolution([4.0]) == 4.0


def test_tables_belong_together_by_clustering_id() -> None:
    graph = neighbor_graph(nearest_neighbors(planted([9, 6])[0], count=4))
    found = [find_clusters(graph, resolution=r, seed=0) for r in (0.5, 1.0)]
    parameters = {"neighbors": 4, "directions": "0123"}
    table = clusterings_frame(found, feature_set="set", parameters=parameters)
    assert table["clustering_id"].to_list() == [clustering_id("set", c, parameters) for c in found]
    assert table["is_default"].to_list() == [False, True]
    assert json.loads(table["parameters"][0]) == parameters
    names = [ClusterName("a / b", "distinctive_words"), ClusterName(None, "too_few_labels")]
    assert clusters_frame("id", found[1], names).rows() == [
        ("id", 0, "a / b", "distinctive_words", 9),
        ("id", 1, None, "too_few_labels", 6),
    ]


def test_another_fingerprint_of_the_directions_is_another_clustering() -> None:
    found = find_clusters(neighbor_graph(lists([[1], [0]], [[0.5], [0.5]])), resolution=1.0, seed=0)
    assert clustering_id("set", found, {"directions": "a"}) != clustering_id("set", found, {"directions": "b"})
