"""The requests that an explainer would send, all rounds of them, with stand-ins for answers that are not there yet.

For estimates and for people who want to see prompts: nothing is sent. What follows from a stand-in has its form and
length, not its words.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from itertools import count

from labeling.explainers import Steps
from labeling.schema_examples import example
from labeling.types import JSON, Completion, LLMRequest, LLMResult

Answers = Callable[[Sequence[LLMRequest]], Sequence[LLMResult | None]]
"""Answers at hand, one a request; None where there is none."""


def rehearse(steps: Steps, answers: Answers) -> list[list[LLMRequest]]:
    """The requests of each round."""
    rounds, numbers = list[list[LLMRequest]](), count(1)
    try:
        asks = next(steps)
        while True:
            rounds.append(list(asks))
            known = answers(asks)
            asks = steps.send([k or stand_in(r, next(numbers)) for k, r in zip(known, asks, strict=True)])
    except StopIteration:
        return rounds


def nothing_known(requests: Sequence[LLMRequest]) -> list[None]:
    return [None] * len(requests)


def stand_in(request: LLMRequest, number: int) -> Completion:
    """An answer of the usual form: a label of the usual length unlike all others, or grades for and against."""
    value = example(request.schema)
    filled = {key: _filled(key, part, place, number) for place, (key, part) in enumerate(value.items())}
    return Completion(json.dumps(filled), "end_turn", None, None, None, latency_seconds=0.0)


def _filled(key: str, part: JSON, place: int, number: int) -> JSON:
    if isinstance(part, str):
        return f"stand-in for the {key} of an answer that is not there yet, {number}"
    return (20, 80)[place % 2] if isinstance(part, int) and not isinstance(part, bool) else part
