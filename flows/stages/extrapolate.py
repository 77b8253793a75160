"""From the questions about a few features to what all would ask and cost, each total with its standard error. Pure.

Two kinds of error are kept apart. That of the draw, because only some features were rendered, averages out over things
that are estimated by themselves. That of a guess does not: how many tokens a model makes of a text, how long its
answers are and how long labels will be is the same guess everywhere.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from flows.stages.billed import Billed

CHARACTERS_PER_TOKEN = 4
UNBILLED_PROMPT_ERROR = 0.2
"""Share by which characters / 4 may be off, one standard error, before any bill: tokenizers take 3.3 to 5 of English."""
UNBILLED_OUTPUT_ERROR = 0.5
"""The same of the tokens of an answer: models that think first write far more than the answer itself."""


@dataclass(frozen=True)
class Figure:
    """A total over all features."""

    value: float
    error: float
    """One standard error of everything."""
    of_guesses: float = 0.0
    """The part of it that comes from guesses."""


@dataclass(frozen=True)
class Question:
    """A request that is not answered yet."""

    characters: int
    """Of its prompt."""
    output_tokens: float
    """Guess; what earlier answers took counts where there are any."""
    times: int = 1
    """How many like it are asked."""
    label_guessed: bool = False
    """Whether a label of typical length stands in it."""


@dataclass(frozen=True)
class Totals:
    requests: Figure
    prompt_tokens: Figure
    output_tokens: Figure
    cost_usd: Figure


def extrapolate(
    rendered: Sequence[Sequence[Question]],
    *,
    n_features: int,
    seen: Billed,
    label_error_characters: float,
    cost_usd: Callable[[float, float], float],
) -> Totals:
    """Totals over `n_features` from the questions of those that were rendered, one entry a feature.

    `label_error_characters` is the standard error of the length of a guessed label; `cost_usd` the price of prompt
    and output tokens, which must be proportional to both.
    """
    rows = np.array([_row(questions, seen) for questions in rendered], dtype=float).reshape(-1, 4)
    costs = np.array([cost_usd(read, written) for _, read, written, _ in rows])
    requests, read, written, guessed = (_total(rows[:, column], n_features) for column in range(4))
    prompt_guess = math.hypot(
        read.value * prompt_error(seen), guessed.value * label_error_characters * _tokens_per_character(seen)
    )
    output_guess = written.value * output_error(seen)
    cost_guess = math.hypot(cost_usd(prompt_guess, 0.0), cost_usd(0.0, output_guess))
    return Totals(
        requests=requests,
        prompt_tokens=_with_guess(read, prompt_guess),
        output_tokens=_with_guess(written, output_guess),
        cost_usd=_with_guess(_total(costs, n_features), cost_guess),
    )


def add(figures: Sequence[Figure]) -> Figure:
    """The sum: draws are independent, guesses are the same ones."""
    guess = sum(figure.of_guesses for figure in figures)
    draw = math.sqrt(sum(figure.error**2 - figure.of_guesses**2 for figure in figures))
    return Figure(sum(figure.value for figure in figures), math.hypot(draw, guess), guess)


def prompt_error(seen: Billed) -> float:
    """Standard error of the tokens of a prompt, as a share of them."""
    if seen.ratio is None or seen.ratio_error is None:
        return UNBILLED_PROMPT_ERROR
    return seen.ratio_error / seen.ratio


def output_error(seen: Billed) -> float:
    """Standard error of the tokens of an answer, as a share of them."""
    if not seen.output_tokens or seen.output_error is None:
        return UNBILLED_OUTPUT_ERROR
    return seen.output_error / seen.output_tokens


def _tokens_per_character(seen: Billed) -> float:
    return (seen.ratio or 1.0) / CHARACTERS_PER_TOKEN


def _row(questions: Sequence[Question], seen: Billed) -> tuple[float, float, float, float]:
    """Requests, prompt tokens, output tokens and guessed labels of one feature."""
    written = [q.output_tokens if seen.output_tokens is None else seen.output_tokens for q in questions]
    return (
        sum(q.times for q in questions),
        sum(q.times * q.characters for q in questions) * _tokens_per_character(seen),
        sum(q.times * tokens for q, tokens in zip(questions, written, strict=True)),
        sum(q.times for q in questions if q.label_guessed),
    )


def _total(values: npt.NDArray[np.float64], n_features: int) -> Figure:
    """Mean times features; the error is that of a simple random sample without replacement."""
    n = len(values)
    if n == 0:
        return Figure(0.0, 0.0)
    error = 0.0 if n < 2 else float(values.std(ddof=1)) * math.sqrt(max(0.0, 1 - n / n_features) / n)
    return Figure(float(values.mean()) * n_features, error * n_features)


def _with_guess(figure: Figure, guess: float) -> Figure:
    return Figure(figure.value, math.hypot(figure.error, guess), guess)
