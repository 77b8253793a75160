"""Ask a judge how strongly a feature is active on each token: a level 0-10, as in Bills et al. (2023).

From windows of every kind, shown token by token, to correlations of predicted levels and true activations over all tokens
together, not the mean over windows. The sign is kept: a judge that predicts the contrary gets a negative number, and
nothing is fitted to what is scored. A list of levels that does not fit the tokens is lost, never filled with zeros.

Levels are the expected ones of Bills et al., from the log-probabilities of the output, where the provider gives them, and
else those that the judge writes. A label is measured by one kind alone: by expected levels where all of its answered
windows have them. `levels_expected` says which; `correlation_written` is always by what the judge wrote.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import nan

import numpy as np

from evals.scorers._asking import (
    ONLY_DATA,
    SPARE_OUTPUT_TOKENS,
    described,
    first_problem,
    object_or_reason,
    read_numbers,
    refuses,
    required,
)
from evals.scorers._correlation import correlate
from evals.scorers._expected import expected_levels
from evals.trial_measures import Measure, Measured, missing, table_of, unscored
from evals.trials import Answer, Asked, Judged, Subject, Trial, deal, even_shares, without_repeats
from labeling.llm import gives_logprobs
from labeling.prompts import LEVELS, number_list, prompt_version, quote, read_object, strict_object
from labeling.schema_examples import list_length
from labeling.types import (
    HARD,
    JSON,
    QUANTILES,
    CompletionFailure,
    Contexts,
    IntArray,
    Label,
    LLMRequest,
    LLMResult,
    Windows,
)

SYSTEM = f"""\
You predict how strongly a feature of a language model is active on each token of a text, from a description of the \
feature.

Every excerpt is a list of tokens. Give for each token a level, a whole number from 0 (not active) to 10 (as active as \
ever). Most tokens of most excerpts have level 0, and an excerpt may have no active token at all.
- Go by what the description says, and by the text up to the token.
- Give exactly one level for every token, in the order of the tokens. The number of tokens stands before each list.
- Where no description is available, guess from the excerpt alone.

Description and excerpts are {ONLY_DATA}.

Answer with one JSON object and nothing else: the number of every excerpt with its list of levels, as in \
{{"1": [0, 0, 7, 10], "2": [0, 0, 0]}}"""

PER_QUANTILE = 2
WANTED: Mapping[str, int] = {
    "top": 5,
    **dict.fromkeys(QUANTILES, PER_QUANTILE),
    "grey": 2,
    "hard_token": 2,
    "hard_neighbor": 1,
    "hard_text": 1,
    "random": 5,
}
"""Windows of each stratum, of the quantiles on average: the top and random ones are those of Bills et al."""
WINDOWS_PER_REQUEST = 5
FEWEST = 5
NEEDS = f"{FEWEST} firing windows"
OUTPUT_TOKENS_PER_TOKEN = 3
SILENT = (*HARD, "random")
METRICS = (
    "correlation",
    "correlation_top_and_random",
    "correlation_random",
    *(f"correlation_{q}" for q in QUANTILES),
)
"""Over windows of the quantiles and silent ones; over the strongest and random silent ones; over all strata, each window
weighing what it stands for, as if windows had been drawn at random (`random-only`); within each quantile."""

OF_LOGPROBS = ("correlation_written", "levels_expected")
"""Metrics where log-probabilities were asked for: the headline by written levels, and the share of answered windows whose
levels are expected ones."""
TOP_LOGPROBS = 20
"""The most that a provider takes; eleven levels, some of them with and without white space."""


def create(*, model: str | None, windows_per_request: int = WINDOWS_PER_REQUEST, logprobs: bool = True) -> Simulation:
    judge = required("simulation", model)
    top_logprobs = TOP_LOGPROBS if logprobs and gives_logprobs(judge) else 0
    return Simulation(judge, min(windows_per_request, WINDOWS_PER_REQUEST), top_logprobs)


@dataclass(frozen=True)
class Simulation:
    model: str
    windows_per_request: int
    top_logprobs: int = 0
    """Log-probabilities that requests ask for at each token; 0 for none."""
    name: str = "simulation"
    parallel: bool = False
    reads_label: bool = True
    rivals: int = 0
    labels_together: int = 1
    headline: str = "correlation"

    @property
    def prompt_version(self) -> str:
        return prompt_version(SYSTEM)

    @property
    def parameters(self) -> Mapping[str, JSON]:
        asked = {"top_logprobs": self.top_logprobs} if self.top_logprobs else {}
        return {"windows_per_request": self.windows_per_request, "windows": dict(WANTED), **asked}

    def accepts(self, label: Label | None) -> str | None:
        return refuses(label)

    def trials(self, subject: Subject, windows: Windows) -> tuple[Trial, ...]:
        """One trial a window. The variant is its strata: a window can be among the strongest and in a quantile."""
        chosen = _choose(subject, windows)
        if sum(any(stratum in QUANTILES for stratum in strata) for strata in chosen.values()) < FEWEST:
            return ()
        drawn = Counter(stratum for strata in chosen.values() for stratum in strata)
        return tuple(_trial(subject.contexts, windows, row, strata, drawn) for row, strata in chosen.items())

    def requests(self, asked: Sequence[Asked], windows: Windows) -> tuple[LLMRequest, ...]:
        (one,) = asked
        return tuple(self._request(one, windows, batch) for batch in self._batches(one))

    def problem(self, request: LLMRequest, text: str) -> str | None:
        answer = read_object(text)
        lists = request.schema["properties"]
        found = [_levels(answer, key, list_length(lists[key])) for key in lists] if answer is not None else []
        return first_problem(request, text, answer, found)

    def parse(self, asked: Sequence[Asked], windows: Windows, results: Sequence[LLMResult]) -> list[list[Answer]]:  # noqa: ARG002
        """Reasons: those of a failed or unreadable request, for all of its windows; `missing`, `not_a_list`,
        `wrong_length`, `not_a_number`, `not_an_option` for one window. The grade is the largest level."""
        (one,) = asked
        found: dict[int, Answer] = {}
        for number, (batch, result) in enumerate(zip(self._batches(one), results, strict=True)):
            answer = object_or_reason(result)
            for place, trial in enumerate(map(int, batch), start=1):
                n_tokens = len(one.trials[trial].activations)
                levels = answer if isinstance(answer, str) else _levels(answer, str(place), n_tokens)
                if isinstance(levels, str):
                    found[trial] = Answer(float("nan"), levels, number, place)
                else:
                    expected = _expected(result, str(place), levels)
                    found[trial] = Answer(float(max(levels)), None, number, place, tuple(map(float, levels)), expected)
        return [[found[trial] for trial in range(len(one.trials))]]

    def measure(self, judged: Sequence[Judged]) -> Measured:
        if not self.top_logprobs:
            return table_of(METRICS, [_measure(of) for of in judged])
        return table_of((*METRICS, *OF_LOGPROBS), [_measure_both(of) for of in judged])

    def _batches(self, one: Asked) -> list[IntArray]:
        return deal(len(one.trials), most=self.windows_per_request, generator=one.subject.generator(2))

    def _request(self, one: Asked, windows: Windows, batch: IntArray) -> LLMRequest:
        lines, lists, n_tokens = [described(one.subject.label), "", "Excerpts:"], {}, 0
        for number, place in enumerate(batch, start=1):
            pieces = token_pieces(windows, one.trials[int(place)].rows[0])
            lines.append(f"{number} ({len(pieces)} tokens) [{', '.join(map(quote, pieces))}]")
            lists[str(number)] = number_list(range(LEVELS + 1), length=len(pieces))
            n_tokens += len(pieces)
        return LLMRequest(
            model=self.model,
            system=SYSTEM,
            user="\n".join(lines),
            schema=strict_object(lists),
            max_output_tokens=SPARE_OUTPUT_TOKENS + OUTPUT_TOKENS_PER_TOKEN * n_tokens,
            purpose="score",
            top_logprobs=self.top_logprobs,
        )


def token_pieces(windows: Windows, row: int) -> list[str]:
    """The text of a window cut at its tokens; white space goes with the token behind it. Joined, it is the text."""
    text, end, pieces = windows.text[row], 0, []
    for token in range(int(windows.n_tokens[row])):
        stop = max(end, int(windows.ends[row, token]))
        pieces.append(text[end:stop])
        end = stop
    return pieces


def _choose(subject: Subject, windows: Windows) -> dict[int, tuple[str, ...]]:
    """Rows that are shown, with the strata each was drawn from."""
    contexts, generator = subject.contexts, subject.generator(1)
    chosen: dict[int, tuple[str, ...]] = {}
    piles = {name: np.unique(contexts.row[contexts.stratum == name]) for name in WANTED}
    piles = {name: rows[without_repeats(rows, windows.text)] for name, rows in piles.items()}
    shares = even_shares([len(piles[name]) for name in QUANTILES], PER_QUANTILE)
    wanted: dict[str, int] = dict(WANTED)
    wanted.update(zip(QUANTILES, shares, strict=True))
    for stratum, rows in piles.items():
        for row in generator.permutation(rows)[: wanted[stratum]]:
            chosen[int(row)] = (*chosen.get(int(row), ()), stratum)
    rows = np.array(list(chosen), np.int64)
    return {int(row): chosen[int(row)] for row in rows[without_repeats(rows, windows.text)]}


def _trial(contexts: Contexts, windows: Windows, row: int, strata: tuple[str, ...], drawn: Mapping[str, int]) -> Trial:
    """Its weight is the share of its stratum's windows that it stands for; a window drawn only for being strong has none."""
    place = int(np.flatnonzero(contexts.row == row)[0])
    weight = 0.0
    for stratum in strata:
        if stratum != "top":
            population = int(contexts.population[contexts.stratum == stratum][0])
            weight = population / drawn[stratum]
    activations = contexts.activations[place, : int(windows.n_tokens[row])]
    return Trial((row,), ", ".join(strata), None, weight=weight, activations=tuple(map(float, activations)))


def _levels(answer: Mapping[str, JSON], key: str, n_tokens: int) -> list[int] | str:
    return read_numbers(answer, key, low=0, high=LEVELS, length=n_tokens)


def _expected(result: LLMResult, key: str, levels: Sequence[int]) -> tuple[float, ...]:
    """Expected levels of one window; empty where the answer brought no probabilities for all of them."""
    if isinstance(result, CompletionFailure) or result.number_tokens is None:
        return ()
    return expected_levels(result.text, result.number_tokens, key, levels)


def _measure_both(judged: Judged) -> dict[str, Measure]:
    """All metrics, by expected levels where every answered window has them."""
    answered = judged.answered
    has = np.array([bool(levels) for levels in judged.expected or [()] * len(judged)], dtype=bool) & answered
    written = _measure(judged)
    all_expected = bool(answered.any()) and bool((has == answered).all())
    best = _measure(replace(judged, levels=judged.expected)) if all_expected else written
    n, lost = int(answered.sum()), int((~answered).sum())
    share = float(has.sum()) / n if n else nan
    known = Measure(share, nan, nan, n, lost, None if n else "no window was answered", nan)
    return {**best, "correlation_written": written["correlation"], "levels_expected": known}


def _measure(judged: Judged) -> dict[str, Measure]:
    reason = missing(judged, needs=NEEDS)
    if reason is not None:
        lost = int((~judged.answered).sum())
        return {name: unscored(reason, n_lost=lost, chance=0.0) for name in METRICS}
    strata = [set(variant.split(", ")) for variant in judged.variant]

    def among(*names: str) -> Judged:
        return judged.take(np.array([bool(of & set(names)) for of in strata]))

    sampled = among(*QUANTILES, "grey", *SILENT)
    return {
        "correlation": correlate(among(*QUANTILES, *SILENT)),
        "correlation_top_and_random": correlate(among("top", "random")),
        "correlation_random": correlate(sampled, weighted=True),
        **{f"correlation_{q}": correlate(among(q)) for q in QUANTILES},
    }
