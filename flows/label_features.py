"""The flow `label_features`: stage label of a config on a workspace, a Prefect task a shard."""

from __future__ import annotations

from prefect import flow
from prefect.client.schemas.objects import State

from flows.pipeline import Outcome
from flows.prefect_tasks import ConfigSource, run_stage


@flow(name="label_features", flow_run_name="label_features", persist_result=False)
def label_features(config: ConfigSource = "featlas.toml", workspace: str = "workspace") -> State[Outcome]:
    """Write a label for every feature worth labeling; what is complete is skipped."""
    return run_stage("label", config, workspace, flow="label_features")
