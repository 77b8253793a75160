"""From a JSON schema to a small value that fits it. Covers what answers to our prompts use, not all of JSON schema."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from labeling.types import JSON


def example_text(schema: Mapping[str, JSON]) -> str:
    """An answer that the schema allows, as JSON text."""
    return json.dumps(example(schema))


def example(schema: Mapping[str, JSON]) -> JSON:
    """First allowed choice, every property, as few items as allowed (or told), the smallest number."""
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return schema["enum"][0]
    for choice in ("anyOf", "oneOf"):
        if choice in schema:
            return example(schema[choice][0])
    kind = schema.get("type", "object")
    match kind[0] if isinstance(kind, list) else kind:
        case "object":
            return {name: example(part) for name, part in schema.get("properties", {}).items()}
        case "array":
            return [example(schema.get("items", {}))] * list_length(schema)
        case "integer" | "number":
            return schema.get("minimum", 0)
        case "boolean":
            return False
        case "null":
            return None
        case _:
            return "example"


def list_length(schema: Mapping[str, JSON]) -> int:
    """Items that a list needs: its `minItems`, else the number that its description begins with, else one.

    Not every provider enforces lengths, so our prompts say them in descriptions.
    """
    told = re.match(r"\d+", str(schema.get("description", "")))
    return int(schema.get("minItems", told[0] if told else 1))
