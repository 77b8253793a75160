"""What every scorer must do, tried on each file in `evals/scorers`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace

import jsonschema
import numpy as np
import pytest

import evals.scorers
import labeling.explainers
from evals.scorers import Scorer
from labeling import registry
from labeling.answers import PROBLEMS
from labeling.types import Completion, CompletionFailure, Grades, JudgeTask, Label, LLMResult, Windows
from tests.contracts.small_feature import (
    SCHEMA_KEYWORDS,
    answer,
    answer_text,
    feature_evidence,
    feature_task,
    objects_in,
)

MODEL = "scripted/x"


@pytest.fixture(params=registry.names(evals.scorers), scope="module")
def scorer(request: pytest.FixtureRequest) -> Scorer:
    made: Scorer = registry.create(evals.scorers, request.param, kind="scorer", model=MODEL)
    assert made.name == request.param
    return made


def labels() -> Iterator[Label]:
    """A plain label, then one of each offline explainer: some scorers need an executable one."""
    yield Label("cats, the animals")
    evidence = feature_evidence()
    for name in registry.names(labeling.explainers):
        explainer = registry.create(labeling.explainers, name, kind="explainer", model=MODEL, prompt=None)
        if explainer.model is None:
            made = explainer.parse(evidence, ())
            assert isinstance(made, Label)
            yield made


def accepted_task(scorer: Scorer) -> tuple[JudgeTask, Windows]:
    for label in labels():
        if scorer.accepts(label) is None:
            return feature_task(label)
    pytest.skip("it needs labels that no explainer here writes")


def judge(scorer: Scorer, task: JudgeTask, windows: Windows) -> Grades:
    return scorer.parse(task, windows, [answer(request) for request in scorer.requests(task, windows)])


def test_it_grades_every_window(scorer: Scorer) -> None:
    task, windows = accepted_task(scorer)
    grades = judge(scorer, task, windows)
    assert len(grades.values) == len(grades.reasons) == len(task.rows)
    assert np.isfinite(grades.values).all()
    assert set(grades.reasons) == {None}
    assert not scorer.calibrated or ((grades.values >= 0) & (grades.values <= 1)).all()


def test_it_asks_its_own_judge_or_works_offline(scorer: Scorer) -> None:
    task, windows = accepted_task(scorer)
    requests = scorer.requests(task, windows)
    assert scorer.model in (MODEL, None)
    assert bool(requests) == (scorer.model is not None)
    assert all((request.model, request.purpose) == (MODEL, "score") for request in requests)
    assert len({request.system for request in requests}) <= 1


def test_it_says_which_request_asked_about_a_window(scorer: Scorer) -> None:
    task, windows = accepted_task(scorer)
    requests = scorer.requests(task, windows)
    places = judge(scorer, task, windows).request
    assert set(places) == set(range(len(requests))) if requests else set(places) <= {None}
    assert len(places) == (len(task.rows) if requests else len(places))


def test_its_schemas_are_strict_and_within_what_providers_enforce(scorer: Scorer) -> None:
    for request in scorer.requests(*accepted_task(scorer)):
        jsonschema.Draft202012Validator.check_schema(request.schema)
        for schema in objects_in(request.schema):
            assert schema["additionalProperties"] is False
            assert set(schema["required"]) == set(schema["properties"])
            assert all(set(inner) <= SCHEMA_KEYWORDS for inner in schema["properties"].values())


def test_its_identity_can_be_stored_and_repeats(scorer: Scorer) -> None:
    again = registry.create(evals.scorers, scorer.name, kind="scorer", model=MODEL)
    assert json.loads(json.dumps(scorer.parameters)) == again.parameters
    assert scorer.prompt_version == again.prompt_version != ""


def test_a_window_gets_the_same_grade_wherever_it_stands_in_the_task(scorer: Scorer) -> None:
    task, windows = accepted_task(scorer)
    order = np.random.default_rng(0).permutation(len(task.rows))
    other = replace(task, rows=task.rows[order], activations=task.activations[order])
    assert judge(scorer, other, windows).values == pytest.approx(judge(scorer, task, windows).values[order], abs=1e-6)


def test_without_a_label_it_guesses_or_says_why_not(scorer: Scorer) -> None:
    task, windows = feature_task(None)
    reason = scorer.accepts(None)
    if reason is None:
        assert np.isfinite(judge(scorer, task, windows).values).all()
    else:
        assert reason


@pytest.mark.parametrize(
    "bad",
    [CompletionFailure("timeout", retryable=True), *(Completion(t, "stop", 1, 0, 1, 0.0) for t in ("", "{}", "so"))],
)
def test_requests_that_went_wrong_leave_no_grades_but_reasons(scorer: Scorer, bad: LLMResult) -> None:
    task, windows = accepted_task(scorer)
    results = [bad for _ in scorer.requests(task, windows)]
    if not results:
        pytest.skip("it works offline")
    grades = scorer.parse(task, windows, results)
    assert np.isnan(grades.values).all()
    assert all(grades.reasons)


def test_it_names_the_problem_of_answers_that_leave_windows_without_a_grade(scorer: Scorer) -> None:
    task, windows = accepted_task(scorer)
    for place, request in enumerate(requests := scorer.requests(task, windows)):
        for text in ("", "{}", "so", "[1]", answer_text(request)):
            results = [Completion(text, "stop", 1, 0, 1, 0.0) for _ in requests]
            mine = [n == place for n in scorer.parse(task, windows, results).request]
            lost = np.isnan(scorer.parse(task, windows, results).values[mine]).any()
            problem = scorer.problem(request, text)
            assert (problem is not None) == lost
            assert problem is None or problem in PROBLEMS


def test_one_lost_request_leaves_the_others_grades(scorer: Scorer) -> None:
    task, windows = accepted_task(scorer)
    requests = scorer.requests(task, windows)
    if len(requests) < 2:
        pytest.skip("it makes one request at most")
    results = [CompletionFailure("timeout", retryable=True), *map(answer, requests[1:])]
    grades = scorer.parse(task, windows, results)
    lost = np.isnan(grades.values)
    assert [reason is not None for reason in grades.reasons] == lost.tolist()
    assert 0 < lost.sum() < len(lost)
    assert [place == 0 for place in grades.request] == lost.tolist()
