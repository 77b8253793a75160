"""From places where a concept holds to activations: one shape a function.

binary: 1 wherever it holds. graded: log-normal, 2.2 times as strong on a sub-concept, so that the strongest windows
mislead. noisy: graded with a tenth of the places missed, and spurious activations in 0.1-1 % of windows. delayed: one to
three tokens after the place. rare: graded on a few of the places only. Holes, mixtures and dense features are made by
handing other places to `graded`. Numbers are raw activations; nothing here knows text.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from evals.planted.extents import BoolArray, Occurrences
from labeling.types import FloatArray, IntArray

STRENGTH_SIGMA, SUB_CONCEPT_GAIN = 0.5, 2.2
MISSED = 0.1
SPURIOUS_WINDOWS = (0.001, 0.01)
"""Share of windows with a spurious activation: between these, log-uniform, one value a feature."""
MOST_DELAY = 3
WINDOW_TOKENS = 32


@dataclass(frozen=True)
class Activations:
    """Tokens, numbered through all documents, each once and ascending, with raw activations above 0."""

    token: IntArray  # [n]
    value: FloatArray  # [n]


Shape = Callable[[Occurrences, BoolArray, int, np.random.Generator], Activations]
"""Takes the places, which of them are of the sub-concept, the number of tokens, and a generator."""


def binary(places: Occurrences, sub: BoolArray, n_tokens: int, generator: np.random.Generator) -> Activations:  # noqa: ARG001
    """The same activation everywhere."""
    return _spread(places, np.ones(len(places)))


def graded(places: Occurrences, sub: BoolArray, n_tokens: int, generator: np.random.Generator) -> Activations:  # noqa: ARG001
    """A strength a place, log-normal, larger on the sub-concept."""
    return _spread(places, _strengths(sub, generator))


def noisy(places: Occurrences, sub: BoolArray, n_tokens: int, generator: np.random.Generator) -> Activations:
    """Graded, with misses and with spurious activations on single tokens."""
    kept = generator.random(len(places)) >= MISSED
    found = _spread(Occurrences(places.first[kept], places.end[kept]), _strengths(sub[kept], generator))
    low, high = np.log(SPURIOUS_WINDOWS)
    n_spurious = round(np.exp(generator.uniform(low, high)) * n_tokens / WINDOW_TOKENS)
    token = generator.choice(n_tokens, size=n_spurious, replace=False)
    return _strongest(
        np.concatenate([found.token, token]),
        np.concatenate([found.value, generator.lognormal(sigma=STRENGTH_SIGMA, size=n_spurious)]),
    )


def delayed(places: Occurrences, sub: BoolArray, n_tokens: int, generator: np.random.Generator) -> Activations:
    """Graded, on one token one to three after the end of the place."""
    token = places.end - 1 + generator.integers(1, MOST_DELAY + 1, size=len(places))
    here = token < n_tokens
    return _strongest(token[here], _strengths(sub, generator)[here])


def rare(places: Occurrences, sub: BoolArray, n_tokens: int, generator: np.random.Generator) -> Activations:
    """Graded, on about one token in ten thousand."""
    wanted = max(1, round(1e-4 * n_tokens))
    some = np.sort(generator.permutation(len(places))[:wanted])
    first = places.first[some]
    return graded(Occurrences(first, first + 1), sub[some], n_tokens, generator)


def _strengths(sub: BoolArray, generator: np.random.Generator) -> FloatArray:
    strength = generator.lognormal(sigma=STRENGTH_SIGMA, size=len(sub))
    return np.asarray(strength * np.where(sub, SUB_CONCEPT_GAIN, 1.0), np.float32)


def _spread(places: Occurrences, strength: np.ndarray) -> Activations:
    """The strength of a place on each of its tokens."""
    lengths = places.end - places.first
    starts = np.repeat(places.first - (np.cumsum(lengths) - lengths), lengths)
    return _strongest(starts + np.arange(lengths.sum()), np.repeat(strength, lengths))


def _strongest(token: IntArray, value: np.ndarray) -> Activations:
    """Each token once, with the largest of its values."""
    order = np.lexsort((-value, token))
    token, value = token[order], value[order]
    first = np.ones(len(token), np.bool_)
    first[1:] = token[1:] != token[:-1]
    return Activations(token[first].astype(np.int64), value[first].astype(np.float32))
