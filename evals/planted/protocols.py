"""How other systems choose windows and make a number of them, in our words, on a population that is wholly known.

From the descriptions in their papers and what their programs do; none of their code. Each takes a feature's activations in
all windows and gives rows to judge; each makes its score from the grades of those rows. What is known against them stands
beside them and is left as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from evals.items import Float
from labeling.types import FloatArray, IntArray

YES = 0.5


@dataclass(frozen=True)
class Drawn:
    """Windows to judge. `n` entries."""

    row: IntArray  # [n]
    activation: FloatArray  # [n] what the protocol takes to be the window's activation
    positive: np.ndarray  # [n] bool: what the protocol takes to fire


@dataclass(frozen=True)
class Protocol:
    """One way to choose windows and to score their grades 0-1 [n]. `draw` is given the number of windows wanted."""

    name: str
    windows: int
    """As its authors use it."""
    windows_per_request: int
    draw: Callable[[FloatArray, float, int, np.random.Generator], Drawn]
    """Takes activations [W], the threshold of firing, how many windows, and a generator."""
    score: Callable[[Drawn, Float], float]


def draw_quantiles_and_random(activation: FloatArray, tau: float, windows: int, rng: np.random.Generator) -> Drawn:
    """Half firing windows, a tenth from each activation decile of them; half windows that do not fire.

    As delphi's detection: random negatives only.
    """
    firing, silent = np.flatnonzero(activation > tau), np.flatnonzero(activation <= tau)
    ordered = firing[np.argsort(activation[firing], kind="stable")]
    half, parts = windows // 2, min(10, windows // 2)
    chosen = [
        rng.permutation(part)[: half // parts + (i < half % parts)]
        for i, part in enumerate(np.array_split(ordered, parts))
    ]
    others = rng.permutation(silent)[: windows - half]
    return _drawn(np.concatenate([*chosen, others]), activation, sum(map(len, chosen)))


def draw_few_of_each(activation: FloatArray, tau: float, windows: int, rng: np.random.Generator) -> Drawn:  # noqa: ARG001
    """A seventh strongest windows, a seventh drawn by squared activation, the rest any windows, taken to be silent.

    As SAEBench: 2 + 2 + 10 of 14. That the random ones are silent is never checked.
    """
    few = max(1, windows // 7)
    by_strength = np.argsort(-activation, kind="stable")
    top = by_strength[:few]
    weight = activation.astype(np.float64) ** 2
    weight[top] = 0
    n_left = min(few, int((weight > 0).sum()))
    weighted = rng.choice(len(weight), size=n_left, replace=False, p=weight / weight.sum()) if n_left else top[:0]
    others = rng.choice(len(weight), size=windows - few - n_left, replace=False)
    row = np.concatenate([top, weighted, others])
    positive = np.arange(len(row)) < few + n_left
    return Drawn(row, np.where(positive, activation[row], 0.0).astype(np.float32), positive)


def draw_top_and_random(activation: FloatArray, tau: float, windows: int, rng: np.random.Generator) -> Drawn:
    """Half strongest windows, half any windows, as in Bills et al.'s top-and-random scoring."""
    half = windows // 2
    top = np.argsort(-activation, kind="stable")[:half]
    others = rng.choice(len(activation), size=windows - half, replace=False)
    row = np.concatenate([top, others])
    return Drawn(row, activation[row], activation[row] > tau)


def balanced_accuracy(drawn: Drawn, grades: Float) -> float:
    """Mean of recall and true negative rate of yes; NaN where a side has no window."""
    yes, positive = grades >= YES, drawn.positive
    if positive.all() or not positive.any():
        return float("nan")
    return float((yes[positive].mean() + 1 - yes[~positive].mean()) / 2)


def accuracy(drawn: Drawn, grades: Float) -> float:
    """Share of right answers; always no gets ten in fourteen."""
    return float(((grades >= YES) == drawn.positive).mean())


def correlation(drawn: Drawn, grades: Float) -> float:
    """Pearson's correlation of grade and activation; NaN where one of them is constant."""
    if np.ptp(grades) == 0 or np.ptp(drawn.activation) == 0:
        return float("nan")
    return float(np.corrcoef(grades, drawn.activation)[0, 1])


DELPHI = Protocol("delphi-like", 100, 5, draw_quantiles_and_random, balanced_accuracy)
SAEBENCH = Protocol("SAEBench-like", 14, 14, draw_few_of_each, accuracy)
TOP_AND_RANDOM = Protocol("top-and-random", 100, 20, draw_top_and_random, correlation)
PROTOCOLS = (DELPHI, SAEBENCH, TOP_AND_RANDOM)


def _drawn(row: IntArray, activation: FloatArray, n_positive: int) -> Drawn:
    return Drawn(row, activation[row], np.arange(len(row)) < n_positive)
