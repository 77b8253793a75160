"""Commands that run stages: `demo`, `run`, `sample`, `score`, `cluster`."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

import click

from flows.commands.options import (
    config_option,
    dry_run_option,
    find_config,
    json_option,
    override_options,
    prefect_option,
    use_prefect,
    workspace_option,
)
from flows.pipeline import STAGES, Stage
from labeling.config import Config
from labeling.config_files import demo_config

LLM_EXPLAINER, LLM_SCORER = "top_and_random", "detection"
LLM_DEMO_FEATURES = "0-19"
"""Features that the demo labels when they cost money and the user names none."""


def run_and_summarize(
    config: Config,
    workspace: Path,
    stages: Sequence[Stage],
    *,
    command: str,
    as_json: bool,
    prefect: bool | None,
    dry_run: bool = False,
) -> None:
    """Run stages, print what came out, and exit with 3 when some items failed. A dry run prints what it would cost."""
    if dry_run:
        from flows.commands.dry_run import estimate_run

        estimated = estimate_run(config, workspace, stages)
        click.echo(json.dumps(estimated.as_json(), indent=2) if as_json else estimated.as_text())
        return
    from flows.summary import summarize

    if use_prefect(prefect):
        from flows.run_through_prefect import run_flow

        outcome = run_flow(config, workspace, stages)
    else:
        from flows.pipeline import run_stages
        from flows.progress import terminal_progress
        from flows.session import open_session

        with open_session(workspace, config, command=command, progress=terminal_progress()) as session:
            outcome = run_stages(session, stages)
    summary = summarize(workspace, outcome)
    click.echo(json.dumps(summary.as_json(), indent=2) if as_json else summary.as_text())
    if outcome.failures:
        raise click.exceptions.Exit(3)


@click.command()
@workspace_option
@override_options
@dry_run_option
@json_option
@prefect_option
def demo(workspace: Path, overrides: dict[str, object], dry_run: bool, as_json: bool, prefect: bool | None) -> None:
    """Label, score and cluster the features of a real model.

    Three layers of all-MiniLM-L6-v2 read the Python standard library; a dictionary of 2,048 features and a control
    with random weights come with Featlas. No key, no network, a few minutes.

    With --model (and the provider's key in the environment) a language model labels and judges the first twenty
    features as well; --features takes others.
    """
    run_and_summarize(
        demo_config(environment=os.environ, overrides=with_language_model(overrides)),
        workspace,
        STAGES,
        command="demo",
        as_json=as_json,
        prefect=prefect,
        dry_run=dry_run,
    )


def with_language_model(overrides: dict[str, object]) -> dict[str, object]:
    """When a model is named and nothing else is said, add the explainer and the scorer that ask one."""
    if "label.model" not in overrides:
        return overrides
    defaults: dict[str, object] = {
        "label.explainer": LLM_EXPLAINER,
        "score.scorers": f"{LLM_SCORER},embedding",
        "label.features": LLM_DEMO_FEATURES,
        "score.features": LLM_DEMO_FEATURES,
    }
    return {**defaults, **overrides}


def stage_command(name: str, stages: Sequence[Stage], text: str) -> click.Command:
    """Make the command that runs some stages, with all options of a run."""

    @click.command(name=name, help=text)
    @config_option
    @workspace_option
    @override_options
    @dry_run_option
    @json_option
    @prefect_option
    def command(
        config: Path | None,
        workspace: Path,
        overrides: dict[str, object],
        dry_run: bool,
        as_json: bool,
        prefect: bool | None,
    ) -> None:
        run_and_summarize(
            find_config(config, workspace, overrides),
            workspace,
            stages,
            command=name,
            as_json=as_json,
            prefect=prefect,
            dry_run=dry_run,
        )

    return command


run = stage_command(
    "run",
    STAGES,
    """Run all stages: sample, label, score, cluster, report.

    What is complete is skipped, so running again resumes. Answers of language models are kept the moment they arrive
    and never paid for twice.""",
)
sample = stage_command(
    "sample", ("sample",), "Run model and dictionaries over the corpus once, and choose contexts for every feature."
)
score = stage_command(
    "score", ("score",), "Judge labels and their controls on held-out contexts, and compute scores with intervals."
)
cluster = stage_command(
    "cluster", ("cluster",), "Find each feature's neighbors, cluster them, name the clusters, and draw the map."
)
