"""Offline explainer `token_pattern`: which tokens the feature fires on, beside what, as a phrase and as a program.

Rates are shares of a token's occurrences in the `explain` split on which the feature fires: the numerator is estimated
from uniformly drawn firing windows and their weights, the denominator is counted in all text of the split. Words of
the window are then weighed by what the rules alone predict wrongly. Deterministic; asks no model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy import sparse

from labeling.hard_negatives import token_incidence
from labeling.pattern_phrases import phrase
from labeling.patterns import MAX_RATE, VERSION, Pattern, Rule, log_odds
from labeling.types import JSON, QUANTILES, Evidence, IntArray, Label, LLMRequest, LLMResult, NoLabel, Windows

FloatVector = npt.NDArray[np.float64]

MAX_TOKENS = 40
MAX_NEIGHBOR_RULES = 40
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
    best = np.argsort(-mass, kind="stable")[:MAX_TOKENS]
    best = best[mass[best] > 0]
    counts = evidence.background.token_counts
    rates = (mass[best] + RATE_PRIOR * prior) / (counts[best] + RATE_PRIOR)
    words = evidence.windows.vocabulary
    return {int(t): Rule(words[t], _rounded(rate)) for t, rate in zip(best, rates, strict=True)}


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
    found: list[tuple[float, Rule]] = []
    index = positions_of(evidence.windows)
    words = evidence.windows.vocabulary
    for token, rule in tokens.items():
        row, column = index.of(token)
        if len(row) < 5 or rule.rate > 0.9:
            continue
        fires = firing.token == token
        for side, (there, here) in enumerate(
            zip(neighbor_tokens(evidence.windows, row, column), (firing.left, firing.right), strict=True)
        ):
            counted = np.bincount(there[there >= 0], minlength=len(words))
            mass = np.bincount(
                here[fires & (here >= 0)], weights=firing.weight[fires & (here >= 0)], minlength=len(words)
            )
            near = np.flatnonzero(counted >= 3)
            rate = (mass[near] + NEIGHBOR_PRIOR * rule.rate) / (counted[near] + NEIGHBOR_PRIOR)
            gain = counted[near] * np.abs(np.minimum(rate, MAX_RATE) - rule.rate)
            for place in np.argsort(-gain, kind="stable")[:8]:
                other, value = words[near[place]], _rounded(rate[place])
                sides = {"left": other} if side == 0 else {"right": other}
                found.append((float(gain[place]), Rule(rule.token, value, **sides)))
    found.sort(key=lambda item: (-item[0], item[1].token, item[1].left or "", item[1].right or ""))
    return tuple(rule for gain, rule in found[:MAX_NEIGHBOR_RULES] if gain >= 0.5)[::-1]


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
    best = np.argsort(-gain, kind="stable")[:MAX_CONTEXT_WORDS]
    clipped = np.clip(weight, -MAX_WORD_WEIGHT, MAX_WORD_WEIGHT)
    return tuple((windows.vocabulary[i], round(float(clipped[i]), 3)) for i in best if abs(weight[i]) > 0.1)


@dataclass(frozen=True)
class Positions:
    """Where each token of the vocabulary stands."""

    row: IntArray
    column: IntArray
    offset: IntArray  # [vocabulary + 1]

    def of(self, token: int) -> tuple[IntArray, IntArray]:
        span = slice(self.offset[token], self.offset[token + 1])
        return self.row[span], self.column[span]


@lru_cache(maxsize=2)
def positions_of(windows: Windows) -> Positions:
    """Index of all tokens of the windows; made once for all features."""
    row, column = np.nonzero(windows.tokens >= 0)
    token = windows.tokens[row, column]
    order = np.argsort(token, kind="stable")
    offset = np.searchsorted(token[order], np.arange(len(windows.vocabulary) + 1))
    return Positions(row[order], column[order], offset)


@lru_cache(maxsize=2)
def presence(windows: Windows) -> sparse.csr_matrix:
    """1 where a token stands in a window, [n, vocabulary]; made once for all features."""
    return sparse.csr_matrix(token_incidence(windows) > 0, dtype=np.float64)
