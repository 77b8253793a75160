"""A judge that sees no label gets what a guess gets, on every scorer, and no surface cue helps it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import evals.scorers
from evals.groups import score_groups
from evals.scorers import AnyScorer, TrialScorer
from evals.trials import Judged
from labeling import registry
from labeling.prompts import quote_marked
from tests.contracts.small_subject import feature_subject, judge_subject
from tests.evals.scorers.blind_judges import RULES, blind

FEATURES = 24
METRIC = {
    "fuzzing": "balanced_marks",
    "simulation": "correlation",
    "discrimination": "accuracy_labels",
    "intruder": "accuracy_intruder",
    "panel": "correlation_panel",
    "saebench": "balanced_saebench",
}
"""The metric with a chance level. The rubric of `specificity` has none: it is read against the generic label."""


def make(name: str) -> TrialScorer:
    made: AnyScorer = registry.create(evals.scorers, name, kind="scorer", model="scripted/x")
    assert isinstance(made, TrialScorer)
    return made


def judged_without_a_label(scorer: TrialScorer, rule: str, *, features: int = FEATURES) -> list[Judged]:
    found = []
    for seed in range(features):
        subject, windows = feature_subject(None, seed=seed)
        found.append(judge_subject(scorer, replace(subject, feature=seed), windows, blind(RULES[rule])))
    return found


def test_every_scorer_in_trials_is_tried_here_but_the_one_without_a_chance_level() -> None:
    names = registry.names(evals.scorers)
    in_trials = {
        n for n in names if isinstance(registry.create(evals.scorers, n, kind="scorer", model="s/x"), TrialScorer)
    }
    assert in_trials == {*METRIC, "specificity"}


@pytest.mark.parametrize("name", METRIC)
def test_a_judge_without_a_label_gets_what_a_guess_gets(name: str) -> None:
    measured = make(name).measure(judged_without_a_label(make(name), "text"))
    row = measured.table.row(METRIC[name])
    group = score_groups(measured.table)
    chance = float(np.nanmean(measured.chance[row]))
    assert group.n_features[row] == FEATURES
    assert group.low[row] <= chance <= group.high[row]
    assert group.high[row] - group.low[row] < 0.4
    inside = (measured.table.low[row] <= measured.chance[row]) & (measured.chance[row] <= measured.table.high[row])
    assert inside.mean() >= 0.8  # of 95 % intervals of 24 features


@pytest.mark.parametrize("rule", RULES)
def test_trap_12_of_methods_2_4_no_surface_cue_tells_right_marks_from_wrong_ones(rule: str) -> None:
    fuzzing = make("fuzzing")
    measured = fuzzing.measure(judged_without_a_label(fuzzing, rule))
    group = score_groups(measured.table)
    row = measured.table.row("auroc_marks")
    assert group.low[row] <= 0.5 <= group.high[row]
    assert group.mean[row] == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("rule", ["count of marks", "place of the first mark", "stop words", "parts of words"])
def test_trap_12_of_methods_2_4_no_surface_cue_gives_the_intruder_away(rule: str) -> None:
    """The judge picks the excerpt whose number by the rule is farthest from the others'."""
    intruder = make("intruder")
    right = trials = 0
    for seed in range(FEATURES):
        subject, windows = feature_subject(None, seed=seed)
        for trial in intruder.trials(subject, windows):
            shown = [quote_marked(windows.text[r], marks) for r, marks in zip(trial.rows, trial.marks, strict=True)]
            numbers = np.array([RULES[rule](text) for text in shown])
            guess = int(
                np.argmax(np.abs(numbers - np.median(numbers)) + 1e-9 * np.random.default_rng(trials).random(5))
            )
            right, trials = right + (guess + 1 == trial.truth), trials + 1
    assert trials >= 200
    assert right / trials == pytest.approx(0.2, abs=4 * (0.2 * 0.8 / trials) ** 0.5)
