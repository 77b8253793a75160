"""What every explainer must do, tried on each file in `labeling/explainers`."""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from dataclasses import replace

import jsonschema
import numpy as np
import pytest

import labeling.explainers
from labeling import registry
from labeling.answers import PROBLEMS
from labeling.explainers import Explainer
from labeling.types import Completion, CompletionFailure, Evidence, Label, LLMResult, NoLabel
from tests.builders import evidence_of
from tests.contracts.small_feature import SCHEMA_KEYWORDS, answer, answer_text, feature_evidence, objects_in

MODEL = "scripted/x"


@pytest.fixture(params=registry.names(labeling.explainers))
def explainer(request: pytest.FixtureRequest) -> Explainer:
    made: Explainer = registry.create(labeling.explainers, request.param, kind="explainer", model=MODEL, prompt=None)
    assert made.name == request.param
    return made


def explain(explainer: Explainer, evidence: Evidence) -> Label | NoLabel:
    return explainer.parse(evidence, [answer(request) for request in explainer.requests(evidence)])


def test_it_writes_a_label(explainer: Explainer) -> None:
    label = explain(explainer, feature_evidence())
    assert isinstance(label, Label)
    assert label.text.strip()
    json.dumps(label.pattern, allow_nan=False)


def test_it_asks_its_own_model_or_works_offline(explainer: Explainer) -> None:
    requests = explainer.requests(feature_evidence())
    assert explainer.model in (MODEL, None)
    assert bool(requests) == (explainer.model is not None)
    assert all((request.model, request.purpose) == (MODEL, "label") for request in requests)


def test_the_fixed_part_of_its_prompt_is_the_same_for_all_features(explainer: Explainer) -> None:
    one, two = (explainer.requests(feature_evidence(feature)) for feature in (7, 8))
    assert [request.system for request in one] == [request.system for request in two]


def test_its_schemas_are_strict_and_within_what_providers_enforce(explainer: Explainer) -> None:
    for request in explainer.requests(feature_evidence()):
        jsonschema.Draft202012Validator.check_schema(request.schema)
        for schema in objects_in(request.schema):
            assert schema["additionalProperties"] is False
            assert set(schema["required"]) == set(schema["properties"])
            assert all(set(inner) <= SCHEMA_KEYWORDS for inner in schema["properties"].values())


def test_its_identity_can_be_stored_and_repeats(explainer: Explainer) -> None:
    again = registry.create(labeling.explainers, explainer.name, kind="explainer", model=MODEL, prompt=None)
    assert json.loads(json.dumps(explainer.parameters)) == again.parameters
    assert explainer.prompt_version == again.prompt_version != ""


def test_the_order_of_the_contexts_makes_no_difference(explainer: Explainer) -> None:
    evidence = feature_evidence()
    order = np.random.default_rng(0).permutation(len(evidence.contexts))
    shuffled = replace(evidence, contexts=evidence.contexts.take(order))
    assert explainer.requests(evidence) == explainer.requests(shuffled)
    assert explain(explainer, evidence) == explain(explainer, shuffled)
    assert explainer.evidence_windows(evidence).tolist() == explainer.evidence_windows(shuffled).tolist()


def test_it_says_which_of_the_windows_at_hand_it_used(explainer: Explainer) -> None:
    evidence = feature_evidence()
    used = explainer.evidence_windows(evidence)
    assert used.dtype == np.int64
    assert 0 < len(set(used.tolist())) == len(used)
    assert set(used.tolist()) <= set(evidence.windows.window[evidence.contexts.row].tolist())


def test_it_leaves_the_evidence_as_it_was(explainer: Explainer) -> None:
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
def test_a_request_that_went_wrong_gives_no_label_with_a_reason(explainer: Explainer, bad: LLMResult) -> None:
    evidence = feature_evidence()
    results: Sequence[LLMResult] = [bad for _ in explainer.requests(evidence)]
    if not results:
        pytest.skip("it works offline")
    made = explainer.parse(evidence, results)
    assert isinstance(made, NoLabel)
    assert made.reason == "timeout" if isinstance(bad, CompletionFailure) else made.reason


def test_it_names_the_problem_of_exactly_those_answers_that_give_no_label(explainer: Explainer) -> None:
    evidence = feature_evidence()
    for request in explainer.requests(evidence):
        for text in ("", "{}", "so", "[1]", "{} {}", answer_text(request)):
            made = explainer.parse(evidence, [Completion(text, "stop", 1, 0, 1, 0.0)])
            problem = explainer.problem(request, text)
            assert (problem is None) == isinstance(made, Label)
            assert problem is None or problem in PROBLEMS


def test_a_feature_without_contexts_gets_no_label(explainer: Explainer) -> None:
    nothing = evidence_of(feature_evidence().windows, [])
    assert isinstance(explain(explainer, nothing), NoLabel)
    assert len(explainer.evidence_windows(nothing)) == 0
