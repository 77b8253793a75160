"""Predicates over text: where a claim about text is true, as spans of characters. What a planted feature fires on.

A predicate is a function from a text to the spans at which it holds, ascending and apart from each other; it sees the
whole text, so that context counts. It knows neither tokens nor windows nor activations.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence

Span = tuple[int, int]
"""0-based characters: first, and after the last."""
Predicate = Callable[[str], list[Span]]

_WORD = re.compile(r"\w+")


def pattern(expression: str, *, any_case: bool = False) -> Predicate:
    """Matches of a regular expression; of its first group, where it has one."""
    compiled = re.compile(expression, re.MULTILINE | (re.IGNORECASE if any_case else 0))
    group = 1 if compiled.groups else 0
    return lambda text: [
        match.span(group) for match in compiled.finditer(text) if match.end(group) > match.start(group)
    ]


def one_of(words: Iterable[str]) -> str:
    """The words as a piece of a regular expression, longer ones first."""
    return "(?:" + "|".join(re.escape(word) for word in sorted(words, key=lambda w: (-len(w), w))) + ")"


def words(*members: str, any_case: bool = False) -> Predicate:
    """The words by themselves, not as parts of longer ones."""
    return pattern(rf"\b{one_of(members)}\b", any_case=any_case)


def either(*predicates: Predicate) -> Predicate:
    """Where one of them holds; what overlaps becomes one span."""
    return lambda text: joined(span for predicate in predicates for span in predicate(text))


def inside(inner: Predicate, outer: Predicate) -> Predicate:
    """Spans of `inner` that lie wholly within one of `outer`."""
    return lambda text: [span for span, held in _held(inner(text), outer(text)) if held]


def outside(inner: Predicate, outer: Predicate) -> Predicate:
    """Spans of `inner` that do not lie wholly within one of `outer`."""
    return lambda text: [span for span, held in _held(inner(text), outer(text)) if not held]


def near(one: Predicate, other: Predicate, *, within_words: int) -> Predicate:
    """Spans of `one` with a span of `other` so many words away at most, on either side and in the same line."""

    def spans(text: str) -> list[Span]:
        found, others = one(text), other(text)
        if not found or not others:
            return []
        starts = [match.start() for match in _WORD.finditer(text)]
        place = [bisect_right(starts, start) for start, _ in others]
        return [
            (start, end)
            for start, end in found
            if any(
                abs(bisect_right(starts, start) - place[i]) <= within_words
                and "\n" not in text[min(end, others[i][0]) : max(start, others[i][0])]
                for i in range(len(others))
            )
        ]

    return spans


def anywhere(text: str) -> list[Span]:
    """The whole text."""
    return [(0, len(text))] if text else []


def joined(spans: Iterable[Span]) -> list[Span]:
    """Spans in order, overlapping ones as one."""
    result: list[Span] = []
    for start, end in sorted(spans):
        if result and start < result[-1][1]:
            result[-1] = (result[-1][0], max(end, result[-1][1]))
        else:
            result.append((start, end))
    return result


def _held(inner: Sequence[Span], outer: Sequence[Span]) -> list[tuple[Span, bool]]:
    """Each inner span, and whether an outer one holds it. Outer spans are in order and apart."""
    ends = [end for _, end in outer]
    held = []
    for start, end in inner:
        place = bisect_left(ends, end)
        held.append(((start, end), place < len(outer) and outer[place][0] <= start))
    return held
