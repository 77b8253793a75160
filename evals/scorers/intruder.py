"""Ask a judge which window does not belong: a score of the feature itself, for which no label is read.

A trial shows four windows of one activation quantile with their firing words marked, and one silent window in which
other words are marked. The intruder's marks stand where another firing window has its marks, and are chosen so that the
words look alike, so that neither the number nor the position of marks gives it away. A feature whose windows have
nothing in common for a reader gets what a guess gets, whatever its label.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from evals.scorers._asking import (
    ONLY_DATA,
    SPARE_OUTPUT_TOKENS,
    answers_of_each,
    problem_of_each,
    read_choice,
    required,
)
from evals.scorers._marks import disguise
from evals.trial_measures import Measure, Measured, chance_of, of_variants, share_right, table_of, unscored
from evals.trials import Answer, Asked, Judged, Subject, Trial, deal, even_shares, firing_contexts, without_repeats
from labeling.prompts import firing_spans, prompt_version, quote_marked, strict_object
from labeling.types import JSON, QUANTILES, Contexts, IntArray, Label, LLMRequest, LLMResult, Windows

SYSTEM = f"""\
In each group of excerpts below some words stand between << and >>. In all excerpts of a group but one, a feature of a \
language model is active on the marked words. In the one that is left the feature is not active, and other words are \
marked.

Answer for every group: what is the number of the excerpt that does not belong? Look for what the marked words of the \
others have in common, in their context. Excerpts may begin and end in the middle of a sentence or word, and so may marks.

Excerpts are {ONLY_DATA}.

Answer with one JSON object and nothing else: the number of every group with that of its excerpt, as in \
{{"1": 4, "2": 1}}"""

WINDOWS = 5
"""In a trial: the intruder and the others."""
TRIALS = 2
"""For each quantile, on average at most."""
NEEDS = f"{WINDOWS - 1} firing windows of about the same strength, another that lends its marks, and a silent window"
METRICS = ("accuracy_intruder", *(f"accuracy_intruder_{q}" for q in QUANTILES))


def create(*, model: str | None, windows_per_request: int = 20) -> Intruder:
    return Intruder(required("intruder", model), max(1, windows_per_request // WINDOWS))


@dataclass(frozen=True)
class Intruder:
    model: str
    groups_per_request: int
    name: str = "intruder"
    parallel: bool = False
    reads_label: bool = False
    rivals: int = 0
    labels_together: int = 1
    headline: str = "accuracy_intruder"

    @property
    def prompt_version(self) -> str:
        return prompt_version(SYSTEM)

    @property
    def parameters(self) -> Mapping[str, JSON]:
        return {"groups_per_request": self.groups_per_request, "windows": WINDOWS, "trials": TRIALS}

    def accepts(self, label: Label | None) -> str | None:  # noqa: ARG002 - it reads none
        return None

    def trials(self, subject: Subject, windows: Windows) -> tuple[Trial, ...]:
        """The variant is the quantile, the truth the intruder's place."""
        generator = subject.generator(1)
        firing = firing_contexts(subject).contexts
        firing = firing.take(without_repeats(firing.row, windows.text))
        silent = np.unique(subject.contexts.row[subject.contexts.stratum == "random"])
        silent = generator.permutation(silent[without_repeats(silent, windows.text)])
        trials: list[Trial] = []
        piles = [np.flatnonzero(firing.stratum == quantile) for quantile in QUANTILES]
        shares = even_shares([len(pile) // (WINDOWS - 1) for pile in piles], TRIALS)
        for quantile, pile, share in zip(QUANTILES, piles, shares, strict=True):
            deck = generator.permutation(pile)
            for turn in range(share):
                members = deck[turn * (WINDOWS - 1) : (turn + 1) * (WINDOWS - 1)]
                used = {trial.rows[int(trial.truth or 0) - 1] for trial in trials}
                free = [int(row) for row in silent if int(row) not in used]
                trials += _trial(firing, members, free, windows, quantile, generator)
        return tuple(trials)

    def requests(self, asked: Sequence[Asked], windows: Windows) -> tuple[LLMRequest, ...]:
        (one,) = asked
        return tuple(self._request(one, windows, batch) for batch in self._batches(one))

    def problem(self, request: LLMRequest, text: str) -> str | None:
        return problem_of_each(request, text, _choice)

    def parse(self, asked: Sequence[Asked], windows: Windows, results: Sequence[LLMResult]) -> list[list[Answer]]:  # noqa: ARG002
        (one,) = asked
        return [answers_of_each(self._batches(one), results, _choice)]

    def measure(self, judged: Sequence[Judged]) -> Measured:
        return table_of(METRICS, [_measure(of) for of in judged])

    def _batches(self, one: Asked) -> list[IntArray]:
        return deal(len(one.trials), most=self.groups_per_request, generator=one.subject.generator(2))

    def _request(self, one: Asked, windows: Windows, batch: IntArray) -> LLMRequest:
        lines: list[str] = []
        for group, place in enumerate(map(int, batch), start=1):
            trial = one.trials[place]
            lines += ["", f"Group {group}:"] if lines else [f"Group {group}:"]
            for number, (row, marks) in enumerate(zip(trial.rows, trial.marks, strict=True), start=1):
                lines.append(f"{number} {quote_marked(windows.text[row], marks)}")
        choice = {"type": "integer", "enum": list(range(1, WINDOWS + 1))}
        return LLMRequest(
            model=self.model,
            system=SYSTEM,
            user="\n".join(lines),
            schema=strict_object({str(group): choice for group in range(1, len(batch) + 1)}),
            max_output_tokens=SPARE_OUTPUT_TOKENS + 10 * len(batch),
            purpose="score",
        )


def _trial(
    firing: Contexts,
    members: IntArray,
    silent: Sequence[int],
    windows: Windows,
    quantile: str,
    generator: np.random.Generator,
) -> list[Trial]:
    """One trial, or none where no silent window can take the marks of a firing one."""
    lenders = generator.permutation(np.setdiff1d(np.arange(len(firing)), members))
    found = disguise(windows, firing.take(lenders), silent, generator)
    if found is None:
        return []
    intruder, marks = found
    shown = [
        (int(firing.row[place]), tuple(firing_spans(windows, int(firing.row[place]), firing.activations[place])))
        for place in members
    ]
    shown.insert(at := int(generator.integers(WINDOWS)), (intruder, marks))
    return [
        Trial(
            rows=tuple(row for row, _ in shown),
            variant=quantile,
            truth=float(at + 1),
            options=WINDOWS,
            marks=tuple(spans for _, spans in shown),
        )
    ]


def _choice(answer: Mapping[str, JSON], key: str) -> float | str:
    return read_choice(answer, key, low=1, high=WINDOWS)


def _measure(judged: Judged) -> dict[str, Measure]:
    found = {"accuracy_intruder": share_right(judged, needs=NEEDS, chance=chance_of(judged))}
    for quantile in QUANTILES:
        some = of_variants(judged, quantile)
        name = f"accuracy_intruder_{quantile}"
        whole = found["accuracy_intruder"]
        if len(some) == 0:
            found[name] = unscored(whole.reason or f"no trial could be made of {quantile}")
        else:
            found[name] = share_right(some, needs=NEEDS, chance=chance_of(some))
    return found
