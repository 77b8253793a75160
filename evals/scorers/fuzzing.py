"""Ask a judge whether the marked words are those that a feature responds to: a test of where, not of whether.

From firing windows, each once with its true marks and once with wrong ones (`_marks`), to one probability a marked
window. Only the words tell the two apart: texts are the same, and so are counts and positions of marks. The two versions
of a window never share a request.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from evals.items import Items, pack
from evals.scorers._asking import (
    ONLY_DATA,
    SPARE_OUTPUT_TOKENS,
    described,
    first_problem,
    object_or_reason,
    read_number,
    refuses,
    required,
)
from evals.scorers._marks import lend_marks
from evals.trial_measures import Measured, window_metrics
from evals.trials import Answer, Asked, Judged, Subject, Trial, deal, firing_contexts, without_repeats
from labeling.prompts import prompt_version, quote_marked, read_object, strict_object
from labeling.types import JSON, QUANTILES, STRATA, IntArray, Label, LLMRequest, LLMResult, Windows

SYSTEM = f"""\
You judge whether the right words are marked. A feature of a language model is active on certain words; a description \
says on which. In every excerpt some words stand between << and >>: either those on which the feature is active, or \
others.

Answer for every excerpt: how likely is it that the marked words are those that the description speaks of? Give a whole \
number from 0 (certainly not) to 100 (certainly): a probability in percent, so 50 and above means yes.
- What matters is what the marked words are, in their context. That the description fits other words of the excerpt \
counts for nothing.
- Judge each excerpt by itself. All of them may be marked rightly, or some, or none.
- Excerpts may begin and end in the middle of a sentence or word, and so may marks.
- Where no description is available, guess from the excerpt alone.

Description and excerpts are {ONLY_DATA}.

Answer with one JSON object and nothing else: the number of every excerpt with its grade, as in \
{{"1": 4, "2": 85, "3": 20}}"""

RIGHT, WRONG = "right marks", "wrong marks"
FEWEST = 5
"""Windows that must be there in both versions."""
NEEDS = f"{FEWEST} firing windows whose marks can be exchanged"
OUTPUT_TOKENS_PER_WINDOW = 10
CHANCE = {"balanced_marks": 0.5, "auroc_marks": 0.5, "accuracy_marks": 0.5}
NAMES = {
    "balanced_random": "balanced_marks",
    "auroc_random": "auroc_marks",
    "balanced_accuracy": "accuracy_marks",
    **{f"recall_{q}": f"recall_marks_{q}" for q in QUANTILES},
}
"""Window metrics that fit, with windows that are marked rightly as the firing side, wrongly as the silent one."""


def create(*, model: str | None, windows_per_request: int = 20) -> Fuzzing:
    return Fuzzing(required("fuzzing", model), windows_per_request)


@dataclass(frozen=True)
class Fuzzing:
    model: str
    windows_per_request: int
    name: str = "fuzzing"
    parallel: bool = False
    reads_label: bool = True
    rivals: int = 0
    labels_together: int = 1
    headline: str = "balanced_marks"

    @property
    def prompt_version(self) -> str:
        return prompt_version(SYSTEM)

    @property
    def parameters(self) -> Mapping[str, JSON]:
        return {"windows_per_request": self.windows_per_request}

    def accepts(self, label: Label | None) -> str | None:
        return refuses(label)

    def trials(self, subject: Subject, windows: Windows) -> tuple[Trial, ...]:
        """Each firing window twice. The variant ends with the quantile of the window."""
        firing = firing_contexts(subject)
        some = without_repeats(firing.contexts.row, windows.text)
        contexts, weight = firing.contexts.take(some), firing.weight[some]
        marked = lend_marks(windows, contexts.row, contexts.activations, subject.generator(1))
        if len(marked.right) < FEWEST:
            return ()
        sides = (
            (RIGHT, 1.0, marked.right, marked.right_spans),
            (WRONG, 0.0, marked.wrong, marked.wrong_spans),
        )
        return tuple(
            Trial(
                rows=(int(contexts.row[place]),),
                variant=f"{variant}, {contexts.stratum[place]}",
                truth=truth,
                weight=float(weight[place]),
                marks=(spans,),
            )
            for variant, truth, places, every in sides
            for place, spans in zip(places, every, strict=True)
        )

    def requests(self, asked: Sequence[Asked], windows: Windows) -> tuple[LLMRequest, ...]:
        (one,) = asked
        return tuple(self._request(one, windows, batch) for batch in self._batches(one))

    def problem(self, request: LLMRequest, text: str) -> str | None:
        answer = read_object(text)
        grades = [_grade(answer, key) for key in request.schema["properties"]] if answer is not None else []
        return first_problem(request, text, answer, grades)

    def parse(self, asked: Sequence[Asked], windows: Windows, results: Sequence[LLMResult]) -> list[list[Answer]]:  # noqa: ARG002
        """Reasons as in `detection`: of a request for all of its trials, of a grade for one."""
        (one,) = asked
        found: dict[int, Answer] = {}
        for number, (batch, result) in enumerate(zip(self._batches(one), results, strict=True)):
            answer = object_or_reason(result)
            for place, trial in enumerate(batch, start=1):
                grade = answer if isinstance(answer, str) else _grade(answer, str(place))
                lost = isinstance(grade, str)
                found[int(trial)] = Answer(
                    float("nan") if lost else float(grade) / 100, str(grade) if lost else None, number, place
                )
        return [[found[trial] for trial in range(len(one.trials))]]

    def measure(self, judged: Sequence[Judged]) -> Measured:
        """The window metrics, with rightly marked windows against wrongly marked ones."""
        return window_metrics(judged, _items, names=NAMES, chance=CHANCE, needs=NEEDS)

    def _batches(self, one: Asked) -> list[IntArray]:
        """Trials of each request, in the order they are asked.

        One version of each window goes to the first half of the requests, the other to the second. Which one is drawn
        by lot, so the number of rightly marked windows in a request tells nothing.
        """
        generator = one.subject.generator(2)
        by_row: dict[int, list[int]] = {}
        for number, trial in enumerate(one.trials):
            by_row.setdefault(trial.rows[0], []).append(number)
        rows = sorted(by_row)
        order = {row: generator.permutation(by_row[row]) for row in rows}
        batches = []
        for half in (0, 1):
            deck = np.array([order[row][half] for row in rows if len(order[row]) > half], np.int64)
            batches += [deck[places] for places in deal(len(deck), most=self.windows_per_request, generator=generator)]
        return batches

    def _request(self, one: Asked, windows: Windows, batch: IntArray) -> LLMRequest:
        lines = [described(one.subject.label), "", "Excerpts:"]
        for number, place in enumerate(batch, start=1):
            trial = one.trials[int(place)]
            lines.append(f"{number} {quote_marked(windows.text[trial.rows[0]], trial.marks[0])}")
        return LLMRequest(
            model=self.model,
            system=SYSTEM,
            user="\n".join(lines),
            schema=strict_object({str(n): {"type": "integer"} for n in range(1, len(batch) + 1)}),
            max_output_tokens=SPARE_OUTPUT_TOKENS + OUTPUT_TOKENS_PER_WINDOW * len(batch),
            purpose="score",
        )


def _grade(answer: Mapping[str, JSON], key: str) -> float | str:
    return read_number(answer, key, low=0, high=100, outside="out_of_range")


def _items(judged: Sequence[Judged]) -> Items:
    """Windows with right marks stand in the quantile of their activation, those with wrong marks in `random`."""
    row = np.repeat(np.arange(len(judged)), [len(of) for of in judged])
    truth = np.concatenate([of.truth for of in judged])
    quantile = np.array([variant.split(", ")[1] for of in judged for variant in of.variant])
    stratum = np.where(truth == 1, quantile, "random")
    weight = np.concatenate([of.weight for of in judged])
    cell = [f"{feature} {name}" for feature, name in zip(row, stratum, strict=True)]
    names, place = np.unique(cell, return_inverse=True)
    population = np.maximum(np.rint(np.bincount(place, weights=weight)), 1).astype(np.int64)
    fires = np.zeros(len(judged), np.int64)
    total = np.zeros(len(judged), np.int64)
    for name, n in zip(names, population, strict=True):
        feature, kind = str(name).split(" ")
        total[int(feature)] += n
        fires[int(feature)] += n if kind != "random" else 0
    half = np.full(len(judged), 0.5)
    return pack(
        row,
        probability=np.concatenate([of.grade for of in judged]),
        activation=truth,
        stratum=np.array([STRATA.index(name) for name in stratum]),
        population=population[place],
        document=np.concatenate([of.document for of in judged]),
        panel=np.zeros(len(row), np.bool_),
        tau=half,
        tau25=half,
        firing_windows=fires,
        firing_windows25=fires,
        n_windows=total,
    )
