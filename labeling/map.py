"""Neighbors in, a place in two dimensions for each feature out: a picture to look at, not to measure.

The layout is UMAP's (McInnes et al. 2018), run by igraph on the neighbor lists. Dead features have no place.
"""

from __future__ import annotations

import random

import numpy as np
import polars as pl

from labeling.neighbors import Neighbors
from labeling.types import FloatArray


def place_features(neighbors: Neighbors, *, seed: int, epochs: int = 100) -> FloatArray:
    """Places [n, 2], centered, the larger side from -1 to 1; NaN for dead features. The same seed, the same map.

    Not for use in two threads at once: igraph has one random generator for the whole process.
    """
    place = np.full((len(neighbors.alive), 2), np.nan, dtype=np.float32)
    if neighbors.alive.any():
        place[neighbors.alive] = _fit_to_square(_layout(neighbors, seed=seed, epochs=epochs))
    return place


def _layout(neighbors: Neighbors, *, seed: int, epochs: int) -> FloatArray:
    """Raw UMAP places [alive features, 2]."""
    import igraph

    feature, rank = np.nonzero(neighbors.neighbor >= 0)
    number = np.cumsum(neighbors.alive) - 1
    ends = np.column_stack((number[feature], number[neighbors.neighbor[feature, rank]]))
    distance = np.clip(1.0 - neighbors.similarity[feature, rank].astype(np.float64), 0.0, None)
    graph = igraph.Graph(n=int(neighbors.alive.sum()), edges=ends.tolist(), directed=True)
    start = np.random.default_rng(seed).uniform(-1.0, 1.0, (graph.vcount(), 2))
    if not len(ends):
        return start.astype(np.float32)
    weights = igraph.umap_compute_weights(graph, distance.tolist())
    # igraph draws from the module `random` unless told otherwise; it cannot say what it draws from, so it gets its
    # default back.
    igraph.set_random_number_generator(random.Random(seed))
    try:
        layout = graph.layout_umap(weights=weights, epochs=epochs, min_dist=0.1, seed=start.tolist())
    finally:
        igraph.set_random_number_generator(random)
    return np.array(layout.coords, dtype=np.float32)


def _fit_to_square(place: FloatArray) -> FloatArray:
    low, high = place.min(axis=0), place.max(axis=0)
    half = np.float32((high - low).max() / 2) or np.float32(1.0)
    fitted: FloatArray = (place - (low + high) / 2) / half
    return fitted


def map_frame(feature_set: str, place: FloatArray) -> pl.DataFrame:
    """Rows of the table `map_points`, for features that have a place."""
    feature = np.flatnonzero(np.isfinite(place).all(axis=1))
    return pl.DataFrame(
        {
            "feature_set": pl.repeat(feature_set, len(feature), eager=True, dtype=pl.String),
            "feature": feature.astype(np.int32),
            "x": place[feature, 0].astype(np.float64),
            "y": place[feature, 1].astype(np.float64),
        }
    )
