"""A language model that reads no question: it fills in the form of the answer at random, whoever asks.

It can answer every scorer, so what it gets shows what a scorer gives away to a judge that knows nothing. What it says
follows from a hash of the request.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

import numpy as np

from labeling.identity import identify
from labeling.types import JSON, LLMRequest

SHARE_LISTED = 0.3
"""Of the numbers that may stand in a list without a length."""
LARGEST = 100


def guess(request: LLMRequest) -> str:
    """Answer in the form that the request asks for."""
    generator = np.random.default_rng(int(identify("guess", system=request.system, user=request.user), 16))
    return json.dumps({key: _value(part, generator) for key, part in request.schema["properties"].items()})


def _value(schema: Mapping[str, JSON], generator: np.random.Generator) -> JSON:
    if schema.get("type") == "array":
        choices, told = schema["items"]["enum"], str(schema.get("description", ""))
        if told[:1].isdigit():
            return [choices[int(place)] for place in generator.integers(len(choices), size=int(told.split()[0]))]
        return [choice for choice in choices if generator.random() < SHARE_LISTED]
    if "enum" in schema:
        return schema["enum"][int(generator.integers(len(schema["enum"])))]
    return int(generator.integers(LARGEST + 1))
