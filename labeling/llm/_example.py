"""From a JSON schema to a small value that fits it. Covers what answers to our prompts use, not all of JSON schema."""

from __future__ import annotations

import json
from collections.abc import Mapping

from labeling.types import JSON


def example_text(schema: Mapping[str, JSON]) -> str:
    """An answer that the schema allows, as JSON text."""
    return json.dumps(example(schema))


def example(schema: Mapping[str, JSON]) -> JSON:
    """First allowed choice, every property, as few items as allowed, the smallest number."""
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
            return [example(schema.get("items", {}))] * int(schema.get("minItems", 1))
        case "integer" | "number":
            return schema.get("minimum", 0)
        case "boolean":
            return False
        case "null":
            return None
        case _:
            return "example"
