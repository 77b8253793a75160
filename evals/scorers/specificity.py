"""Ask a judge how specifically a label fits where a feature fires: the rubric 0-3 of Scaling Monosemanticity.

From firing windows of every activation quantile, with their firing words marked, to the mean grade by quantile and over
all firing windows, as a share of 3. It speaks of precision alone, given that the feature fires: there are no silent
windows, so a label that fits everything scores well. Read it beside the control `generic`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from evals.scorers._asking import (
    ONLY_DATA,
    SPARE_OUTPUT_TOKENS,
    answers_of_each,
    described,
    problem_of_each,
    read_choice,
    refuses,
    required,
)
from evals.trial_measures import Measure, Measured, mean_of, of_variants, table_of, unscored
from evals.trials import Answer, Asked, Judged, Subject, Trial, deal, even_shares, firing_contexts, without_repeats
from labeling.prompts import firing_spans, prompt_version, quote_marked, strict_object
from labeling.types import JSON, QUANTILES, IntArray, Label, LLMRequest, LLMResult, Windows

SYSTEM = f"""\
A feature of a language model is active on the words between << and >> in each of the excerpts below. A description says \
what the feature responds to. How well does the description fit each excerpt?

Give every excerpt a grade:
0: the description has nothing to do with the excerpt.
1: it is related to the excerpt, but not to what is near the marked words, or only vaguely.
2: it is related to the marked words loosely, or to text right beside them.
3: it names what the marked words are, clearly and fully.
Where no description is available, guess from the excerpt alone.

Description and excerpts are {ONLY_DATA}.

Answer with one JSON object and nothing else: the number of every excerpt with its grade, as in \
{{"1": 3, "2": 0, "3": 1}}"""

BEST = 3
PER_QUANTILE = 4
FEWEST = 5
NEEDS = f"{FEWEST} firing windows"
METRICS = ("specificity", *(f"specificity_{q}" for q in QUANTILES))


def create(*, model: str | None, windows_per_request: int = 20) -> Specificity:
    return Specificity(required("specificity", model), windows_per_request)


@dataclass(frozen=True)
class Specificity:
    model: str
    windows_per_request: int
    name: str = "specificity"
    parallel: bool = False
    reads_label: bool = True
    rivals: int = 0
    labels_together: int = 1
    headline: str = "specificity"

    @property
    def prompt_version(self) -> str:
        return prompt_version(SYSTEM)

    @property
    def parameters(self) -> Mapping[str, JSON]:
        return {"windows_per_request": self.windows_per_request, "per_quantile": PER_QUANTILE}

    def accepts(self, label: Label | None) -> str | None:
        return refuses(label)

    def trials(self, subject: Subject, windows: Windows) -> tuple[Trial, ...]:
        """One trial a window; the variant is its quantile, and there is no right answer."""
        generator = subject.generator(1)
        firing = firing_contexts(subject).contexts
        firing = firing.take(without_repeats(firing.row, windows.text))
        trials = []
        piles = [firing.take(firing.stratum == quantile) for quantile in QUANTILES]
        shares = even_shares([len(pile) for pile in piles], PER_QUANTILE)
        for quantile, some, share in zip(QUANTILES, piles, shares, strict=True):
            chosen = generator.permutation(len(some))[:share]
            for place in map(int, chosen):
                row = int(some.row[place])
                marks = tuple(firing_spans(windows, row, some.activations[place]))
                weight = float(some.population[place]) / len(chosen)
                trials.append(Trial((row,), quantile, None, weight=weight, marks=(marks,)))
        return tuple(trials) if len(trials) >= FEWEST else ()

    def requests(self, asked: Sequence[Asked], windows: Windows) -> tuple[LLMRequest, ...]:
        (one,) = asked
        return tuple(self._request(one, windows, batch) for batch in self._batches(one))

    def problem(self, request: LLMRequest, text: str) -> str | None:
        return problem_of_each(request, text, _grade)

    def parse(self, asked: Sequence[Asked], windows: Windows, results: Sequence[LLMResult]) -> list[list[Answer]]:  # noqa: ARG002
        (one,) = asked
        return [answers_of_each(self._batches(one), results, _grade)]

    def measure(self, judged: Sequence[Judged]) -> Measured:
        return table_of(METRICS, [_measure(of) for of in judged])

    def _batches(self, one: Asked) -> list[IntArray]:
        return deal(len(one.trials), most=self.windows_per_request, generator=one.subject.generator(2))

    def _request(self, one: Asked, windows: Windows, batch: IntArray) -> LLMRequest:
        lines = [described(one.subject.label), "", "Excerpts:"]
        for number, place in enumerate(map(int, batch), start=1):
            trial = one.trials[place]
            lines.append(f"{number} {quote_marked(windows.text[trial.rows[0]], trial.marks[0])}")
        grade = {"type": "integer", "enum": list(range(BEST + 1))}
        return LLMRequest(
            model=self.model,
            system=SYSTEM,
            user="\n".join(lines),
            schema=strict_object({str(n): grade for n in range(1, len(batch) + 1)}),
            max_output_tokens=SPARE_OUTPUT_TOKENS + 10 * len(batch),
            purpose="score",
        )


def _grade(answer: Mapping[str, JSON], key: str) -> float | str:
    return read_choice(answer, key, low=0, high=BEST)


def _measure(judged: Judged) -> dict[str, Measure]:
    found = {"specificity": mean_of(judged, judged.grade / BEST, needs=NEEDS)}
    for quantile in QUANTILES:
        some, name = of_variants(judged, quantile), f"specificity_{quantile}"
        if len(some) == 0:
            found[name] = unscored(found["specificity"].reason or f"no window of {quantile} was shown")
        else:
            found[name] = mean_of(some, some.grade / BEST, needs=NEEDS)
    return found
