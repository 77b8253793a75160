"""The flow `cluster_features`: stage cluster of a config on a workspace, a Prefect task a shard."""

from __future__ import annotations

from prefect import flow
from prefect.client.schemas.objects import State

from flows.pipeline import Outcome
from flows.prefect_tasks import ConfigSource, run_stage


@flow(name="cluster_features", flow_run_name="cluster_features", persist_result=False)
def cluster_features(config: ConfigSource = "featlas.toml", workspace: str = "workspace") -> State[Outcome]:
    """Find neighbors and clusters, name them, and draw the map; what is complete is skipped."""
    return run_stage("cluster", config, workspace, flow="cluster_features")
