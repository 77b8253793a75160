"""From predicates to tokens and windows: on which tokens, and in which windows, a claim holds exactly.

All tokens of all documents are numbered through. A claim is evaluated on whole documents, so a window's truth includes
what stands before its first token. Knows no activations.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from evals.planted.predicates import Predicate
from labeling.types import IntArray, TokenizedDocument

BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Occurrences:
    """Places where a claim holds: ranges of tokens, numbered through all documents. `n` entries."""

    first: IntArray  # [n]
    end: IntArray  # [n] the token after the last one

    def __len__(self) -> int:
        return len(self.first)


@dataclass(frozen=True, eq=False)
class PlantedText:
    """Tokenized documents whose tokens are numbered through."""

    documents: tuple[TokenizedDocument, ...]
    first: IntArray  # [documents + 1] number of each document's first token; the last entry is the number of all tokens
    _known: dict[Predicate, Occurrences] = field(default_factory=dict, repr=False)
    """Several features and labels share a predicate, and looking through all text takes time."""

    @property
    def n_tokens(self) -> int:
        return int(self.first[-1])

    def occurrences(self, holds: Predicate) -> Occurrences:
        """Where a predicate holds. A span that covers no token (white space) is no occurrence."""
        if holds not in self._known:
            self._known[holds] = self._look_for(holds)
        return self._known[holds]

    def _look_for(self, holds: Predicate) -> Occurrences:
        firsts, ends = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
        for number, document in enumerate(self.documents):
            spans = holds(document.document.text)
            if not spans:
                continue
            begin, finish = np.array(spans, np.int64).T
            first = np.searchsorted(document.ends, begin, side="right")
            end = np.searchsorted(document.starts, finish, side="left")
            kept = end > first
            firsts.append(first[kept] + self.first[number])
            ends.append(end[kept] + self.first[number])
        return Occurrences(np.concatenate(firsts), np.concatenate(ends))


def number_tokens(documents: Sequence[TokenizedDocument]) -> PlantedText:
    """Number the tokens of all documents through."""
    lengths = [len(document.token_ids) for document in documents]
    return PlantedText(tuple(documents), np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64))


def mark(occurrences: Occurrences, n_tokens: int) -> BoolArray:
    """[n_tokens] whether a token is part of an occurrence."""
    change = np.zeros(n_tokens + 1, np.int64)
    np.add.at(change, occurrences.first, 1)
    np.add.at(change, occurrences.end, -1)
    marked: BoolArray = change[:-1].cumsum() > 0
    return marked


def in_windows(occurrences: Occurrences, *, n_tokens: int, first: IntArray, end: IntArray) -> BoolArray:
    """[windows] whether a claim holds somewhere in each window, which are ranges of tokens."""
    below = np.concatenate([[0], np.cumsum(mark(occurrences, n_tokens))])
    held: BoolArray = below[end] > below[first]
    return held
