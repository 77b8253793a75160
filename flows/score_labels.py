"""The flow `score_labels`: stage score of a config on a workspace, a Prefect task a shard."""

from __future__ import annotations

from prefect import flow
from prefect.client.schemas.objects import State

from flows.pipeline import Outcome
from flows.prefect_tasks import ConfigSource, run_stage


@flow(name="score_labels", flow_run_name="score_labels", persist_result=False)
def score_labels(config: ConfigSource = "featlas.toml", workspace: str = "workspace") -> State[Outcome]:
    """Judge labels and their controls, and compute scores; what is complete is skipped."""
    return run_stage("score", config, workspace, flow="score_labels")
