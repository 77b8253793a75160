"""What the provider answers when nobody says otherwise, and answers that tell questions apart. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from random import Random

from flows.fake_provider.asked import Asked
from flows.fake_provider.http_server import JSON
from labeling.schema_examples import example, example_text, list_length


def fixed_text(asked: Asked) -> str:
    """The smallest answer that fits the schema."""
    return example_text(asked.schema)


def varied_text(asked: Asked) -> str:
    """An answer of the schema's shape whose words, whole numbers (0-100) and choices follow from the question alone."""
    return json.dumps(_vary(asked.schema, Random(asked.system + asked.user)))


def _vary(schema: Mapping[str, JSON], generator: Random) -> JSON:
    if "enum" in schema:
        return generator.choice(schema["enum"])
    match schema.get("type"):
        case "object":
            return {name: _vary(part, generator) for name, part in schema.get("properties", {}).items()}
        case "array":
            return _vary_list(schema, generator)
        case "string":
            return f"words of kind {generator.randrange(10**9)}"
        case "integer":
            return generator.randrange(101)
        case _:
            return example(schema)


def _vary_list(schema: Mapping[str, JSON], generator: Random) -> list[JSON]:
    """As many items as the schema tells; where it tells none, each choice with a chance of one in five."""
    items = schema.get("items", {})
    if "enum" in items and not schema.get("description", "")[:1].isdigit():
        return [choice for choice in items["enum"] if generator.random() < 0.2]
    return [_vary(items, generator) for _ in range(list_length(schema))]
