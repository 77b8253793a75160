"""A judge that is shown no label, on every scorer that asks in trials about labels: what it gets beside what a guess gets."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

import evals.scorers
from evals.groups import score_groups
from evals.planted.guesser import guess
from evals.planted.population import Population
from evals.scorers import TrialScorer, reads_labels
from evals.trials import Answer, Asked, Judged, Panel, Subject, Trial
from flows.benches._planted_grades import MODEL
from flows.benches._planted_judged import JudgedSet
from flows.benches._planted_workspace import Planted
from flows.stages.items import SampleFacts
from labeling import registry
from labeling.llm.scripted import Scripted
from labeling.types import STRATA, IntArray, Windows

FEATURES = 100
"""Of a feature set, at most."""
PANEL = 500
"""As in a run's default."""
METRICS = {
    "fuzzing": "balanced_marks",
    "simulation": "correlation",
    "discrimination": "accuracy_labels",
    "specificity": "specificity",
    "panel": "correlation_panel",
    "saebench": "balanced_saebench",
}
"""The metric of each scorer that has a chance level."""
EVEN_RUBRIC = 0.5
"""What a guess over the four grades of `specificity` gets; the scorer itself names no chance, which depends on the judge."""


@dataclass(frozen=True)
class Guessed:
    """What the judge got, over features."""

    scorer: str
    metric: str
    mean: float
    low: float
    high: float
    chance: float
    n_features: int

    @property
    def outside(self) -> float:
        """Distance of chance to the interval; NaN without one."""
        return max(self.low - self.chance, self.chance - self.high, 0.0) if self.low == self.low else float("nan")


def guesses(planted: Planted, judged: JudgedSet, *, seed: int) -> list[Guessed]:
    """Ask without a label about the features of a set, FEATURES of them at most."""
    subjects = _subjects(planted, judged, seed)
    return [_guessed(planted, judged.name, scorer, METRICS[scorer.name], subjects) for scorer in label_scorers()]


def label_scorers() -> list[TrialScorer]:
    """Every scorer that asks a language model about labels in trials."""
    every = [registry.create(evals.scorers, n, kind="scorer", model=MODEL) for n in registry.names(evals.scorers)]
    return [scorer for scorer in every if isinstance(scorer, TrialScorer) and reads_labels(scorer)]


def _subjects(planted: Planted, judged: JudgedSet, seed: int) -> list[Subject]:
    population = planted.populations[judged.name]
    panel = np.random.default_rng([seed, 5]).permutation(len(planted.windows))[:PANEL]
    texts = [own[0] for own in judged.labels]
    return [
        Subject(
            feature=feature,
            label=None,
            contexts=contexts,
            panel=_panel(population, feature, panel),
            rivals=tuple(text for text in texts[feature + 1 :] + texts[:feature] if text != texts[feature])[:4],
            seed=seed,
        )
        for feature, contexts in sorted(judged.sampled.contexts.items())[:FEATURES]
    ]


def _panel(population: Population, feature: int, row: IntArray) -> Panel:
    return Panel(row, np.array(STRATA)[population.stratum[feature, row]])


def _guessed(
    planted: Planted, feature_set: str, scorer: TrialScorer, metric: str, subjects: Sequence[Subject]
) -> Guessed:
    windows, facts = planted.windows, planted.facts[feature_set]
    measured = scorer.measure([_judge(scorer, subject, windows, facts) for subject in subjects])
    group, row = score_groups(measured.table), measured.table.row(metric)
    known = ~np.isnan(measured.table.value[row])
    chance = float(measured.chance[row][known].mean()) if known.any() else float("nan")
    return Guessed(
        scorer=scorer.name,
        metric=metric,
        mean=float(group.mean[row]),
        low=float(group.low[row]),
        high=float(group.high[row]),
        chance=EVEN_RUBRIC if metric == "specificity" else chance,
        n_features=int(group.n_features[row]),
    )


def _judge(scorer: TrialScorer, subject: Subject, windows: Windows, facts: SampleFacts) -> Judged:
    """A subject by itself: those without a label would otherwise share one answer."""
    asked = (Asked(subject, scorer.trials(subject, windows)),)
    requests = scorer.requests(asked, windows) if asked[0].trials else ()
    results = asyncio.run(Scripted(guess).complete(requests))
    (answers,) = scorer.parse(asked, windows, results) if requests else ([],)
    return _judged(asked[0].trials, answers, windows, facts, subject.feature)


def _judged(
    trials: Sequence[Trial], answers: Sequence[Answer], windows: Windows, facts: SampleFacts, feature: int
) -> Judged:
    names = ("firing_windows", "grey_windows", "silent_windows")
    exact = facts.splits.filter((facts.splits["feature"] == feature) & (facts.splits["split"] == "score"))
    document = np.unique(windows.document_id, return_inverse=True)[1]
    return Judged(
        variant=np.array([trial.variant for trial in trials], np.str_),
        truth=np.array([np.nan if trial.truth is None else trial.truth for trial in trials]),
        grade=np.array([answer.grade for answer in answers]),
        weight=np.array([trial.weight for trial in trials]),
        options=np.array([trial.options or 0 for trial in trials], np.int64),
        document=document[[trial.rows[0] for trial in trials]].astype(np.int64),
        reason=tuple(answer.reason for answer in answers),
        levels=tuple(answer.levels for answer in answers),
        activations=tuple(trial.activations for trial in trials),
        **exact.select(names).row(0, named=True),
    )
