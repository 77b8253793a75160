"""Stage cluster: neighbors by decoder cosine, Leiden clusters named from their labels, and a 2-D map."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import polars as pl

from flows.session import Session
from flows.stages.sample import Sample
from flows.stages.sampler_files import load_directions
from labeling.cluster_names import name_clusters
from labeling.clusters import (
    Clustering,
    clustering_id,
    clusterings_frame,
    clusters_frame,
    find_clusters,
    members_frame,
    neighbor_graph,
)
from labeling.identity import identify
from labeling.map import map_frame, place_features
from labeling.neighbors import METHOD, nearest_neighbors
from labeling.types import JSON


def cluster_all(session: Session, samples: Sequence[Sample]) -> None:
    """Cluster every feature set whose decoder directions are known; others are named and skipped.

    Neighbors, clusters and map are made once; names are made again whenever there are other labels.
    """
    for sample in samples:
        directions = load_directions(session.workspace, sample.sample_id)
        if directions is None:
            session.progress.say(f"cluster {sample.feature_set.name}: no decoder directions are known; skipped")
            continue
        started = time.perf_counter()
        name, seed, settings = sample.feature_set.name, session.config.sample.seed, session.config.cluster
        parameters = {
            "fingerprint": sample.feature_set.fingerprint,
            "method": METHOD,
            "neighbors": settings.neighbors,
        }
        key = f"{name}." + identify("clusters", seed=seed, resolution=sorted(settings.resolution), **parameters)
        if session.store.shard_done("cluster", key, 0):
            _name_again(session, sample)
            continue
        session.store.forget_shards("cluster", f"{name}.", but=key, shards=[0])
        neighbors = nearest_neighbors(directions, count=settings.neighbors)
        session.store.remove("neighbors", "feature_set", [name])
        session.store.save("neighbors", neighbors.frame(name))
        graph = neighbor_graph(neighbors)
        found = [find_clusters(graph, resolution=resolution, seed=seed) for resolution in settings.resolution]
        session.store.save("clusterings", _only_default(session, name, found, parameters))
        for clustering in found:
            identity = clustering_id(name, clustering, parameters)
            session.store.save("cluster_members", members_frame(identity, clustering))
            _save_names(session, sample, clustering, identity)
        session.store.save("map_points", map_frame(name, place_features(neighbors, seed=seed)))
        seconds = time.perf_counter() - started
        session.store.finish_shard("cluster", key, 0, rows=len(directions), seconds=seconds)
        session.progress.advance(f"cluster {name}", done=len(directions), total=len(directions), unit="features")


def _only_default(
    session: Session, name: str, found: Sequence[Clustering], parameters: Mapping[str, JSON]
) -> pl.DataFrame:
    """The new clusterings, and earlier ones of the feature set without the default: people see one of them first."""
    earlier = session.store.read("clusterings", feature_set=name).with_columns(pl.lit(False).alias("is_default"))
    new = clusterings_frame(found, feature_set=name, parameters=parameters)
    kept = earlier.filter(~pl.col("clustering_id").is_in(new["clustering_id"].to_list()))
    return pl.concat([kept, new.select(kept.columns)], how="vertical_relaxed")


def _save_names(session: Session, sample: Sample, clustering: Clustering, identity: str) -> None:
    """Name clusters from the latest label of each member."""
    stored = session.store.read("explanations", sample_id=sample.sample_id, state="labeled").sort("created_at")
    labels = dict(stored.select("feature", "text").iter_rows())
    session.store.save("clusters", clusters_frame(identity, clustering, name_clusters(clustering.cluster, labels)))


def _name_again(session: Session, sample: Sample) -> None:
    stored = session.store.read("clusterings", feature_set=sample.feature_set.name)
    for row in stored.iter_rows(named=True):
        members = session.store.read("cluster_members", clustering_id=row["clustering_id"])
        cluster = pl.DataFrame({"feature": range(sample.feature_set.n_features)}, schema={"feature": pl.Int32}).join(
            members, on="feature", how="left"
        )["cluster"]
        clustering = Clustering(
            row["resolution"], row["seed"], row["modularity"], cluster.fill_null(-1).cast(pl.Int64).to_numpy()
        )
        _save_names(session, sample, clustering, row["clustering_id"])
