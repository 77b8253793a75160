"""The flow `run_batch`: all stages, each as a flow of its own, and then the report. This is what is scheduled."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from prefect import Flow, flow, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State

from flows.budgets import open_budget
from flows.cluster_features import cluster_features
from flows.label_features import label_features
from flows.pipeline import STAGES, Outcome, Stage
from flows.prefect_tasks import ConfigSource, ended, failed, join_outcomes, read_config
from flows.sample_contexts import sample_contexts
from flows.score_labels import score_labels
from flows.usage import Usage
from labeling.errors import FeatlasError
from labeling.workspace import Workspace

STAGE_FLOWS: dict[Stage, Flow[..., State[Outcome]]] = {
    "sample": sample_contexts,
    "label": label_features,
    "score": score_labels,
    "cluster": cluster_features,
}


@flow(name="run_batch", persist_result=False)
def run_batch(
    config: ConfigSource = "featlas.toml", workspace: str = "workspace", stages: Sequence[Stage] = STAGES
) -> State[Outcome]:
    """Run the stages in their order; paths are relative to the folder the flow runs in."""
    outcomes: list[Outcome] = []
    try:
        with open_budget(Path(workspace), read_config(config).llm):  # one for all stages
            for stage, stage_flow in STAGE_FLOWS.items():
                if stage == "score" and any(outcome.n_pending for outcome in outcomes):
                    continue  # controls rest on all labels, and some are still in batches
                if stage in stages:
                    ended_as: State[Any] = stage_flow(config, workspace, return_state=True)
                    outcomes.append(ended_as.result())
        if "report" in stages:
            outcomes.append(write_report_page(workspace))
    except FeatlasError as error:
        return failed(error)
    return ended(join_outcomes(outcomes))


@task(name="report", task_run_name="write report", persist_result=False, cache_policy=NO_CACHE)
def write_report_page(workspace: str) -> Outcome:
    """Write the report from the published snapshot."""
    from dashboards.report import write_report

    started = time.perf_counter()
    place = Workspace(Path(workspace))
    page = write_report(place, place.reports)
    return Outcome("", page, {"report": time.perf_counter() - started}, {}, Usage(), 0, 0)
