"""Executable patterns: labels that a program can apply to a window, and how they are applied.

A pattern is a list of rules, token -> rate: how often the feature fires on the token, estimated from evidence. A rule
may ask for a token on its left or right; the most specific rule that matches a position counts. The windows' chance to
fire combines the positions (noisy-or) with words that make firing likelier or less likely anywhere in the window.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from labeling.types import JSON, IntArray, Windows

FloatVector = npt.NDArray[np.float64]
IntTokens = npt.NDArray[np.int32]
VERSION = "1"
"""Part of every score: raise it when the same pattern gives other grades."""
MAX_RATE = 0.98
"""No rule is certain: evidence is finite, and a single certain position would hide all others."""


@dataclass(frozen=True)
class Rule:
    """The feature fires on `token` with this rate (share 0-1), when its neighbors are as stated."""

    token: str
    rate: float
    left: str | None = None
    right: str | None = None


@dataclass(frozen=True)
class Pattern:
    """When a feature fires, in a form that a program can apply."""

    rules: tuple[Rule, ...]
    """The more specific a rule, the later it stands; later rules win."""
    context: tuple[tuple[str, float], ...]
    """Words in the window and by how much (log odds) each changes the chance to fire."""
    base_rate: float
    """Rate on tokens without a rule."""

    def as_json(self) -> JSON:
        # by hand: `dataclasses.asdict` copies every value, which took a quarter of the time of a label
        rules = [{"token": r.token, "rate": r.rate, "left": r.left, "right": r.right} for r in self.rules]
        return {"rules": rules, "context": [list(word) for word in self.context], "base_rate": self.base_rate}

    @staticmethod
    def from_json(value: Any) -> Pattern:
        return Pattern(
            rules=tuple(Rule(**rule) for rule in value["rules"]),
            context=tuple((word, weight) for word, weight in value["context"]),
            base_rate=value["base_rate"],
        )


ANYTHING = Pattern(rules=(), context=(), base_rate=0.5)
"""Fires on every token: the program of a label that is true of all text."""


def match_rates(pattern: Pattern, windows: Windows, rows: IntArray) -> FloatVector:
    """Rate of the rule that matches each position: [n, width]; 0 on padding."""
    tokens = windows.tokens[rows]
    index = windows.token_index
    table = np.full(len(windows.vocabulary) + 1, pattern.base_rate)
    table[-1] = 0.0  # padding is token -1
    beside = []
    for rule in pattern.rules:
        if rule.left is not None or rule.right is not None:
            beside.append(rule)
        elif rule.token in index:
            table[index[rule.token]] = rule.rate
    rates = table[tokens]
    if beside:
        _match_beside(rates, beside, tokens, index)
    return rates


def _match_beside(rates: FloatVector, rules: Sequence[Rule], tokens: IntTokens, index: Mapping[str, int]) -> None:
    """Write the rates of rules that ask for a neighbor. Only positions of their tokens are looked at."""
    asked = np.zeros(len(index) + 1, dtype=np.bool_)
    asked[[index.get(rule.token, -1) for rule in rules]] = True
    asked[-1] = False  # padding, and tokens that these windows do not have
    row, column = np.nonzero(asked[tokens])
    here = tokens[row, column]
    padded = np.full((tokens.shape[0], tokens.shape[1] + 2), -2, dtype=tokens.dtype)
    padded[:, 1:-1] = tokens
    left, right = padded[row, column], padded[row, column + 2]
    found = rates[row, column]
    for rule in rules:
        matches = here == index.get(rule.token, -3)
        if rule.left is not None:
            matches &= left == index.get(rule.left, -3)
        if rule.right is not None:
            matches &= right == index.get(rule.right, -3)
        found[matches] = rule.rate
    rates[row, column] = found


def log_odds(pattern: Pattern, windows: Windows, rows: IntArray) -> FloatVector:
    """How likely each window is to fire, as log odds [n]: comparable across features, not yet calibrated."""
    rates = np.minimum(match_rates(pattern, windows, rows), MAX_RATE)
    silent = np.log1p(-rates).sum(1)
    chance = -np.expm1(silent)
    logit = np.log(np.maximum(chance, 1e-6)) - silent
    return np.asarray(logit + context_weight(pattern.context, windows, rows))


def context_weight(context: Sequence[tuple[str, float]], windows: Windows, rows: IntArray) -> FloatVector:
    """Sum of the weights of the context words that stand in each window, each word once: [n]."""
    tokens = windows.tokens[rows]
    total = np.zeros(len(rows))
    for word, weight in context:
        place = windows.token_index.get(word)
        if place is not None:
            total += weight * (tokens == place).any(1)
    return total
