"""Shards as Prefect tasks, and a stage as the body of a flow: what the four stage flows and `run_batch` share.

Prefect shows, schedules and retries; it never keeps results. What is done stands in the store, so a run that Prefect
lost, or that was killed, is simply started again. This module knows no stage by name and no SQL.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.context import FlowRunContext
from prefect.logging import get_run_logger
from prefect.states import Completed, Failed
from prefect.utilities.annotations import quote

from flows.overlapping import run_overlapping
from flows.pipeline import Outcome, Stage, run_stages
from flows.progress import Progress, terminal_progress
from flows.session import open_session
from flows.shards import Job, Result, run_serially
from flows.usage import Usage
from labeling.config import Config
from labeling.config_files import load_config, restore_config
from labeling.errors import FeatlasError, UsageError

ConfigSource = dict[str, Any] | str
"""Path of a config file, or a resolved config as JSON. Parameters of a run are stored by Prefect: no key may be in it."""

Error = TypeVar("Error", bound=BaseException)

PARTIAL = "Partial"
"""Name of the completed state of a run some of whose items failed; the same run started again tries those again."""


def run_as_tasks(
    work: Callable[[Job], Result],
    jobs: Sequence[Job],
    *,
    name: str,
    parallel: bool = False,  # noqa: ARG001
    overlap: int = 1,
) -> Iterator[tuple[Job, Result]]:
    """A ShardRunner: each job is a task run of the current flow run, one after the other unless they overlap.

    A shard that crashes is tried twice and does not keep the others from being done and recorded; its error is raised
    at the end. A FeatlasError would meet the other shards too and ends the run.
    """
    if FlowRunContext.get() is None:
        yield from run_serially(work, jobs, name=name)
        return

    def run(numbered: tuple[int, Job]) -> Any:
        position, job = numbered
        number = getattr(job, "shard", position)
        # quote: Prefect would walk through everything in the job in search of other tasks' results
        state: State[Any] = run_shard(work, quote(job), name=name, shard=number, return_state=True)
        result = state.result(raise_on_failure=False)
        if isinstance(result, FeatlasError):
            raise result  # here, so that the other shards end in peace
        return result

    crashed: list[BaseException] = []
    for (_, job), result in run_overlapping(run, list(enumerate(jobs)), at_once=overlap):
        if isinstance(result, BaseException):
            crashed.append(result)
        else:
            yield job, result
    if crashed:
        raise crashed[0]


def may_help(_task: object, _run: object, state: State[Any]) -> bool:
    """Whether trying a failed shard again may help: not against what a user has to mend."""
    return not isinstance(state.result(raise_on_failure=False), FeatlasError)


@task(
    name="shard",
    task_run_name="{name} shard {shard}",
    retries=1,
    retry_condition_fn=may_help,
    retry_delay_seconds=1,
    persist_result=False,
    cache_policy=NO_CACHE,
)
def run_shard(work: Callable[[Any], Any], job: Any, *, name: str, shard: int) -> Any:  # noqa: ARG001
    """Do one shard. What a user has to mend is a failed state rather than an error, so that no traceback is logged."""
    try:
        return work(job)
    except FeatlasError as error:
        return failed(error)


def run_stage(stage: Stage, config: ConfigSource, workspace: str, *, flow: str) -> State[Outcome]:
    """Run one stage on a workspace as the current flow run; the state says how it ended."""
    try:
        return ended(_run_stage(stage, config, workspace, flow))
    except FeatlasError as error:
        return failed(error)
    except KeyboardInterrupt as stop:
        raise without_frames(stop) from None


def _run_stage(stage: Stage, config: ConfigSource, workspace: str, flow: str) -> Outcome:
    resolved, progress = read_config(config), flow_progress()
    with open_session(Path(workspace), resolved, command=flow, progress=progress, runner=run_as_tasks) as session:
        return run_stages(session, (stage,))


def read_config(config: ConfigSource) -> Config:
    """The config a flow was given. A file meets FEATLAS_* variables; a resolved config is taken as it is.

    Raise UsageError for a config that cannot be right.
    """
    if isinstance(config, str):
        return load_config(Path(config), environment=os.environ, overrides={})
    features = config.get("features")
    sections = [*features, *(config[key] for key in config if key != "features")] if isinstance(features, list) else []
    if not sections or not all(isinstance(section, dict) for section in sections):
        raise UsageError(
            f"The parameter `config` has the keys {sorted(config)}, expected the path of a config file, or its sections as "
            "objects with `features` as a list of objects. The row of an earlier run in the table `runs` holds one."
        )
    return restore_config(json.dumps(config), environment={}, overrides={}, origin="the flow's parameter `config`")


def ended(outcome: Outcome) -> State[Outcome]:
    """The final state of a run that came to its end; items that failed are named in its message."""
    if not outcome.failures:
        return Completed(data=outcome)
    lost = ", ".join(f"{count} {reason}" for reason, count in sorted(outcome.failures.items()))
    return Completed(name=PARTIAL, message=f"Not complete: {lost}. Run it again to try these again.", data=outcome)


def failed(error: FeatlasError) -> State[Any]:
    """The final state after an error that a user can mend: its paragraph, and no traceback in the log."""
    return Failed(message=str(error), data=without_frames(error))


def without_frames(error: Error) -> Error:
    """The error alone. Prefect keeps errors to the end of the process, and their frames would keep the database open."""
    error.__cause__ = error.__context__ = None
    return error.with_traceback(None)


def join_outcomes(outcomes: Iterable[Outcome]) -> Outcome:
    """What several runs made together. The run id is the last one's; times and counts add up."""
    joined = Outcome("", None, {}, {}, Usage(), 0, 0)
    for outcome in outcomes:
        joined = Outcome(
            outcome.run_id or joined.run_id,
            outcome.report or joined.report,
            _sum(joined.seconds, outcome.seconds),
            _sum(joined.failures, outcome.failures),
            joined.usage + outcome.usage,
            joined.n_reused + outcome.n_reused,
            joined.n_sent_again + outcome.n_sent_again,
            joined.n_pending + outcome.n_pending,
            tuple(sorted({*joined.models, *outcome.models})),
        )
    return joined


def _sum(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    return first | {key: first.get(key, 0) + value for key, value in second.items()}


def flow_progress() -> Progress:
    """Progress as lines in the log of the flow run, where there is one."""
    if FlowRunContext.get() is None:
        return terminal_progress()
    return Progress(bar=False, write=get_run_logger().info)
