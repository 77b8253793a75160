"""Write corpus text into prompts and read JSON out of answers: shared by every variant that asks a language model.

Corpus text and labels are hostile data. Each becomes one JSON string on one line, which nothing inside it can close:
quotes, control and invisible characters and the control tokens of chat templates are escaped. Highlight marks can't be
forged, because brackets that could pass for one are escaped too. Tokens are never shown; activations choose what is
marked. This file knows nothing of explainers, scorers, providers or the network.
"""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections.abc import Mapping, Sequence
from itertools import pairwise

from labeling.half_surrogates import writable
from labeling.identity import identify
from labeling.types import JSON, Completion, FloatArray, Windows
from labeling.windows import token_of_character

RENDERER = 2
"""Raise it whenever this file writes the same window in another way: it is part of every prompt version."""

OPEN, CLOSE = "<<", ">>"
MARK_SHARE = 0.3
"""Tokens with at least this share of the window's largest activation are marked."""
LEVELS = 10

REPEATED_KEY = object()
"""Value of a key that stands twice in an object: which of the two was meant is unknown."""

Span = tuple[int, int]
"""0-based character offsets in a window's text: first, and after the last."""

# All but plain text. The two joiners are invisible too, but part of how Persian, Hindi and emoji are spelled.
_INVISIBLE = re.compile(r"[^\x20-\x7e\u200c\u200d]")
# Servers that tokenize a rendered chat template read these inside user text as the end of the turn.
_CONTROL_TOKEN = re.compile(
    r"<(?=[|\uff5c])|<(?=/?(?:s|bos|eos|pad|start_of_turn|end_of_turn|think|im_start|im_end)>)|\[(?=/?INST\])", re.I
)
_LIKE_A_MARK = re.compile(r"[<>](?=[<>])|(?<=[<>])[<>]|^[<>]|[<>]$")
_TRUNCATED = {"max_tokens", "length", "model_context_window_exceeded"}
_REFUSED = {"refusal", "content_filter"}
_END_OF_THOUGHT = "</think>"


def quote(text: str) -> str:
    """Write text as one JSON string on one line, which reads back as exactly that text.

    White space is kept as it is: a feature can fire on an indent, or on the line break before it.
    """
    return f'"{_escape(text)}"'


def quote_marked(text: str, spans: Sequence[Span]) -> str:
    """Write text like `quote`, with `<<` and `>>` around the spans (ascending, apart from each other)."""
    cuts = [0, *(offset for span in spans for offset in span), len(text)]
    fragments = [text[start:end] for start, end in pairwise(cuts)]
    marks = [OPEN, CLOSE] * len(spans)
    safe = [_LIKE_A_MARK.sub(_unicode, _escape(fragment)) for fragment in fragments]
    return f'"{"".join(piece + mark for piece, mark in zip(safe, [*marks, ""], strict=True))}"'


def firing_spans(windows: Windows, row: int, activations: FloatArray, *, share: float = MARK_SHARE) -> list[Span]:
    """Find the text of the strongly active tokens of one window; neighboring tokens make one span.

    `activations` [width] are raw. A token counts from `share` of the largest of them. White space around a span is left
    out of it, unless there is nothing else (tokenizers differ in where they put the space between words).
    """
    peak = float(activations.max(initial=0.0))
    if peak <= 0:
        return []
    text, starts, ends = windows.text[row], windows.starts[row], windows.ends[row]
    spans: list[Span] = []
    for position in range(int(windows.n_tokens[row])):
        if activations[position] <= 0 or activations[position] < share * peak:
            continue
        holder = token_of_character(starts, ends, position)
        start, end = int(starts[holder]), int(ends[holder])
        if end <= start:
            continue
        if spans and (start <= spans[-1][1] or text[spans[-1][1] : start].isspace()):
            spans[-1] = (spans[-1][0], max(end, spans[-1][1]))
        else:
            spans.append((start, end))
    return [_trim(text, span) for span in spans]


def level(activation: float, maximum: float) -> int:
    """Scale a raw activation to 0-10 by the feature's maximum, rounded up: whatever is active has at least level 1."""
    if activation <= 0 or maximum <= 0:
        return 0
    return min(LEVELS, math.ceil(LEVELS * activation / maximum))


def prompt_version(*parts: JSON) -> str:
    """Hash of the fixed parts of a prompt and of the way in which windows are written."""
    return identify("prompt", parts=list(parts), renderer=RENDERER)


def strict_object(properties: Mapping[str, JSON]) -> dict[str, JSON]:
    """JSON schema of an object with exactly these properties, in the subset that all providers can enforce.

    Neither provider takes ranges or lengths everywhere: check those when reading the answer.
    """
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(properties),
        "additionalProperties": False,
    }


def number_list(choices: Sequence[int], *, length: int | None = None) -> dict[str, JSON]:
    """JSON schema of a list of some of the numbers, which may be empty; with a `length`, of exactly so many.

    The length stands in the description, for the model and for stand-ins of one: providers don't enforce it.
    """
    told = "the numbers that apply; empty if none does" if length is None else f"{length} numbers"
    return {"type": "array", "items": {"type": "integer", "enum": list(choices)}, "description": told}


def read_object(text: str) -> dict[str, JSON] | None:
    """Read the one JSON object in an answer; None when there is none, or when there are several that differ.

    Servers that ignore schemas add code fences, prose or a train of thought around it. Thoughts that are marked as such
    don't count. A key that stands twice has the value REPEATED_KEY.
    """
    found = _objects(text)
    return found[0] if len(found) == 1 else None


def unreadable(completion: Completion) -> str:
    """Say in a fixed word why `read_object` reads nothing in an answer."""
    if completion.stop_reason in _REFUSED:
        return "refusal"
    if completion.stop_reason in _TRUNCATED:
        return "truncated"
    return unreadable_text(completion.text)


def unreadable_text(text: str) -> str:
    """The same for the text of an answer that came to its end: `several_objects`, `not_json` or `empty`."""
    if _objects(text):
        return "several_objects"
    return "not_json" if text.strip() else "empty"


def _objects(text: str) -> list[dict[str, JSON]]:
    """Complete JSON objects in a text that differ from each other, in order; none that stand inside another."""
    decoder = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=lambda _: None)
    found: list[dict[str, JSON]] = []
    at = text.find("{", text.rfind(_END_OF_THOUGHT) + 1)
    while at >= 0:
        try:
            read, end = decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            end = at + 1
        else:
            found += [] if read in found else [read]
        at = text.find("{", end)
    return found


def _unique(pairs: list[tuple[str, JSON]]) -> dict[str, JSON]:
    result: dict[str, JSON] = {}
    for key, value in pairs:
        result[key] = REPEATED_KEY if key in result else _writable(value)
    return result


def _writable(value: JSON) -> JSON:
    """A value as a table can hold it."""
    if isinstance(value, list):
        return [_writable(item) for item in value]
    return writable(value) if isinstance(value, str) else value


def _escape(text: str) -> str:
    """Write text as the inside of a JSON string."""
    written = _CONTROL_TOKEN.sub(_unicode, json.dumps(text, ensure_ascii=False)[1:-1])
    return written if written.isprintable() else _INVISIBLE.sub(_unicode_if_hidden, written)


def _unicode(match: re.Match[str]) -> str:
    """Write one character as its JSON escape: two surrogates beyond the first 65,536."""
    return json.dumps(match[0])[1:-1] if ord(match[0]) > 0x7F else f"\\u{ord(match[0]):04x}"


def _unicode_if_hidden(match: re.Match[str]) -> str:
    """Escape controls, format characters, surrogates, private and unassigned characters, and what breaks lines."""
    category = unicodedata.category(match[0])
    return _unicode(match) if category[0] == "C" or category in ("Zl", "Zp") else match[0]


def _trim(text: str, span: Span) -> Span:
    inner = text[span[0] : span[1]]
    if not inner.strip():
        return span
    return span[0] + len(inner) - len(inner.lstrip()), span[1] - (len(inner) - len(inner.rstrip()))
