"""Offline explainer `token_pattern`: which tokens the feature fires on, beside what, as a phrase and as a program.

Rates are shares of a token's occurrences in the `explain` split on which the feature fires: the numerator is estimated
from uniformly drawn firing windows and their weights, the denominator is counted in all text of the split. Words of
the window are then weighed by what the rules alone predict wrongly. Deterministic; asks no model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from labeling.hard_negatives import token_counts
from labeling.pattern_phrases import phrase
from labeling.patterns import MAX_RATE, VERSION, Pattern, Rule, log_odds
from labeling.types import JSON, QUANTILES, Evidence, IntArray, Label, LLMRequest, LLMResult, NoLabel, Windows

FloatVector = npt.NDArray[np.float64]

MAX_TOKENS = 40
MAX_NEIGHBOR_RULES = 40
MAX_RULES_A_TOKEN = 8
"""Rules for one token and one side of it."""
MIN_PAIRS = 3
"""Pairs of tokens that stand together less often get no rule of their own."""
MIN_GAIN = 0.5
"""Positions that a rule for a pair must predict better to be worth stating."""
MAX_CONTEXT_WORDS = 30
RATE_PRIOR = 1.0
"""Occurrences that a token's prior rate counts as."""
NEIGHBOR_PRIOR = 3.0
"""Occurrences that the token's own rate counts as, when a neighbor is asked for."""
WORD_PRIOR = 3.0
"""Windows that "the word changes nothing" counts as."""
MAX_WORD_WEIGHT = 2.0


@dataclass(frozen=True)
class TokenPattern:
    name: str = "token_pattern"
    model: str | None = None

    @property
    def prompt_version(self) -> str:
        return VERSION

    @property
    def parameters(self) -> Mapping[str, JSON]:
        return {}

    def evidence_windows(self, evidence: Evidence) -> IntArray:
        return np.unique(evidence.windows.window[evidence.contexts.row])

    def requests(self, evidence: Evidence) -> tuple[LLMRequest, ...]:  # noqa: ARG002
        return ()

    def problem(self, request: LLMRequest, text: str) -> str | None:  # noqa: ARG002 - protocol
        """Nothing is asked, so nothing can be wrong."""
        return None

    def parse(self, evidence: Evidence, results: Sequence[LLMResult]) -> Label | NoLabel:  # noqa: ARG002
        firing = read_firing(evidence)
        if not len(firing.token):
            return NoLabel("no_firing_window")
        pattern = find_pattern(evidence, firing)
        return Label(text=phrase(pattern, evidence, firing), pattern=pattern.as_json())


def create(*, model: str | None = None, prompt: str | None = None) -> TokenPattern:  # noqa: ARG001
    """Make the explainer. It needs neither model nor prompt."""
    return TokenPattern()


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


def find_pattern(evidence: Evidence, firing: Firing) -> Pattern:
    """Rules for tokens, for tokens beside a neighbor, then words of the window."""
    tokens = _token_rules(evidence, firing)
    base = _base_rate(evidence, firing, tokens)
    beside = _neighbor_rules(evidence, firing, tokens)
    rules = Pattern(tuple(tokens.values()) + beside, (), base)
    return Pattern(rules.rules, _context_words(evidence, firing, rules), base)


def _token_rules(evidence: Evidence, firing: Firing) -> dict[int, Rule]:
    """The tokens with most firing, each with the share of its occurrences that fire."""
    mass = np.bincount(firing.token, weights=firing.weight, minlength=len(evidence.windows.vocabulary))
    prior = evidence.feature.firing_rate
    best = largest(mass, MAX_TOKENS)
    best = best[mass[best] > 0]
    counts = evidence.background.token_counts
    rates = (mass[best] + RATE_PRIOR * prior) / (counts[best] + RATE_PRIOR)
    words = evidence.windows.vocabulary
    return {int(t): Rule(words[t], _rounded(rate)) for t, rate in zip(best, rates, strict=True)}


def largest(values: npt.NDArray[Any], n: int) -> IntArray:
    """Places of the `n` largest values, descending; of equal ones the first. Without sorting all of them."""
    if len(values) <= n:
        return np.argsort(-values, kind="stable")
    hopeful = np.flatnonzero(values >= np.partition(values, -n)[-n])
    return np.asarray(hopeful[np.argsort(-values[hopeful], kind="stable")[:n]])


def _rounded(rate: float) -> float:
    return round(float(min(rate, MAX_RATE)), 4)


def _base_rate(evidence: Evidence, firing: Firing, rules: Mapping[int, Rule]) -> float:
    """Rate on tokens without a rule: the firing that rules leave over, spread thin because it is mostly chance."""
    counts = evidence.background.token_counts
    ruled = np.fromiter(rules, dtype=np.int64)
    left_over = firing.weight[~np.isin(firing.token, ruled)].sum()
    return _rounded((left_over + 0.1) / max(counts.sum() - counts[ruled].sum(), 1))


def _neighbor_rules(evidence: Evidence, firing: Firing, tokens: Mapping[int, Rule]) -> tuple[Rule, ...]:
    """Where the token on the left or right changes the rate most, counted in firing windows."""
    words, found = evidence.windows.vocabulary, list[tuple[float, str, str, str, float]]()
    for side, pairs, here in zip(
        ("left", "right"), pairs_of(evidence.windows), (firing.left, firing.right), strict=True
    ):
        open_tokens = [t for t, rule in tokens.items() if pairs.occurrences[t] >= 5 and rule.rate <= 0.9]
        place = pairs.of(np.array(open_tokens, dtype=np.int64))
        token, other, counted = pairs.token[place], pairs.neighbor[place], pairs.count[place]
        base = np.zeros(len(words))
        base[open_tokens] = [tokens[t].rate for t in open_tokens]
        rate = (pairs.mass(firing.token, here, firing.weight)[place] + NEIGHBOR_PRIOR * base[token]) / (
            counted + NEIGHBOR_PRIOR
        )
        gain = np.asarray(counted * np.abs(np.minimum(rate, MAX_RATE) - base[token]), dtype=np.float64)
        for i in _best_of_each(token, gain):
            here_and_there = (words[other[i]], "") if side == "left" else ("", words[other[i]])
            found.append((-float(gain[i]), words[token[i]], *here_and_there, float(rate[i])))
    return tuple(
        Rule(token, _rounded(rate), left=left or None, right=right or None)
        for _, token, left, right, rate in sorted(found)[:MAX_NEIGHBOR_RULES]
    )[::-1]


def _best_of_each(token: IntArray, gain: FloatVector) -> IntArray:
    """Pairs worth a rule: those of each token with the largest gain, 8 at most. `token` has equal ones together."""
    order = np.lexsort((-gain, token))
    rank = np.arange(len(order)) - np.searchsorted(token[order], token[order])
    return np.asarray(order[(rank < MAX_RULES_A_TOKEN) & (gain[order] >= MIN_GAIN)])


def _context_words(evidence: Evidence, firing: Firing, rules: Pattern) -> tuple[tuple[str, float], ...]:
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


@dataclass(frozen=True)
class Pairs:
    """How often each token stands beside each other one, on one side of it: pairs counted at least MIN_PAIRS times."""

    token: IntArray  # [p] ascending
    neighbor: IntArray  # [p] ascending within a token
    count: IntArray  # [p] windows' positions
    occurrences: IntArray  # [vocabulary] positions of each token, with and without a neighbor

    def of(self, tokens: IntArray) -> IntArray:
        """Places of the pairs of some tokens, ascending."""
        wanted = np.zeros(len(self.occurrences), dtype=np.bool_)
        wanted[tokens] = True
        return np.flatnonzero(wanted[self.token])

    def mass(self, token: IntArray, neighbor: IntArray, weight: FloatVector) -> FloatVector:
        """Total weight of each pair, [p]; `neighbor` is -1 where there is none."""
        size = len(self.occurrences)
        keys = self.token * size + self.neighbor
        seen = token * size + neighbor
        place = np.searchsorted(keys, seen)
        known = (neighbor >= 0) & (place < len(keys))
        known[known] = keys[place[known]] == seen[known]
        return np.bincount(place[known], weights=weight[known], minlength=len(keys)).astype(np.float64)


@lru_cache(maxsize=2)
def pairs_of(windows: Windows) -> tuple[Pairs, Pairs]:
    """Pairs of each token with the one on its left, and on its right; made once for all features."""
    size = len(windows.vocabulary)
    row, column = np.nonzero(windows.tokens >= 0)
    token = windows.tokens[row, column].astype(np.int64)
    occurrences = np.bincount(token, minlength=size)

    def count(neighbor: IntArray) -> Pairs:
        keys, counts = np.unique((token * size + neighbor)[neighbor >= 0], return_counts=True)
        often = counts >= MIN_PAIRS
        return Pairs(keys[often] // size, keys[often] % size, counts[often], occurrences)

    left, right = neighbor_tokens(windows, row, column)
    return count(left), count(right)


@lru_cache(maxsize=2)
def presence(windows: Windows) -> sparse.csr_matrix:
    """1 where a token stands in a window, [n, vocabulary]; made once for all features."""
    return sparse.csr_matrix(token_counts(windows.tokens, len(windows.vocabulary)) > 0, dtype=np.float64)
