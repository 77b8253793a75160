"""Where a feature fires, with the weight of each position: what the offline explainers count in.

Rates are shares of a token's occurrences in the `explain` split on which the feature fires: the numerator is estimated
from uniformly drawn firing windows and their weights, the denominator is counted in all text of the split.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from labeling.hard_negatives import token_counts
from labeling.patterns import MAX_RATE, Pattern, log_odds
from labeling.types import QUANTILES, Evidence, IntArray, Windows

FloatVector = npt.NDArray[np.float64]

MAX_CONTEXT_WORDS = 30
WORD_PRIOR = 3.0
"""Windows that "the word changes nothing" counts as."""
MAX_WORD_WEIGHT = 2.0


@dataclass(frozen=True)
class Firing:
    """Positions on which a feature fires in uniformly drawn windows, one an entry; tokens index the vocabulary."""

    row: IntArray  # row of the window
    column: IntArray  # position in the window
    token: IntArray
    left: IntArray  # -1 at the window's edge
    right: IntArray
    weight: FloatVector  # positions of the split that it stands for
    window_row: IntArray  # [w] rows of the windows
    window_weight: FloatVector  # [w] windows of the split that each stands for


def read_firing(evidence: Evidence) -> Firing:
    """Firing positions of the quantile contexts, weighted so that each quantile counts as often as it is."""
    contexts = evidence.contexts.take(np.isin(evidence.contexts.stratum, QUANTILES))
    weight = contexts.population / contexts.sampled
    context, column = np.nonzero(contexts.activations > evidence.feature.tau)
    row = contexts.row[context]
    left, right = neighbor_tokens(evidence.windows, row, column)
    return Firing(
        row=row,
        column=column,
        token=evidence.windows.tokens[row, column].astype(np.int64),
        left=left,
        right=right,
        weight=weight[context],
        window_row=contexts.row,
        window_weight=weight,
    )


def neighbor_tokens(windows: Windows, row: IntArray, column: IntArray) -> tuple[IntArray, IntArray]:
    """Tokens before and after positions; -1 at the edges of the window."""
    padded = np.pad(windows.tokens[row], ((0, 0), (1, 1)), constant_values=-1)
    place = np.arange(len(row))
    return padded[place, column].astype(np.int64), padded[place, column + 2].astype(np.int64)


def largest(values: npt.NDArray[Any], n: int) -> IntArray:
    """Places of the `n` largest values, descending; of equal ones the first. Without sorting all of them."""
    if len(values) <= n:
        return np.argsort(-values, kind="stable")
    hopeful = np.flatnonzero(values >= np.partition(values, -n)[-n])
    return np.asarray(hopeful[np.argsort(-values[hopeful], kind="stable")[:n]])


def rounded(rate: float) -> float:
    return round(float(min(rate, MAX_RATE)), 4)


def base_rate(evidence: Evidence, firing: Firing, tokens: Collection[int]) -> float:
    """Rate on tokens without a rule: the firing that rules leave over, spread thin because it is mostly chance."""
    counts = evidence.background.token_counts
    ruled = np.fromiter(tokens, dtype=np.int64, count=len(tokens))
    left_over = firing.weight[~np.isin(firing.token, ruled)].sum()
    return rounded((left_over + 0.1) / max(counts.sum() - counts[ruled].sum(), 1))


def context_words(evidence: Evidence, firing: Firing, rules: Pattern) -> tuple[tuple[str, float], ...]:
    """Words that stand more, or less, often in firing windows than where the rules alone predict firing."""
    windows = evidence.windows
    logits = log_odds(rules, windows, np.arange(len(windows)))
    chance = 1 / (1 + np.exp(-logits))
    chance *= firing.window_weight.sum() / max(chance.sum(), 1e-9)
    stands = presence(windows)
    expected = stands.T @ chance
    seen = stands[firing.window_row].T @ firing.window_weight
    weight = np.log((seen + WORD_PRIOR) / (expected + WORD_PRIOR))
    gain = np.abs(weight) * (seen + expected)
    best = largest(gain, MAX_CONTEXT_WORDS)
    clipped = np.clip(weight, -MAX_WORD_WEIGHT, MAX_WORD_WEIGHT)
    return tuple((windows.vocabulary[i], round(float(clipped[i]), 3)) for i in best if abs(weight[i]) > 0.1)


@lru_cache(maxsize=2)
def presence(windows: Windows) -> sparse.csr_matrix:
    """1 where a token stands in a window, [n, vocabulary]; made once for all features."""
    return sparse.csr_matrix(token_counts(windows.tokens, len(windows.vocabulary)) > 0, dtype=np.float64)
