"""Say n-grams in a few words, as they stand in the text: `"one … of" or "such as"`, with `…` where anything may stand."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from labeling.pattern_phrases import COVERED_SHARE, SHOWN_TOKENS, FiringPositions, either, whole_word
from labeling.patterns import Pattern, Rule, matching_rules
from labeling.types import Evidence, Windows

SHOWN_TAIL = 0.5
"""N-grams that cover less than this share of the firing together are only examples."""


@dataclass(frozen=True)
class _Place:
    """Where an n-gram stands: a window's row and the column of its firing token."""

    row: int
    column: int


def phrase(rules: Sequence[Rule], evidence: Evidence, firing: FiringPositions) -> str:
    """The n-grams that most of the firing follows, the most firing first."""
    mass: defaultdict[int, float] = defaultdict(float)
    spelled: defaultdict[int, defaultdict[str, float]] = defaultdict(lambda: defaultdict(float))
    for place, rule, weight in _followed(rules, evidence.windows, firing):
        mass[rule] += weight
        spelled[rule][spell(rules[rule], evidence, place.row, place.column)] += weight
    order = sorted(mass, key=lambda rule: (-mass[rule], rule))
    share = np.cumsum([mass[rule] for rule in order]) / firing.weight.sum()
    n_shown = min(int(np.searchsorted(share, COVERED_SHARE)) + 1, SHOWN_TOKENS, len(order))
    shown = list(dict.fromkeys(_commonest(spelled[rule]) for rule in order[:n_shown]))
    text = either(shown)
    return f"many word sequences, such as {text}" if share[n_shown - 1] < SHOWN_TAIL else text


def _followed(rules: Sequence[Rule], windows: Windows, firing: FiringPositions) -> Iterator[tuple[_Place, int, float]]:
    """Each firing position with the rule that speaks for it."""
    rows, place = np.unique(firing.row, return_inverse=True)
    matched = matching_rules(Pattern(tuple(rules), (), 0.0), windows, rows)[place, firing.column]
    for row, column, rule, weight in zip(firing.row, firing.column, matched, firing.weight, strict=True):
        if rule >= 0:
            yield _Place(int(row), int(column)), int(rule), float(weight)


def spell(rule: Rule, evidence: Evidence, row: int, column: int) -> str:
    """The n-gram as the window spells it, in quotes; gaps as `…`. A lone piece of a word is shown in the word."""
    asks = dict(rule.asks)
    if not asks:
        return _one_token(rule.token, evidence, row, column)
    windows, pieces, end = evidence.windows, list[str](), -1
    for distance in range(min(0, *asks), max(0, *asks) + 1):
        start = int(windows.starts[row, column + distance])
        if distance and distance not in asks:
            if not pieces or pieces[-1] != " … ":
                pieces.append(" … ")
            end = -1
            continue
        if pieces and end >= 0 and start > end:
            pieces.append(" ")
        end = int(windows.ends[row, column + distance])
        pieces.append(windows.text[row][start:end].strip())
    return f'"{"".join(pieces)}"'


def _one_token(token: str, evidence: Evidence, row: int, column: int) -> str:
    word = whole_word(evidence, row, column).strip()
    return f'"…{token[2:]}" as in "{word}"' if token.startswith("##") else f'"{word}"'


def _commonest(spelled: Mapping[str, float]) -> str:
    return max(spelled, key=lambda text: (spelled[text], text))
