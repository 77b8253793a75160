"""What the provider answers when nobody says otherwise, and answers that tell questions apart. Pure."""

from __future__ import annotations

import json
from random import Random

from flows.fake_provider.asked import Asked
from flows.fake_provider.http_server import JSON
from labeling.llm._example import example, example_text


def fixed_text(asked: Asked) -> str:
    """The smallest answer that fits the schema."""
    return example_text(asked.schema)


def varied_text(asked: Asked) -> str:
    """An answer of the schema's shape whose words and whole numbers, 0-100, follow from the question alone."""
    return json.dumps(_vary(example(asked.schema), Random(asked.system + asked.user)))


def _vary(value: JSON, generator: Random) -> JSON:
    match value:
        case dict():
            return {name: _vary(part, generator) for name, part in value.items()}
        case list():
            return [_vary(part, generator) for part in value]
        case str():
            return f"words of kind {generator.randrange(10**9)}"
        case int() if not isinstance(value, bool):
            return generator.randrange(101)
        case _:
            return value
