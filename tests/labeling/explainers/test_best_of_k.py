"""The explainer `best_of_k`: other evidence for each sample, a judge on `select`, the best kept, losses counted."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from labeling.explainers import steps_of
from labeling.explainers.best_of_k import BestOfK, create
from labeling.types import Candidate, CompletionFailure, Label, LLMRequest, LLMResult, NoLabel
from tests.builders import evidence_of, windows_of
from tests.contracts.reading_judge import JUDGE, MODEL, completion, grades
from tests.contracts.small_feature import feature_evidence, feature_trial

TIMEOUT = CompletionFailure("timeout", retryable=True)


def explainer(k: int = 3) -> BestOfK:
    return create(model="scripted/x", prompt=None, judge=JUDGE, samples=k)


def run(labels: Sequence[str | LLMResult], *, k: int = 3) -> tuple[Label | NoLabel, list[list[LLMRequest]]]:
    """Answer the samples with these labels, and let the reading judge judge."""
    steps, rounds = steps_of(explainer(k), feature_evidence(), feature_trial()), list[list[LLMRequest]]()
    answers = iter([completion({"label": one}) if isinstance(one, str) else one for one in labels])
    try:
        asks = next(steps)
        while True:
            rounds.append(list(asks))
            asks = steps.send([next(answers) if r.purpose == "label" else grades(r) for r in asks])
    except StopIteration as end:
        return end.value, rounds


def test_the_label_that_judges_best_on_select_is_kept_with_its_score_and_all_that_were_tried() -> None:
    made, rounds = run(["dogs", "cats", "any animal"])
    assert isinstance(made, Label)
    assert made.text == "cats"
    assert made.select_score == pytest.approx(0.95)
    assert [one.text for one in made.candidates] == ["dogs", "cats", "any animal"]
    assert [one.select_score for one in made.candidates] == pytest.approx([0.05, 0.95, 0.5])
    assert [len(asked) for asked in rounds] == [3, 3 * len(JUDGE.requests(Label("x"), feature_trial()))]
    assert {(r.model, r.purpose) for r in rounds[1]} == {(MODEL, "select")}


def test_each_sample_sees_other_windows_and_the_same_run_the_same_again() -> None:
    _, rounds = run(["a", "b", "c"])
    prompts = [request.user for request in rounds[0]]
    assert len(set(prompts)) == 3
    assert len({request.repeat for request in rounds[0]}) == 3
    assert prompts == [request.user for request in run(["a", "b", "c"])[1][0]]


def test_the_judge_is_shown_windows_of_select_alone() -> None:
    trial = feature_trial()
    _, rounds = run(["a", "b", "c"])
    texts = {text for row, text in enumerate(trial.windows.text) if row in set(trial.contexts.row.tolist())}
    shown = {line.split('"')[1] for request in rounds[1] for line in request.user.split("\n") if line[:1].isdigit()}
    assert shown == texts


def test_the_same_words_are_judged_once() -> None:
    made, rounds = run(["cats", "Cats", "cats"])
    assert isinstance(made, Label)
    assert len(made.candidates) == 1
    assert len(rounds[1]) == len(JUDGE.requests(Label("x"), feature_trial()))


def test_lost_samples_are_counted_and_the_rest_is_used() -> None:
    made, _ = run([TIMEOUT, "cats", completion("no JSON")])
    assert isinstance(made, Label)
    assert made.text == "cats"
    assert [(one.text, one.reason) for one in made.candidates] == [
        ("cats", None),
        (None, "timeout"),
        (None, "not_json"),
    ]


def test_without_any_sample_there_is_no_label_with_the_first_reason() -> None:
    made, rounds = run([TIMEOUT, completion("no JSON"), TIMEOUT])
    assert isinstance(made, NoLabel)
    assert made.reason == "timeout"
    assert made.candidates == tuple(Candidate(None, None, r) for r in ("timeout", "not_json", "timeout"))
    assert len(rounds) == 1


def test_a_feature_without_contexts_in_select_gets_no_label_and_says_why() -> None:
    trial = feature_trial()
    steps = steps_of(
        explainer(),
        feature_evidence(),
        type(trial)(trial.feature, trial.contexts.take(np.zeros(0, np.int64)), trial.windows),
    )
    next(steps)
    steps.send([completion({"label": "cats"})] * 3)
    with pytest.raises(StopIteration) as end:
        steps.send([])
    assert end.value.value == NoLabel(
        "unjudged", raw="no context to judge", candidates=(Candidate("cats", None, "no context to judge"),)
    )


def test_a_feature_without_firing_windows_costs_nothing() -> None:
    nothing = evidence_of(windows_of(["a"]), [(0, "random", {})])
    with pytest.raises(StopIteration) as end:
        next(steps_of(explainer(), nothing, feature_trial()))
    assert end.value.value == NoLabel("no_evidence")


def test_its_identity_names_the_judge_and_how_many_samples_there_are() -> None:
    parameters = explainer(4).parameters
    assert parameters["k"] == 4
    assert parameters["judge"]["model"] == MODEL
    assert parameters["judge"]["scorer"] == "detection"
