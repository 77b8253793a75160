"""`--dry-run`: what a command would ask language models and what it would cost, without a key and without a request."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from flows.pipeline import Stage
from labeling.config import Config
from labeling.types import JSON
from labeling.workspace import Workspace

if TYPE_CHECKING:
    from flows.stages.estimate import Estimate
    from flows.stages.extrapolate import Figure

LABEL_TOKENS, SCORE_TOKENS, SCORE_REQUESTS = 1_350, 4_700, 5
"""Prompt tokens (characters / 4) of a label and of 100 judged windows, and the requests these take: means over 100 features
of the demo's dictionary on encyclopedia text, with default settings."""


@dataclass(frozen=True)
class DryRun:
    """Estimates of what would be sent. `estimates` None means that sampling must run first."""

    estimates: list[Estimate] | None

    def as_json(self) -> JSON:
        if self.estimates is None:
            per_feature = {"label_prompt_tokens": LABEL_TOKENS, "score_prompt_tokens": SCORE_TOKENS}
            return {"sampled": False, "per_feature": {**per_feature, "score_requests": SCORE_REQUESTS}}
        costs = [e.cost_usd.value if e.cost_usd else None for e in self.estimates]
        total = sum(cost for cost in costs if cost is not None) if None not in costs else None
        return {"sampled": True, "cost_usd": total, "estimates": [asdict(e) for e in self.estimates]}

    def as_text(self) -> str:
        if self.estimates is None:
            return (
                "Nothing was sent. An estimate needs the features and their contexts, and the sample is not complete for "
                "this config: run `featlas sample` first; it asks no language model and costs nothing. By default a "
                f"feature's label takes 1 request with about {LABEL_TOKENS:,} prompt tokens, and every label that is "
                f"judged on 100 windows {SCORE_REQUESTS} requests with about {SCORE_TOKENS:,}: its own label, and five "
                "controls unless score.controls is false."
            )
        if not self.estimates:
            return "Nothing was sent. Nothing here asks a language model, so it costs nothing."
        return "\n".join([*(_line(e) for e in self.estimates), _total_line(self.estimates), *_notes(self.estimates)])


def estimate_run(config: Config, workspace: Path, stages: Sequence[Stage]) -> DryRun:
    """Estimate what the stages would ask. Raise UsageError for names and prices that the run would refuse too."""
    if not Workspace(workspace).database.exists():
        return DryRun(None)
    from flows.pipeline import check_names
    from flows.progress import silent_progress
    from flows.session import open_session
    from flows.stages.estimate import estimate
    from flows.stages.sample import find_samples

    with open_session(workspace, config, command="dry run", progress=silent_progress()) as session:
        check_names(session, stages)
        samples = find_samples(session)
        if len(samples) < len(config.features):
            return DryRun(None)
        return DryRun(estimate(session, samples, stages))


def _line(e: Estimate) -> str:
    return (
        f"{e.stage} {e.feature_set} ({e.name}, {e.model}): {e.features:,} features, {_count(e.requests)} requests, "
        f"{_count(e.prompt_tokens)} prompt tokens, {_count(e.output_tokens)} output tokens, {_dollars(e.cost_usd)}"
    )


def _total_line(estimates: Sequence[Estimate]) -> str:
    from flows.stages.extrapolate import add

    costs = [e.cost_usd for e in estimates if e.cost_usd is not None]
    cost = add(costs) if len(costs) == len(estimates) else None
    return (
        f"In all: {_count(add([e.requests for e in estimates]))} requests, "
        f"{_count(add([e.prompt_tokens for e in estimates]))} prompt tokens, {_dollars(cost)}"
    )


def _notes(estimates: Sequence[Estimate]) -> list[str]:
    rendered = max(e.rendered for e in estimates)
    notes = [
        f"Nothing was sent. The prompts of up to {rendered} features drawn at random were written; ± is one standard error, "
        "of that draw and of what is guessed. What the ledger has answered or has in a batch is left out, and so are "
        "second questions, which bad answers bring."
    ]
    for stage, model, label in sorted({(e.stage, e.model, e.label) for e in estimates}, key=str):
        if label is not None:
            notes.append(
                f"{model}, {stage}: labels that are not written yet count with {label.characters:.0f} ± {label.error:.0f} "
                "characters."
            )
    return notes + [_billed_note(e) for e in {(e.stage, e.model): e for e in estimates}.values()]


def _billed_note(e: Estimate) -> str:
    from flows.stages.extrapolate import output_error, prompt_error

    prompt, output, seen = prompt_error(e.billed), output_error(e.billed), e.billed
    if seen.ratio is None or seen.output_tokens is None:
        return (
            f"{e.model}, {e.stage}: tokens are characters / 4, ± {prompt:.0%}, and an answer's length is a guess, "
            f"± {output:.0%}: they were not compared with any bill yet."
        )
    return (
        f"{e.model}, {e.stage}: tokens are characters / 4, times {seen.ratio:.2f} ± {seen.ratio * prompt:.2f}, and an answer "
        f"has {seen.output_tokens:.0f} ± {seen.output_tokens * output:.1f}, as {seen.n_answers:,} earlier answers were billed."
    )


def _count(figure: Figure) -> str:
    error = f" ± {figure.error:,.0f}" if figure.error >= 0.5 else ""
    return f"{figure.value:,.0f}{error}"


def _dollars(figure: Figure | None) -> str:
    if figure is None:
        return "cost not known"
    error = f" ± {figure.error:,.4f}" if figure.error >= 0.00005 else ""
    return f"${figure.value:,.4f}{error}"
