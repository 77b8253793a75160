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


UNKNOWN = -2
"""Number of a word that the windows do not have: equal to no token, nor to padding."""
ANYTHING = Pattern(rules=(), context=(), base_rate=0.5)
"""Fires on every token: the program of a label that is true of all text."""


def match_rates(pattern: Pattern, windows: Windows, rows: IntArray) -> FloatVector:
    """Rate of the rule that matches each position: [n, width]; 0 on padding."""
    return _rates(pattern)[_match_rules(pattern, windows, rows)]


def log_odds(pattern: Pattern, windows: Windows, rows: IntArray) -> FloatVector:
    """How likely each window is to fire, as log odds [n]: comparable across features, not yet calibrated."""
    # the logarithm of a few rates, not of every position's
    silent = np.log1p(-np.minimum(_rates(pattern), MAX_RATE))[_match_rules(pattern, windows, rows)].sum(1)
    chance = -np.expm1(silent)
    logit = np.log(np.maximum(chance, 1e-6)) - silent
    return np.asarray(logit + context_weight(pattern.context, windows, rows))


PADDING, NO_RULE, FIRST_RULE = 0, 1, 2
"""What matches a position: nothing, because no token stands there; no rule; or a rule, counted from here."""


def _rates(pattern: Pattern) -> FloatVector:
    return np.array([0.0, pattern.base_rate, *(rule.rate for rule in pattern.rules)])


def _match_rules(pattern: Pattern, windows: Windows, rows: IntArray) -> IntArray:
    """What matches each position, as numbers into `_rates`: [n, width]."""
    tokens, index = windows.tokens[rows], windows.token_index
    table = np.full(len(windows.vocabulary) + 1, NO_RULE)
    table[-1] = PADDING  # padding is token -1
    beside: dict[int, list[int]] = {}
    for number, rule in enumerate(pattern.rules):
        if rule.token in index and rule.left is None and rule.right is None:
            table[index[rule.token]] = FIRST_RULE + number
        elif rule.token in index:
            beside.setdefault(index[rule.token], []).append(number)
    matched = table[tokens]
    if beside:
        _match_beside(matched, pattern.rules, beside, tokens, index)
    return matched


def _match_beside(
    matched: IntArray,
    rules: Sequence[Rule],
    beside: Mapping[int, Sequence[int]],
    tokens: npt.NDArray[np.int32],
    index: Mapping[str, int],
) -> None:
    """Write the rules that ask for a neighbor where it stands. `beside` has their numbers by the token they are for.

    Only positions of those tokens are looked at, each rule at those of its own token.
    """
    asked = np.zeros(len(index) + 1, dtype=np.uint16)
    asked[list(beside)] = np.arange(1, len(beside) + 1)
    asked[-1] = 0  # padding
    group = asked[tokens].ravel()
    place = np.flatnonzero(group)
    place = place[np.argsort(group[place], kind="stable")]  # 16 bits are sorted by counting
    ends = np.bincount(group[place], minlength=len(beside) + 1).cumsum()
    padded = np.full((tokens.shape[0], tokens.shape[1] + 2), -1, dtype=tokens.dtype)
    padded[:, 1:-1] = tokens
    here = place + 2 * (place // tokens.shape[1]) + 1
    left, right = padded.ravel()[here - 1], padded.ravel()[here + 1]
    flat = matched.reshape(-1)
    for number, rule_numbers in enumerate(beside.values()):
        span = slice(ends[number], ends[number + 1])
        for rule in rule_numbers:
            fits = np.ones(ends[number + 1] - ends[number], dtype=np.bool_)
            for asked_for, side in ((rules[rule].left, left), (rules[rule].right, right)):
                if asked_for is not None:
                    fits &= side[span] == index.get(asked_for, UNKNOWN)
            flat[place[span][fits]] = FIRST_RULE + rule


def context_weight(context: Sequence[tuple[str, float]], windows: Windows, rows: IntArray) -> FloatVector:
    """Sum of the weights of the context words that stand in each window, each word once: [n]."""
    tokens = windows.tokens[rows]
    total = np.zeros(len(rows))
    for word, weight in context:
        place = windows.token_index.get(word)
        if place is not None:
            total += weight * (tokens == place).any(1)
    return total
