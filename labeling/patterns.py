"""Executable patterns: labels that a program can apply to a window, and how they are applied.

A pattern is a list of rules, token -> rate: how often the feature fires on the token, estimated from evidence. A rule
may ask for tokens around its own (an n-gram, with gaps that any token fills); the most specific rule that matches a
position counts. The windows' chance to fire combines the positions (noisy-or) with words that make firing likelier or
less likely anywhere in the window.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
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
    around: tuple[tuple[int, str], ...] = ()
    """Tokens at other distances: (-2, "not") asks for `not` two tokens before. What is not asked for may be anything."""

    @property
    def asks(self) -> tuple[tuple[int, str], ...]:
        """Everything that must stand around the token, as distance and token."""
        beside = ((-1, self.left), (1, self.right))
        return (*((distance, token) for distance, token in beside if token is not None), *self.around)

    def as_json(self) -> dict[str, JSON]:
        # by hand: `dataclasses.asdict` copies every value, which took a quarter of the time of a label
        rule: dict[str, JSON] = {"token": self.token, "rate": self.rate, "left": self.left, "right": self.right}
        return {**rule, "around": [list(one) for one in self.around]} if self.around else rule

    @staticmethod
    def from_json(value: Any) -> Rule:
        around = tuple((int(distance), str(token)) for distance, token in value.get("around", ()))
        return Rule(value["token"], value["rate"], value["left"], value["right"], around)


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
        rules = [rule.as_json() for rule in self.rules]
        return {"rules": rules, "context": [list(word) for word in self.context], "base_rate": self.base_rate}

    @staticmethod
    def from_json(value: Any) -> Pattern:
        return Pattern(
            rules=tuple(Rule.from_json(rule) for rule in value["rules"]),
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


def matching_rules(pattern: Pattern, windows: Windows, rows: IntArray) -> IntArray:
    """Number of the rule that matches each position: [n, width]; negative where none does."""
    return _match_rules(pattern, windows, rows) - FIRST_RULE


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
        if rule.token in index and not rule.asks:
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
    """Write the rules that ask for other tokens where these stand. `beside` has their numbers by the token they are for.

    Only positions of those tokens are looked at, each rule at those of its own token.
    """
    asked = np.zeros(len(index) + 1, dtype=np.uint16)
    asked[list(beside)] = np.arange(1, len(beside) + 1)
    asked[-1] = 0  # padding
    group = asked[tokens].ravel()
    place = np.flatnonzero(group)
    place = place[np.argsort(group[place], kind="stable")]  # 16 bits are sorted by counting
    ends = np.bincount(group[place], minlength=len(beside) + 1).cumsum()
    asks = {number: rules[number].asks for numbers in beside.values() for number in numbers}
    at = _tokens_at(tokens, place, {distance for one in asks.values() for distance, _ in one})
    flat = matched.reshape(-1)
    for number, rule_numbers in enumerate(beside.values()):
        span = slice(ends[number], ends[number + 1])
        for rule in rule_numbers:
            fits = np.ones(ends[number + 1] - ends[number], dtype=np.bool_)
            for distance, token in asks[rule]:
                fits &= at[distance][span] == index.get(token, UNKNOWN)
            flat[place[span][fits]] = FIRST_RULE + rule


def _tokens_at(
    tokens: npt.NDArray[np.int32], place: IntArray, distances: Collection[int]
) -> dict[int, npt.NDArray[np.int32]]:
    """Tokens at some distances from flat positions in [n, width]; -1 beyond the edges of a window."""
    reach = min(max(map(abs, distances)), tokens.shape[1])
    padded = np.full((tokens.shape[0], tokens.shape[1] + 2 * reach), -1, dtype=tokens.dtype)
    padded[:, reach : reach + tokens.shape[1]] = tokens
    here, flat = place + 2 * reach * (place // tokens.shape[1]) + reach, padded.ravel()
    nothing = np.full(len(place), -1, dtype=tokens.dtype)
    return {d: flat[here + d] if abs(d) <= reach else nothing for d in distances}


def context_weight(context: Sequence[tuple[str, float]], windows: Windows, rows: IntArray) -> FloatVector:
    """Sum of the weights of the context words that stand in each window, each word once: [n]."""
    tokens = windows.tokens[rows]
    total = np.zeros(len(rows))
    for word, weight in context:
        place = windows.token_index.get(word)
        if place is not None:
            total += weight * (tokens == place).any(1)
    return total
