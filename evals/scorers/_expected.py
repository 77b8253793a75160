"""From the probabilities of an answer's tokens to expected levels, as in Bills et al. (2023).

At each number of a list, p(v) over the strings 0 to 10, renormalised over those strings; the expected level is the sum of
v p(v). Levels before it are those that the judge wrote. A number may be a token of its own, share one with punctuation or
other numbers, or be cut in two. Where its probabilities are not known, neither is the expected level of its list.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence

from labeling.prompts import LEVELS
from labeling.types import NumberToken

NAMES = {str(level): level for level in range(LEVELS + 1)}
TWO_TOKENS = "10"
"""The one level that tokenizers cut in two, where they cut numbers into digits."""
_END_OF_THOUGHT = "</think>"

_LIST = re.compile(r'"([^"\\]*)"\s*:\s*\[([^\[\]]*)\]')
_NUMBER = re.compile(r"[^\s,]+")
_LEVEL = re.compile(r"(10|\d)(?!\d)")


def expected_levels(text: str, tokens: Sequence[NumberToken], key: str, written: Sequence[int]) -> tuple[float, ...]:
    """Expected level of each number in the list at `key`, whose levels are `written`; empty where one is not known."""
    for found in _LIST.finditer(text, text.rfind(_END_OF_THOUGHT) + 1):
        if found[1] == key:
            spans = [match.span() for match in _NUMBER.finditer(text, *found.span(2))]
            if [text[start:end] for start, end in spans] != [str(level) for level in written]:
                return ()
            expected = [_expected(text, tokens, start, end) for start, end in spans]
            return tuple(level for level in expected if level is not None) if None not in expected else ()
    return ()


def _expected(text: str, tokens: Sequence[NumberToken], start: int, end: int) -> float | None:
    """Expected level of the number at text[start:end]; None where the tokens don't tell."""
    token = _token_at(tokens, start)
    if token is None:
        return None
    shares = _first_shares(token, text[token.start : start])
    if token.end < end:  # the number goes on in the next token
        shares = _cut_in_two(shares, _token_at(tokens, token.end), written=text[start:end])
    elif text[start:end] == "1" and token.end == end:
        shares = _cut_in_two(shares, _token_at(tokens, end), written="1")
    total = sum(shares.values())
    return sum(level * share for level, share in shares.items()) / total if total > 0 else None


def _token_at(tokens: Sequence[NumberToken], place: int) -> NumberToken | None:
    """The token that holds the character at `place`; None where none was kept."""
    before = bisect_right(tokens, place, key=lambda token: token.start)
    token = tokens[before - 1] if before else None
    return token if token is not None and token.end > place else None


def _first_shares(token: NumberToken, before: str) -> dict[int, float]:
    """Probability of each level that a token spells behind `before`, which is what the token holds in front of it."""
    shares: dict[int, float] = {}
    prefix = "".join(before.split())
    for choice, share in token.choices:
        squeezed = "".join(choice.split())
        level = _LEVEL.match(squeezed, len(prefix)) if squeezed.startswith(prefix) else None
        if level is not None:
            shares[NAMES[level[1]]] = shares.get(NAMES[level[1]], 0.0) + share
    return shares


def _cut_in_two(shares: dict[int, float], second: NumberToken | None, *, written: str) -> dict[int, float]:
    """Share what a first token `1` has between 1 and 10, by what the next token is or could have been.

    Without a next token that could be a digit, it is all 1.
    """
    if second is None:
        return {} if written == TWO_TOKENS else shares
    going_on = sum(share for choice, share in second.choices if choice.strip().startswith("0"))
    known = sum(share for _, share in second.choices)
    one = shares.get(1, 0.0)
    if known <= 0:
        return shares
    return {**shares, 1: one * (1 - going_on / known), 10: shares.get(10, 0.0) + one * going_on / known}
