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
from labeling.llm._prices import Prices
from labeling.types import Completion

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
    times: float = 1.0
    """How many like it are asked."""
    label_guessed: bool = False
    """Whether a label of typical length stands in it."""


@dataclass(frozen=True)
class LabelLength:
    """Of a label that is not written yet."""

    characters: float = 60.0
    """12 words are asked for."""
    error: float = 25.0
    """One standard error."""


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
    label: LabelLength | None,
    cost_usd: Callable[[float, float], float],
) -> Totals:
    """Totals over `n_features` from the questions of those that were rendered, one entry a feature.

    `label` is the length of guessed labels, None where there are none; `cost_usd` the price of prompt and output
    tokens, which must be proportional to both.
    """
    rows = np.array([_row(questions, seen) for questions in rendered], dtype=float).reshape(-1, 4)
    costs = np.array([cost_usd(read, written) for _, read, written, _ in rows])
    requests, read, written, guessed = (_total(rows[:, column], n_features) for column in range(4))
    of_labels = guessed.value * label.error * _tokens_per_character(seen) if label is not None else 0.0
    prompt_guess = math.hypot(read.value * prompt_error(seen), of_labels)
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


def label_length(known: Sequence[str]) -> LabelLength:
    """As long as the labels that are written, where there are some."""
    if len(known) < 2:
        return LabelLength()
    lengths = np.array([len(text) for text in known], dtype=float)
    return LabelLength(float(lengths.mean()), float(lengths.std(ddof=1)) / math.sqrt(len(lengths)))


def price_of_tokens(
    table: Prices, model: str, cached_share: float, *, in_batch: bool
) -> Callable[[float, float], float]:
    """US dollars of prompt and output tokens; 0 where the price is not known."""

    def one_token(read: int, cached: int, written: int) -> float:
        million = Completion("", "", 10**6 * read, 10**6 * cached, 10**6 * written, latency_seconds=0.0, batch=in_batch)
        return (table.cost_usd(model, million) or 0.0) / 10**6

    plain, from_cache, output = one_token(1, 0, 0), one_token(1, 1, 0), one_token(0, 0, 1)
    prompt = plain * (1 - cached_share) + from_cache * cached_share
    return lambda read, written: prompt * read + output * written


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
