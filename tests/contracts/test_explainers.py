"""What every explainer must do, tried on each file in `labeling/explainers`."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import get_type_hints

import jsonschema
import numpy as np
import pytest

import labeling.explainers
from evals.scorers import detection
from flows.stages.select_judge import SelectJudge
from labeling import registry
from labeling.answers import PROBLEMS
from labeling.explainers import AnyExplainer, HoldsLabels, SteppedExplainer, steps_of
from labeling.label_files import LabelSource
from labeling.types import (
    Completion,
    CompletionFailure,
    Evidence,
    Label,
    LLMRequest,
    LLMResult,
    NoLabel,
    Trial,
)
from tests.builders import evidence_of
from tests.contracts.small_feature import (
    SCHEMA_KEYWORDS,
    answer,
    answer_text,
    feature_evidence,
    feature_trial,
    objects_in,
)

MODEL, JUDGE = "scripted/x", "scripted/judge"
Answer = Callable[[LLMRequest], LLMResult]


def make(name: str, folder: Path) -> AnyExplainer:
    """An explainer with whatever it takes."""
    file = folder / "labels.csv"
    file.write_text("feature,label,author\n7,cats,Ada\n8,dogs,Ada\n", encoding="utf-8")
    given = {
        "model": MODEL,
        "prompt": None,
        "judge": SelectJudge(detection.create(model=JUDGE), JUDGE),
        "samples": 3,
        "labels": LabelSource(file, "Ada", "small"),
    }
    taken = registry.settings_of(labeling.explainers, name, kind="explainer")
    made: AnyExplainer = registry.create(
        labeling.explainers, name, kind="explainer", **{setting: given[setting] for setting in taken}
    )
    return made


@pytest.fixture(params=registry.names(labeling.explainers))
def explainer(request: pytest.FixtureRequest, tmp_path: Path) -> AnyExplainer:
    made = make(request.param, tmp_path)
    assert made.name == request.param
    return made


def drive(
    explainer: AnyExplainer, evidence: Evidence, answered: Answer = answer
) -> tuple[Label | NoLabel, list[list[LLMRequest]]]:
    """What an explainer says, and what it asked in each round."""
    steps, rounds = steps_of(explainer, evidence, feature_trial(evidence.feature.feature)), list[list[LLMRequest]]()
    try:
        asks = next(steps)
        while True:
            rounds.append(list(asks))
            asks = steps.send([answered(request) for request in asks])
    except StopIteration as end:
        return end.value, rounds


def explain(explainer: AnyExplainer, evidence: Evidence) -> Label | NoLabel:
    return drive(explainer, evidence)[0]


def questions(explainer: AnyExplainer, evidence: Evidence) -> list[LLMRequest]:
    """All requests, of every round."""
    return [request for asked in drive(explainer, evidence)[1] for request in asked]


def test_it_writes_a_label(explainer: AnyExplainer) -> None:
    label = explain(explainer, feature_evidence())
    assert isinstance(label, Label)
    assert label.text.strip()
    json.dumps(label.pattern, allow_nan=False)


def test_it_asks_its_own_model_or_works_offline(explainer: AnyExplainer) -> None:
    asked = questions(explainer, feature_evidence())
    assert explainer.model in (MODEL, None)
    assert bool(asked) == (explainer.model is not None)
    assert {(request.model, request.purpose) for request in asked} <= {(MODEL, "label"), (JUDGE, "select")}
    assert all(request.purpose == "label" for request in asked) or isinstance(explainer, SteppedExplainer)


def test_the_fixed_part_of_its_prompt_is_the_same_for_all_features(explainer: AnyExplainer) -> None:
    one, two = (questions(explainer, feature_evidence(feature)) for feature in (7, 8))
    assert {request.system for request in one} == {request.system for request in two}


def test_its_schemas_are_strict_and_within_what_providers_enforce(explainer: AnyExplainer) -> None:
    for request in questions(explainer, feature_evidence()):
        jsonschema.Draft202012Validator.check_schema(request.schema)
        for schema in objects_in(request.schema):
            assert schema["additionalProperties"] is False
            assert set(schema["required"]) == set(schema["properties"])
            assert all(set(inner) <= SCHEMA_KEYWORDS for inner in schema["properties"].values())


def test_what_it_asks_follows_from_evidence_and_answers_alone(explainer: AnyExplainer) -> None:
    assert drive(explainer, feature_evidence()) == drive(explainer, feature_evidence())


def test_its_identity_can_be_stored_and_repeats(explainer: AnyExplainer, tmp_path: Path) -> None:
    again = make(explainer.name, tmp_path)
    assert json.loads(json.dumps(explainer.parameters)) == again.parameters
    assert explainer.prompt_version == again.prompt_version != ""


def test_the_order_of_the_contexts_makes_no_difference(explainer: AnyExplainer) -> None:
    evidence = feature_evidence()
    order = np.random.default_rng(0).permutation(len(evidence.contexts))
    shuffled = replace(evidence, contexts=evidence.contexts.take(order))
    assert drive(explainer, evidence) == drive(explainer, shuffled)
    assert explainer.evidence_windows(evidence).tolist() == explainer.evidence_windows(shuffled).tolist()


def test_it_says_which_of_the_windows_at_hand_it_used(explainer: AnyExplainer) -> None:
    evidence = feature_evidence()
    used = explainer.evidence_windows(evidence)
    assert used.dtype == np.int64
    assert (len(used) == 0) == isinstance(explainer, HoldsLabels)  # what their authors saw is not known
    assert len(set(used.tolist())) == len(used)
    assert set(used.tolist()) <= set(evidence.windows.window[evidence.contexts.row].tolist())


def test_it_leaves_the_evidence_as_it_was(explainer: AnyExplainer) -> None:
    evidence = feature_evidence()
    before = copy.deepcopy(evidence)
    explain(explainer, evidence)
    for name in ("row", "stratum", "max_activation", "activations"):
        assert np.array_equal(getattr(evidence.contexts, name), getattr(before.contexts, name))
    assert evidence.windows.text == before.windows.text


@pytest.mark.parametrize(
    "bad",
    [CompletionFailure("timeout", retryable=True), *(Completion(t, "stop", 1, 0, 1, 0.0) for t in ("", "{}", "so"))],
)
def test_a_request_that_went_wrong_gives_no_label_with_a_reason(explainer: AnyExplainer, bad: LLMResult) -> None:
    if explainer.model is None:
        pytest.skip("it works offline")
    made, _ = drive(explainer, feature_evidence(), lambda request: bad)
    assert isinstance(made, NoLabel)
    assert made.reason == "timeout" if isinstance(bad, CompletionFailure) else made.reason


def test_a_judge_that_never_answers_gives_no_label_with_a_reason(explainer: AnyExplainer) -> None:
    if not isinstance(explainer, SteppedExplainer):
        pytest.skip("it asks no judge")
    down = CompletionFailure("timeout", retryable=True)
    made, _ = drive(explainer, feature_evidence(), lambda r: answer(r) if r.purpose == "label" else down)
    assert isinstance(made, NoLabel)
    assert (made.reason, made.raw) == ("unjudged", "timeout")


def test_it_names_the_problem_of_exactly_those_answers_that_give_no_label(explainer: AnyExplainer) -> None:
    first = next(iter(drive(explainer, feature_evidence())[1]), [])
    for request in first:
        for text in ("", "{}", "so", "[1]", "{} {}", answer_text(request)):
            said = Completion(text, "stop", 1, 0, 1, 0.0)

            def answered(asked: LLMRequest, said: LLMResult = said) -> LLMResult:
                return said if asked in first else answer(asked)

            made, _ = drive(explainer, feature_evidence(), answered)
            problem = explainer.problem(request, text)
            assert (problem is None) == isinstance(made, Label)
            assert problem is None or problem in PROBLEMS


def test_it_never_sees_a_window_of_the_split_that_is_reported(explainer: AnyExplainer) -> None:
    evidence, trial = feature_evidence(), feature_trial()
    assert set(evidence.windows.split.tolist()) == {"explain"}
    assert set(trial.windows.split.tolist()) == {"select"}
    hints = get_type_hints(type(explainer).steps if isinstance(explainer, SteppedExplainer) else type(explainer).parse)
    assert hints["evidence"] is Evidence
    assert hints.get("trial", Trial) is Trial


def test_a_feature_without_contexts_gets_no_label(explainer: AnyExplainer) -> None:
    if isinstance(explainer, HoldsLabels):
        pytest.skip("its labels were written elsewhere")
    nothing = evidence_of(feature_evidence().windows, [])
    assert isinstance(explain(explainer, nothing), NoLabel)
    assert len(explainer.evidence_windows(nothing)) == 0
