"""From the log-probabilities of an answer's tokens to those of its numbers: all that is kept of them, and how.

Kept are tokens that are a digit or could have been one, with the alternatives that hold a digit: a hundredth of what a
server sends. What can't be read, or does not fit the text, is None: nothing is guessed. Knows no provider and no scorer.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from math import exp

from labeling.half_surrogates import writable
from labeling.types import JSON, NumberToken

LEAST = 1e-4
"""Probability below which an alternative is left out: eleven of them move an expected level 0-10 by less than 0.01."""
MOST_TOKENS = 8_192
"""Tokens with digits of one answer; one with more is no list of levels."""
LONGEST = 32
"""Characters of a token."""

_DIGITS = frozenset("0123456789")


def read_number_tokens(text: str, logprobs: JSON) -> tuple[NumberToken, ...] | None:
    """Read what stands at `choices[0].logprobs` of a chat completion, beside the text of its message.

    The text has to be found in the joined tokens; servers add a train of thought or an end-of-turn token around it.
    """
    try:
        places = logprobs["content"] or []
        start = "".join(place["token"] for place in places).rfind(text) if text else -1
        if start < 0:
            return None
        found, at = [], -start
        for place in places:
            end = at + len(place["token"])
            if at >= 0 and end <= len(text) and (choices := _choices(place)):
                found.append(NumberToken(at, end, choices))
            at = end
    except (TypeError, KeyError, ValueError, AttributeError, OverflowError):
        return None
    return tuple(found) if len(found) <= MOST_TOKENS else None


def _choices(place: Mapping[str, JSON]) -> tuple[tuple[str, float], ...]:
    """The token with its probability, then the likely ones among the others that hold a digit; empty without a digit."""
    token = place["token"]
    others = {other["token"]: _probability(other["logprob"]) for other in place.get("top_logprobs") or ()}
    others.pop(token, None)
    kept = [
        (writable(other), share)
        for other, share in others.items()
        if share >= LEAST and len(other) <= LONGEST and not _DIGITS.isdisjoint(other)
    ]
    if not kept and _DIGITS.isdisjoint(token):
        return ()
    return ((writable(token), _probability(place["logprob"])), *kept)


def _probability(logprob: JSON) -> float:
    """A share to five digits. Raise ValueError for what is no logarithm of one."""
    if isinstance(logprob, bool) or not isinstance(logprob, int | float) or not logprob <= 1e-3:
        raise ValueError(f"{logprob!r} is no log-probability")
    return float(f"{min(exp(logprob), 1.0):.5g}")


def pack(tokens: tuple[NumberToken, ...] | None) -> bytes | None:
    """As the ledger stores it: compressed JSON."""
    if tokens is None:
        return None
    rows = [[token.start, token.end, [list(choice) for choice in token.choices]] for token in tokens]
    return zlib.compress(json.dumps(rows, separators=(",", ":")).encode())


def unpack(packed: bytes | None) -> tuple[NumberToken, ...] | None:
    if packed is None:
        return None
    rows = json.loads(zlib.decompress(packed))
    return tuple(NumberToken(start, end, tuple((token, share) for token, share in of)) for start, end, of in rows)
