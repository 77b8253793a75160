"""Judges that answer from rules and never look at a description: what they get is chance, or a cue that was left in."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from hashlib import blake2b

from evals.scorers._marks import STOP_WORDS
from labeling.types import JSON, LLMRequest

EXCERPT = re.compile(r'^(\d+) (?:\(\d+ tokens\) )?("|\[)(.*)("|\])$', re.MULTILINE)
MARK = re.compile(r"<<(.*?)>>")

Rule = Callable[[str], float]
"""From an excerpt with its marks to a number 0-1."""


def draw(text: str) -> float:
    """A number 0-1 that follows from the text alone."""
    return int.from_bytes(blake2b(text.encode(), digest_size=4).digest(), "big") / 2**32


RULES: Mapping[str, Rule] = {
    "text": lambda text: draw(MARK.sub(r"\1", text)),
    "marked text": draw,
    "count of marks": lambda text: min(len(MARK.findall(text)) / 4, 1.0),
    "place of the first mark": lambda text: text.find("<<") / max(len(text), 1) if "<<" in text else 0.0,
    "length of marks": lambda text: min(sum(map(len, MARK.findall(text))) / 20, 1.0),
    "stop words": lambda text: float(any(word.casefold() in STOP_WORDS for word in MARK.findall(text))),
    "capitals": lambda text: float(any(word[:1].isupper() for word in MARK.findall(text))),
    "parts of words": lambda text: float(bool(re.search(r"\w<<\w|\w>>\w", text))),
    "no letters": lambda text: float(any(not re.search(r"[^\W\d_]", word) for word in MARK.findall(text))),
}


def blind(rule: Rule) -> Callable[[LLMRequest], str]:
    """A judge whose answer to each excerpt, group or list follows from the rule."""

    def answer(request: LLMRequest) -> str:
        excerpts: dict[str, str] = {}
        for number, _, text, _ in EXCERPT.findall(request.user.partition("Excerpts:")[2]):
            excerpts[number] = text
        return json.dumps(
            {key: _fill(key, schema, excerpts, request, rule) for key, schema in request.schema["properties"].items()}
        )

    return answer


def _fill(key: str, schema: JSON, excerpts: Mapping[str, str], request: LLMRequest, rule: Rule) -> JSON:
    if schema["type"] == "array" and schema.get("description", "")[:1].isdigit():  # one level a token
        length = int(schema["description"].split()[0])
        return [int(11 * draw(f"{excerpts[key]} {place}")) for place in range(length)]
    if schema["type"] == "array" and key in excerpts:  # labels of an excerpt
        return [n for n in schema["items"]["enum"] if draw(f"{excerpts[key]} {n}") < 0.3]
    if schema["type"] == "array":  # excerpts of a list
        return [n for n in schema["items"]["enum"] if rule(excerpts[str(n)]) < 0.4]
    number = rule(excerpts[key]) if key in excerpts else draw(f"{request.user} {key}")
    if "enum" in schema:
        return schema["enum"][min(int(number * len(schema["enum"])), len(schema["enum"]) - 1)]
    return round(100 * number)
