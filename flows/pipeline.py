"""The stages one after the other: what `featlas run`, `featlas demo` and the flow `run_batch` do."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

from flows.budgets import budget_of
from flows.llm import check_provider, server_lines
from flows.session import Session
from flows.stages.publish import publish
from flows.usage import Usage
from labeling.errors import BudgetReached
from labeling.llm import connect

Stage = Literal["sample", "label", "score", "cluster", "report"]
STAGES: tuple[Stage, ...] = ("sample", "label", "score", "cluster", "report")
Value = TypeVar("Value")


@dataclass
class StageTimes:
    """Wall-clock seconds of each stage, in order."""

    seconds: dict[str, float]

    def measure(self, stage: str, work: Callable[[], Value]) -> Value:
        started = time.perf_counter()
        value = work()
        self.seconds[stage] = self.seconds.get(stage, 0.0) + time.perf_counter() - started
        return value


@dataclass(frozen=True)
class Outcome:
    """What a run made."""

    run_id: str
    report: Path | None
    seconds: dict[str, float]
    """Wall-clock seconds of each stage, in order."""
    failures: dict[str, int]
    """What went wrong without ending the run, by kind and reason."""
    usage: Usage
    n_reused: int
    n_sent_again: int
    n_pending: int = 0
    """Answers that are still in batches; the same command collects them later."""
    models: tuple[str, ...] = ()
    """Language models that the stages ask."""


def run_stages(session: Session, stages: Sequence[Stage] = STAGES) -> Outcome:
    """Run the stages that are asked for, and publish a snapshot after them.

    Later stages need what earlier ones wrote; `sample` is always looked at, and skipped when it is complete. When the
    budget is reached, what is finished is published and BudgetReached raised.
    """
    times = StageTimes({})
    models = check_names(session, stages)
    _say_servers(session, models)
    _check_keys(session, models)
    try:
        _run_all(session, stages, times)
    except BudgetReached:
        # with what was under way in other shards when the limit was reached
        session.budget_reached = budget_of(session.workspace.root, session.config.llm).message()
        publish(session)
        raise BudgetReached(session.budget_reached) from None
    report = None
    if "report" in stages:
        from dashboards.report import write_report

        report = times.measure("report", lambda: write_report(session.workspace, session.workspace.reports))
    return Outcome(
        session.run_id,
        report,
        times.seconds,
        dict(session.failures),
        session.usage,
        session.n_reused,
        session.n_sent_again,
        session.n_pending,
        tuple(sorted(set(models))),
    )


def _run_all(session: Session, stages: Sequence[Stage], times: StageTimes) -> None:
    from flows.sources import close_sources
    from flows.stages.sample import sample_all

    try:
        samples = times.measure("sample", lambda: sample_all(session))
    finally:
        close_sources()  # when it failed too: a process that goes on must not read files that are mended from memory
    if "label" in stages:
        from flows.stages.label import label_all

        times.measure("label", lambda: label_all(session, samples))
    if "score" in stages and session.n_pending == 0:  # controls rest on all labels
        from flows.stages.score import score_all

        times.measure("score", lambda: score_all(session, samples))
    if "cluster" in stages:
        from flows.stages.cluster import cluster_all

        times.measure("cluster", lambda: cluster_all(session, samples))
    times.measure("publish", lambda: publish(session))


def check_names(session: Session, stages: Sequence[Stage]) -> list[str]:
    """The language models that the stages ask.

    Raise UsageError for explainers, scorers, model providers and prices that are not known, before any work.
    """
    config = session.config
    models: list[str | None] = []
    if "label" in stages:
        from flows.stages.explainer_choice import choose_explainers, models_asked

        check_provider(config.label.model)
        chosen = [model for choice in choose_explainers(session) for model in models_asked(choice)]
        for model in chosen:
            check_provider(model)
        models += chosen
    if "score" in stages:
        from flows.stages.judge import chosen_scorer, make_scorer

        check_provider(config.score.model)
        score = config.score
        models += [make_scorer(chosen_scorer(name, score)).model for name in score.scorers]
    asked = [model for model in models if model is not None]
    budget_of(session.workspace.root, config.llm).check(asked)
    return asked


def _say_servers(session: Session, models: Sequence[str]) -> None:
    """Name servers that are not the provider's own, and limits: the workspace's last run may have left them behind."""
    config = session.config
    if models and config.kept:
        session.progress.say(f"As in the workspace's last run: {', '.join(config.kept)}. Options replace them.")
    for line in server_lines(models, config.llm.base_url, config.base_url_from):
        session.progress.say(line)


def _check_keys(session: Session, models: Sequence[str]) -> None:
    """Raise UsageError for a missing key before the first sampling, not after it. Later runs may need none: what they
    ask may all be answered."""
    if session.store.read("samples").is_empty():
        for model in models:
            connect(model, base_url=session.config.llm.base_url)
