"""What any explainer must beat: a table of tokens, and labels that know nothing of the feature."""

from __future__ import annotations

import numpy as np

from evals.planted.extents import BoolArray
from labeling.types import IntArray

LEAST_RATE, LEAST_COUNT = 0.5, 2
"""A token is in the table if the feature fires on at least this share of its occurrences, and so often."""


def token_table(token: IntArray, active: IntArray, *, seen: BoolArray) -> IntArray:
    """Tokens that tell that a feature fires, from what was seen of it.

    `token` [n] the id of each token of the text, `active` places at which the feature is active, `seen` [n] the places
    that may be looked at.
    """
    size = int(token.max(initial=0)) + 1
    occurrences = np.bincount(token[seen], minlength=size)
    firing = np.bincount(token[active[seen[active]]], minlength=size)
    return np.flatnonzero((firing >= LEAST_COUNT) & (firing >= LEAST_RATE * occurrences))


def holding(table: IntArray, token: IntArray, *, first: IntArray, end: IntArray) -> BoolArray:
    """[windows] whether a window, a range of places, has one of the tokens."""
    below = np.concatenate([[0], np.cumsum(np.isin(token, table))])
    held: BoolArray = below[end] > below[first]
    return held
