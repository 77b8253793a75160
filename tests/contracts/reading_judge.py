"""A judge that reads: it expects a feature to fire where a word of the label stands. It answers requests of `detection`."""

from __future__ import annotations

import json
import re

from evals.scorers import detection
from flows.stages.select_judge import SelectJudge
from labeling.types import Completion, LLMRequest, LLMResult

MODEL = "scripted/judge"
JUDGE = SelectJudge(detection.create(model=MODEL), MODEL)


def completion(value: object) -> LLMResult:
    text = value if isinstance(value, str) else json.dumps(value)
    return Completion(text, "end_turn", 10, 0, 10, 0.1)


def grades(request: LLMRequest) -> LLMResult:
    """95 for excerpts that hold a word of the description, 5 for others; `any` is a word of every excerpt."""
    head, *rest = request.user.split("\n")
    words = set(re.findall(r"\w+", head.removeprefix("Description:")))
    excerpts = dict(re.findall(r'^(\d+) "(.*)"$', "\n".join(rest), re.MULTILINE))
    hits = {n: "any" in words or bool(words & set(re.findall(r"\w+", text))) for n, text in excerpts.items()}
    return completion({n: 95 if hit else 5 for n, hit in hits.items()})
