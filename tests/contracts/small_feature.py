"""One feature that fires on the word `cats`, and answers that a model could give: what every variant is tried on."""

from __future__ import annotations

import json
from collections.abc import Iterator

from labeling.types import JSON, Completion, Evidence, JudgeTask, Label, LLMRequest, LLMResult, Trial, Windows
from tests.builders import Row, evidence_of, task_of, windows_of

SUBJECTS = ("old", "two", "gray", "some", "wild", "fat", "sleepy", "loud")
VERBS = ("sleep", "purr", "eat", "hide", "jump", "run")
# What JSON schemas may say so that both providers enforce them.
SCHEMA_KEYWORDS = {"type", "properties", "required", "additionalProperties", "items", "enum", "description"}


def feature_windows(split: str) -> Windows:
    """96 windows: every second one has the word `cats`, the others `dogs`."""
    animals = (["cat", "##s"], ["dog", "##s"])
    texts = [
        [subject, *animal, verb, "here"] for subject in SUBJECTS for verb in VERBS for animal in animals
    ]  # window 2k has cats, 2k + 1 has dogs
    return windows_of(*texts, split=split)


def feature_evidence(feature: int = 7) -> Evidence:
    return _contexts_in(feature_windows("explain"), feature)


def feature_trial(feature: int = 7) -> Trial:
    """The same feature in text of the `select` split, where a document is one window."""
    there = _contexts_in(feature_windows("select"), feature)
    contexts = there.contexts.take(there.contexts.stratum != "top")
    return Trial(there.feature, contexts, there.windows)


def _contexts_in(windows: Windows, feature: int) -> Evidence:
    cats, dogs = range(0, 96, 2), range(1, 96, 2)
    rows: list[Row] = [(row, "top", {1: 50.0 - row / 2, 2: 60.0 - row / 2}) for row in cats[:10]]
    rows += [(row, f"q{5 - n // 10}", {1: 50.0 - row / 2, 2: 60.0 - row / 2}) for n, row in enumerate(cats)]
    rows += [(row, ("random", "hard_token", "hard_neighbor", "hard_text")[n % 4], {}) for n, row in enumerate(dogs)]
    return evidence_of(windows, rows, feature=feature)


def feature_task(label: Label | None) -> tuple[JudgeTask, Windows]:
    windows = feature_windows("score")
    return task_of(windows, label), windows


def answer(request: LLMRequest) -> LLMResult:
    """The dullest answer that the request's schema allows."""
    return Completion(answer_text(request), "end_turn", 10, 0, 10, 0.1)


def answer_text(request: LLMRequest) -> str:
    return json.dumps(_dull(request.schema))


def objects_in(schema: JSON) -> Iterator[JSON]:
    """Every object schema inside a schema."""
    if schema["type"] == "object":
        yield schema
    for inner in [*schema.get("properties", {}).values(), *([schema["items"]] if "items" in schema else [])]:
        yield from objects_in(inner)


def _dull(schema: JSON) -> JSON:
    if "enum" in schema:
        return schema["enum"][0]
    if schema["type"] == "object":
        return {name: _dull(inner) for name, inner in schema["properties"].items()}
    if schema["type"] == "array":
        return [_dull(schema["items"])]
    return {"string": "words", "integer": 50, "number": 50, "boolean": True}[schema["type"]]
