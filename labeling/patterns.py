"""Executable patterns: labels that a program can apply to a window, and how they are applied.

A pattern is a list of rules, token -> rate: how often the feature fires on the token, estimated from evidence. A rule
may ask for a token on its left or right; the most specific rule that matches a position counts. The windows' chance to
fire combines the positions (noisy-or) with words that make firing likelier or less likely anywhere in the window.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from labeling.types import JSON, IntArray, Windows

FloatVector = npt.NDArray[np.float64]
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
        return asdict(self)

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
    for rule in pattern.rules:
        if rule.left is None and rule.right is None and rule.token in index:
            table[index[rule.token]] = rule.rate
    rates = table[tokens]
    left, right = np.full_like(tokens, -2), np.full_like(tokens, -2)
    left[:, 1:], right[:, :-1] = tokens[:, :-1], tokens[:, 1:]
    for rule in pattern.rules:
        if rule.left is None and rule.right is None:
            continue
        here = tokens == index.get(rule.token, -3)
        if rule.left is not None:
            here &= left == index.get(rule.left, -3)
        if rule.right is not None:
            here &= right == index.get(rule.right, -3)
        rates[here] = rule.rate
    return rates


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
