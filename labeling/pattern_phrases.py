"""Say a pattern in a few words: the label that people read beside the program that is scored."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from labeling.patterns import Pattern
from labeling.types import Evidence, IntArray

SHOWN_TOKENS = 4
COVERED_SHARE = 0.85
"""Tokens are named until they cover this share of the firing."""
NEIGHBOR_SHARE = 0.6
"""A token is shown with its neighbor when this share of its firing stands beside it."""
SHOWN_WORDS = 3
MIN_WORD_WEIGHT = 0.7


class FiringPositions(Protocol):
    """What a phrase needs of the positions on which a feature fires."""

    @property
    def row(self) -> IntArray: ...
    @property
    def column(self) -> IntArray: ...
    @property
    def token(self) -> IntArray: ...
    @property
    def left(self) -> IntArray: ...
    @property
    def right(self) -> IntArray: ...
    @property
    def weight(self) -> npt.NDArray[np.float64]: ...


def phrase(pattern: Pattern, evidence: Evidence, firing: FiringPositions) -> str:
    """For example: `"open" or "read file", in text with mode, path`."""
    vocabulary = evidence.windows.vocabulary
    mass = np.bincount(firing.token, weights=firing.weight, minlength=len(vocabulary))
    order = np.argsort(-mass, kind="stable")
    share = mass[order].cumsum() / mass.sum()
    n_shown = min(int(np.searchsorted(share, COVERED_SHARE)) + 1, SHOWN_TOKENS)
    shown = list(dict.fromkeys(_shown(token, evidence, firing) for token in order[:n_shown]))
    text = either(shown)
    if share[n_shown - 1] < 0.5:
        text = f"many words, such as {text}"
    words = _telling_words(pattern, {vocabulary[t] for t in order[:n_shown]})
    return f"{text}, in text with {', '.join(words)}" if words else text


def _shown(token: int, evidence: Evidence, firing: FiringPositions) -> str:
    """The token as it stands in the text: whole words, with a neighbor that is nearly always there."""
    here = np.flatnonzero(firing.token == token)
    words: defaultdict[str, float] = defaultdict(float)
    for place in here.tolist():
        words[whole_word(evidence, int(firing.row[place]), int(firing.column[place]))] += float(firing.weight[place])
    word, weight = max(words.items(), key=lambda item: (item[1], item[0]))
    total = float(firing.weight[here].sum())
    name = evidence.windows.vocabulary[token]
    if name.startswith("##") and weight < NEIGHBOR_SHARE * total:
        return f'"…{name[2:]}" as in "{word}"'
    left, right = (_usual(side[here], firing.weight[here], evidence) for side in (firing.left, firing.right))
    if left and not name.startswith("##"):
        return f'"{left} {word}"'
    if right:
        return f'"{word} {right}"'
    return f'"{word}"'


def _usual(neighbor: IntArray, weight: npt.NDArray[np.float64], evidence: Evidence) -> str | None:
    """The neighbor that stands there nearly always, if it is a word of its own."""
    known = neighbor >= 0
    if not known.any():
        return None
    mass = np.bincount(neighbor[known], weights=weight[known])
    best = int(mass.argmax())
    word = evidence.windows.vocabulary[best].strip()  # byte-pair vocabularies keep the space before a word
    usual = mass[best] >= NEIGHBOR_SHARE * weight.sum() and known.sum() >= 3
    return word if usual and re.fullmatch(r"\w+", word) else None


def whole_word(evidence: Evidence, row: int, column: int) -> str:
    """The word of the text that a token is a piece of, in the case it was written in."""
    text = evidence.windows.text[row]
    start, end = int(evidence.windows.starts[row, column]), int(evidence.windows.ends[row, column])
    if not text[start:end].isalnum():
        return text[start:end]
    while start > 0 and text[start - 1].isalnum():
        start -= 1
    while end < len(text) and text[end].isalnum():
        end += 1
    return text[start:end]


def _telling_words(pattern: Pattern, named: set[str]) -> list[str]:
    words = [
        word.strip()
        for word, weight in pattern.context
        if weight >= MIN_WORD_WEIGHT and word not in named and re.fullmatch(r"[^\W\d_]{3,}", word.strip())
    ]
    return list(dict.fromkeys(words))[:SHOWN_WORDS]


def either(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} or {parts[-1]}"
