"""Command `label`: write labels, or show the exact request without sending it."""

from __future__ import annotations

import json
from pathlib import Path

import click

from flows.commands.options import (
    config_option,
    dry_run_option,
    find_config,
    json_option,
    override_options,
    prefect_option,
    workspace_option,
)
from flows.commands.run import run_and_summarize
from labeling.config import Config
from labeling.errors import UsageError
from labeling.types import LLMRequest


@click.command()
@config_option
@workspace_option
@override_options
@click.option("--show-prompt", is_flag=True, help="Print the requests for the selected features; send nothing.")
@dry_run_option
@json_option
@prefect_option
def label(
    config: Path | None,
    workspace: Path,
    overrides: dict[str, object],
    show_prompt: bool,
    dry_run: bool,
    as_json: bool,
    prefect: bool | None,
) -> None:
    """Ask an explainer for the label of every selected feature.

    Labels rest on contexts of the split `explain` alone. Features that have one are skipped; failed ones are asked
    again.
    """
    resolved = find_config(config, workspace, overrides)
    if show_prompt:
        for text in render_prompts(resolved, workspace, as_json=as_json):
            click.echo(text)
        return
    run_and_summarize(
        resolved, workspace, ("label",), command="label", as_json=as_json, prefect=prefect, dry_run=dry_run
    )


def render_prompts(config: Config, workspace: Path, *, as_json: bool) -> list[str]:
    """The requests that `label` would send, one text each. Those of later rounds are written with stand-ins."""
    from flows.progress import silent_progress
    from flows.session import open_session
    from flows.stages.explainer_choice import choose_explainers, make_explainer
    from flows.stages.label import gather_evidence, gather_trials
    from flows.stages.rehearsal import nothing_known, rehearse
    from flows.stages.sample import sample_all
    from flows.stages.select_features import select_features
    from labeling.explainers import steps_of

    texts = []
    with open_session(workspace, config, command="label --show-prompt", progress=silent_progress()) as session:
        sample = sample_all(session)[0]
        features = select_features(session, sample, config.label.features)
        place = (workspace, sample.sample_id, sample.corpus.corpus_id)
        for explainer in map(make_explainer, choose_explainers(session)):
            items = gather_evidence(*place, features)
            trials = gather_trials(*place, items) if explainer.model is not None else {}
            for item in items:
                number = item.feature.feature
                rounds = rehearse(steps_of(explainer, item, trials.get(number)), nothing_known)
                texts += [
                    _shown(request, number, round_number, as_json=as_json)
                    for round_number, asked in enumerate(rounds, start=1)
                    for request in asked
                ]
    if not texts:
        raise UsageError(
            f"No request to show: {', '.join(config.label.explainer)} asks no language model for the selected features. "
            "Name one that does, such as --explainer top_and_random --model provider/model."
        )
    return texts


def _shown(request: LLMRequest, feature: int, round_number: int, *, as_json: bool) -> str:
    """A request as people or programs read it. `round_number` counts from 1."""
    if as_json:
        fields = {"model": request.model, "system": request.system, "user": request.user, "schema": request.schema}
        return json.dumps({**fields, "feature": feature, "purpose": request.purpose, "round": round_number})
    later = "" if round_number == 1 else f", round {round_number}, written with stand-ins for earlier answers"
    return (
        f"--- feature {feature}, {request.model}, at most {request.max_output_tokens} tokens{later}\n\n"
        f"[system]\n{request.system}\n\n[user]\n{request.user}\n\n[answer]\n{json.dumps(dict(request.schema))}\n"
    )
