"""The flow `sample_contexts`: stage sample of a config on a workspace, a Prefect task a shard."""

from __future__ import annotations

from prefect import flow
from prefect.client.schemas.objects import State

from flows.pipeline import Outcome
from flows.prefect_tasks import ConfigSource, run_stage


@flow(name="sample_contexts", flow_run_name="sample_contexts", persist_result=False)
def sample_contexts(config: ConfigSource = "featlas.toml", workspace: str = "workspace") -> State[Outcome]:
    """Run the model over the corpus and choose contexts for every feature; what is complete is skipped."""
    return run_stage("sample", config, workspace, flow="sample_contexts")
