"""Offline explainer `ngram`: a pruned trie of n-grams around the tokens the feature fires on, as phrase and as program.

After N2G (Foote et al. 2023; Gao et al. 2024), without their queries to the model: a node is a token with some of its
surroundings, tokens at other places are wildcards, and its rate is counted in all text of the `explain` split. A node
is split where a token nearby tells best where the feature fires (by log likelihood); splits that do not pay for their
length are pruned. Deterministic; asks no model.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from labeling.explainers._firing import Firing, FloatVector, base_rate, context_words, largest, read_firing, rounded
from labeling.ngram_phrases import phrase
from labeling.patterns import MAX_RATE, Pattern, Rule
from labeling.patterns import VERSION as PATTERN_VERSION
from labeling.types import JSON, Evidence, IntArray, Label, LLMRequest, LLMResult, NoLabel, Windows

VERSION = "1"
"""Raise it when the same evidence gives another trie."""
DISTANCES = (-4, -3, -2, -1, 1, 2)
"""Where an n-gram may reach from the firing token, in tokens: most models read to the left only, some both ways."""
MAX_TOKENS = 40
"""Tokens with a trie of their own, those with most firing."""
MAX_ASKED = 3
"""Other tokens an n-gram may ask for."""
MAX_CHILDREN = 8
"""Longer n-grams directly below one."""
MIN_OCCURRENCES = 2
"""Occurrences of an n-gram in the split below which nothing is said of it."""
PRICE = 1.0
"""What a node costs in units of log likelihood, besides the logarithm of how many it was chosen from: of many tokens the
best one says something by chance (minimum description length)."""
MIN_RATE = 1e-5
RATE_PRIOR = 1.0
"""Occurrences that the rate of the shorter n-gram counts as."""


@dataclass(frozen=True)
class Ngram:
    name: str = "ngram"
    model: str | None = None

    @property
    def prompt_version(self) -> str:
        return f"{PATTERN_VERSION}.{VERSION}"

    @property
    def parameters(self) -> Mapping[str, JSON]:
        return {"reach": [DISTANCES[0], DISTANCES[-1]], "max_asked": MAX_ASKED}

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
        trie = grow_trie(evidence, firing)
        rules = tuple(rule for root in trie for rule in rules_of(root, evidence.windows.vocabulary))
        bare = Pattern(rules, (), base_rate(evidence, firing, [root.token for root in trie]))
        pattern = replace(bare, context=context_words(evidence, firing, bare))
        return Label(text=phrase(pattern.rules, evidence, firing), pattern=pattern.as_json())


def create() -> Ngram:
    """Make the explainer. It needs no settings."""
    return Ngram()


@dataclass(frozen=True)
class Node:
    """An n-gram: a token with what it asks for around it."""

    token: int
    asks: tuple[tuple[int, int], ...]
    """Distance and token, in the order they were asked for."""
    rate: float
    """Share 0-1 of its occurrences on which the feature fires, those of its children left out."""
    worth: float
    """Log likelihood gained by it and what is below it, less what they cost."""
    children: tuple[Node, ...] = field(default=())
    """Where one occurrence fits several, the first counts."""


def rules_of(node: Node, vocabulary: Sequence[str]) -> Iterator[Rule]:
    """Rules of a node and those below it, in the order in which the later one counts."""
    asks = dict(node.asks)
    far = tuple((distance, vocabulary[token]) for distance, token in sorted(asks.items()) if abs(distance) > 1)
    left, right = (vocabulary[asks[distance]] if distance in asks else None for distance in (-1, 1))
    yield Rule(vocabulary[node.token], rounded(node.rate), left, right, far)
    for child in reversed(node.children):
        yield from rules_of(child, vocabulary)


def grow_trie(evidence: Evidence, firing: Firing) -> tuple[Node, ...]:
    """A pruned tree for each of the tokens with most firing, the most firing first."""
    text = text_of(evidence.windows)
    by_token = np.bincount(firing.token, weights=firing.weight, minlength=len(evidence.windows.vocabulary))
    tokens = largest(by_token, MAX_TOKENS)
    growth = _Growth(text, text.spread(firing), len(firing.token) / firing.weight.sum())
    prior = evidence.feature.firing_rate
    return tuple(growth.grow(int(token), text.places_of(int(token)), prior) for token in tokens[by_token[tokens] > 0])


@dataclass(frozen=True)
class _Growth:
    """Grows the trees of one feature."""

    text: Text
    mass: FloatVector  # [flat places] positions of the split that fire, by place
    drawn_share: float
    """Firing positions looked at, of those they stand for: evidence counts as much as was seen of it."""

    def grow(self, token: int, places: IntArray, prior: float, asks: tuple[tuple[int, int], ...] = ()) -> Node:
        """The node of these occurrences, with the children worth having. `prior` is the rate of the shorter n-gram."""
        children, free = list[Node](), [d for d in DISTANCES if d not in dict(asks)] if len(asks) < MAX_ASKED else []
        fires = self.mass[places]
        while free and len(children) < MAX_CHILDREN:
            split = self._best_split(places, fires, free, prior)
            if split is None:
                break
            inside = self.text.flat[places + split.distance] == split.token
            rate = shrunk(fires.sum(), len(places), prior)
            child = self.grow(token, places[inside], float(rate), (*asks, (split.distance, split.token)))
            worth = child.worth + split.gain
            if worth <= 0:
                break
            children.append(replace(child, worth=worth))
            places, fires = places[~inside], fires[~inside]
        rate = shrunk(fires.sum(), len(places), prior)
        return Node(token, asks, float(rate), sum(child.worth for child in children), tuple(children))

    def _best_split(self, places: IntArray, fires: FloatVector, free: Sequence[int], prior: float) -> Split | None:
        """The token at a free distance that tells most about where the feature fires; None when nothing can pay."""
        n, f = len(places), fires.sum()
        before = log_likelihood(f, n, prior)
        if -before * self.drawn_share <= PRICE:  # a perfect split would gain no more than this
            return None
        near = self.text.flat[places + np.array(free)[:, None]].astype(np.int64)
        size = self.text.vocabulary_size
        keys = (
            near + np.arange(len(free))[:, None] * (size + 1) + 1
        ).ravel()  # an edge of the window has the first key
        counts = np.bincount(keys, minlength=len(free) * (size + 1))
        counts[:: size + 1] = 0
        often = np.flatnonzero((counts >= MIN_OCCURRENCES) & (counts < n))
        if not len(often):
            return None
        fired = np.bincount(keys, weights=np.broadcast_to(fires, near.shape).ravel(), minlength=len(counts))[often]
        rate = float(shrunk(f, n, prior))
        gain = log_likelihood(fired, counts[often], rate) + log_likelihood(f - fired, n - counts[often], rate) - before
        best = int(gain.argmax())
        distance, token = divmod(int(often[best]), size + 1)
        price = PRICE + math.log(len(often))
        return Split(free[distance], token - 1, float(gain[best]) * self.drawn_share - price)


@dataclass(frozen=True)
class Split:
    """Occurrences with a token at a distance, apart from those without."""

    distance: int
    token: int
    gain: float
    """Log likelihood, less the price of the split."""


def shrunk(fires: npt.ArrayLike, n: npt.ArrayLike, prior: float) -> FloatVector:
    """Rates, pulled toward that of the shorter n-gram."""
    rate = (np.asarray(fires) + RATE_PRIOR * prior) / (np.asarray(n) + RATE_PRIOR)
    return np.clip(rate, MIN_RATE, MAX_RATE)


def log_likelihood(fires: npt.ArrayLike, n: npt.ArrayLike, prior: float) -> FloatVector:
    """Of occurrences of which some fire, at their shrunk rate. More mass than occurrences counts as all of them."""
    f, rate = np.minimum(fires, n), shrunk(fires, n, prior)
    return np.asarray(f * np.log(rate) + (n - f) * np.log1p(-rate))


@dataclass(frozen=True)
class Text:
    """All text of the split as one array, with room around each window, so that distances never cross into another."""

    flat: npt.NDArray[np.int32]
    """Index into the vocabulary; -1 between windows."""
    stride: int
    order: IntArray
    """Places of tokens, ordered by token."""
    starts: IntArray  # [vocabulary + 1] where each token's places begin in `order`

    @property
    def vocabulary_size(self) -> int:
        return len(self.starts) - 1

    def places_of(self, token: int) -> IntArray:
        return self.order[self.starts[token] : self.starts[token + 1]]

    def spread(self, firing: Firing) -> FloatVector:
        """Positions that fire, by place."""
        mass = np.zeros(len(self.flat))
        np.add.at(mass, firing.row * self.stride + firing.column - DISTANCES[0], firing.weight)
        return mass


@lru_cache(maxsize=2)
def text_of(windows: Windows) -> Text:
    """Made once for all features."""
    n, width = windows.tokens.shape
    stride = width - DISTANCES[0] + DISTANCES[-1]
    padded = np.full((n, stride), -1, dtype=np.int32)
    padded[:, -DISTANCES[0] : width - DISTANCES[0]] = windows.tokens
    flat = padded.ravel()
    places = np.flatnonzero(flat >= 0)
    order = places[np.argsort(flat[places], kind="stable")]
    starts = np.searchsorted(flat[order], np.arange(len(windows.vocabulary) + 1))
    return Text(flat, stride, order, starts)
