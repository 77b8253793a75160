"""Log-probabilities of an answer's tokens, as OpenAI's Chat Completions give them: made up, from the text alone. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from math import log

from flows.fake_provider.http_server import JSON

Chances = Callable[[str], Mapping[str, float]]
"""From a token of the answer to the probabilities of what could have stood there; the token itself is among them."""

SURE, LEAST = 0.8, 1e-9
MOST_LEVEL = 10
MOST_ALTERNATIVES = 20

_TOKENS = re.compile(r"\d{1,3}| ?[^\W\d]+| ?[^\w\s]+|\s+|\S")
"""As OpenAI's tokenizers cut text: numbers of up to three digits by themselves, a space with the word behind it."""


def unsure(token: str) -> Mapping[str, float]:
    """Probability 0.8 for what stands there; the rest is shared by the numbers beside it, if it is a level 0-10."""
    if not token.isdecimal() or int(token) > MOST_LEVEL:
        return {token: 1.0}
    beside = [str(level) for level in (int(token) - 1, int(token) + 1) if 0 <= level <= MOST_LEVEL]
    return {token: SURE, **dict.fromkeys(beside, (1 - SURE) / len(beside))}


def tokens_of(text: str) -> list[str]:
    """Pieces that join to the text."""
    return _TOKENS.findall(text)


def write_logprobs(text: str, n_alternatives: int, chances: Chances) -> JSON:
    """The object at `choices[0].logprobs`, with so many alternatives at each place at most, the likeliest first."""
    return {"content": [_place(token, n_alternatives, chances(token)) for token in tokens_of(text)], "refusal": None}


def _place(token: str, n_alternatives: int, chances: Mapping[str, float]) -> dict[str, JSON]:
    likeliest = sorted(chances, key=lambda other: -chances[other])[:n_alternatives]
    return {**_entry(token, chances[token]), "top_logprobs": [_entry(other, chances[other]) for other in likeliest]}


def _entry(token: str, chance: float) -> dict[str, JSON]:
    return {"token": token, "logprob": log(max(chance, LEAST)), "bytes": list(token.encode())}
