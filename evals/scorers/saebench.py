"""Score a label as SAEBench 0.6 does, in our own wording: roughly comparable with published numbers, flaws and all.

Two of the strongest windows, two firing ones drawn by importance and ten random ones go into one prompt; the judge lists
those in which the feature fires; the score is plain accuracy over the fourteen. The threshold of firing is 1 % of the
maximum, as there.

What is wrong with it, so that nobody takes it for more: a judge that always answers "none" gets about 0.71, which is the
chance level here; plain accuracy hardly sees a label that is too broad or too narrow; fourteen windows leave a standard
error of about 0.07 to 0.1; the number of firing windows is nearly always four; nothing is near the boundary.

What differs: random windows come from the panel, whose real activations are known, so one that happens to fire counts as
firing (SAEBench takes all for silent); importance is proportional to the activation (there to its square, though its
documents say proportional); windows are those of the sample, not ten tokens either side of the peak; the example of an
answer in the prompt gives no count away; an answer that can't be read leaves the label unscored and counted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import nan

import numpy as np

from evals.intervals import combine, jeffreys
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
from evals.trial_measures import Measure, Measured, missing, share_right, table_of, unscored
from evals.trials import Answer, Asked, Judged, Subject, Trial, firing_contexts, without_repeats
from labeling.prompts import number_list, prompt_version, quote, read_object, strict_object
from labeling.types import JSON, QUANTILES, IntArray, Label, LLMRequest, LLMResult, Windows

SYSTEM = f"""\
A feature of a language model is active on certain words or in certain contexts; a description says on which. Below are \
numbered excerpts of text. In which of them is the feature active on at least one word?

List the numbers of these excerpts. Any number of them may be right, none too. Where no description is available, guess.

Description and excerpts are {ONLY_DATA}.

Answer with one JSON object and nothing else: {{"active": [...]}} with the numbers, or {{"active": []}}"""

TOP, IMPORTANCE, RANDOM = 2, 2, 10
KEY = "active"
NEEDS = f"{TOP} of the strongest and {IMPORTANCE} other firing windows, and {RANDOM} windows of the panel"
METRICS = ("accuracy_saebench", "balanced_saebench")


def create(*, model: str | None, windows_per_request: int = 20) -> SAEBench:  # noqa: ARG001 - one prompt a label
    return SAEBench(required("saebench", model))


@dataclass(frozen=True)
class SAEBench:
    model: str
    name: str = "saebench"
    parallel: bool = False
    reads_label: bool = True
    rivals: int = 0
    labels_together: int = 1
    headline: str = "accuracy_saebench"

    @property
    def prompt_version(self) -> str:
        return prompt_version(SYSTEM)

    @property
    def parameters(self) -> Mapping[str, JSON]:
        return {"top": TOP, "importance": IMPORTANCE, "random": RANDOM}

    def accepts(self, label: Label | None) -> str | None:
        return refuses(label)

    def trials(self, subject: Subject, windows: Windows) -> tuple[Trial, ...]:
        """One trial a window, in the order in which they are shown."""
        strong, drawn = _firing(subject)
        shown: list[tuple[int, str, float]] = []
        for some, wanted in ((strong, TOP), (drawn, IMPORTANCE), (_random(subject), RANDOM)):
            rows = np.array([row for row, _, _ in (*shown, *some)], np.int64)
            new = [some[place - len(shown)] for place in without_repeats(rows, windows.text) if place >= len(shown)]
            if len(new) < wanted:
                return ()
            shown += new[:wanted]
        return tuple(
            Trial((row,), variant, truth)
            for row, variant, truth in (shown[place] for place in subject.generator(3).permutation(len(shown)))
        )

    def requests(self, asked: Sequence[Asked], windows: Windows) -> tuple[LLMRequest, ...]:
        (one,) = asked
        if not one.trials:
            return ()
        lines = [described(one.subject.label), "", "Excerpts:"]
        lines += [f"{n} {quote(windows.text[trial.rows[0]])}" for n, trial in enumerate(one.trials, start=1)]
        return (
            LLMRequest(
                model=self.model,
                system=SYSTEM,
                user="\n".join(lines),
                schema=strict_object({KEY: number_list(range(1, len(one.trials) + 1))}),
                max_output_tokens=SPARE_OUTPUT_TOKENS,
                purpose="score",
            ),
        )

    def problem(self, request: LLMRequest, text: str) -> str | None:
        answer, n = read_object(text), len(request.schema["properties"][KEY]["items"]["enum"])
        found = [read_numbers(answer, KEY, low=1, high=n)] if answer is not None else []
        return first_problem(request, text, answer, found)

    def parse(self, asked: Sequence[Asked], windows: Windows, results: Sequence[LLMResult]) -> list[list[Answer]]:  # noqa: ARG002
        (one,) = asked
        if not one.trials:
            return [[]]
        answer = object_or_reason(results[0])
        n = len(one.trials)
        listed = answer if isinstance(answer, str) else read_numbers(answer, KEY, low=1, high=n)
        if isinstance(listed, str):
            return [[Answer(nan, listed, 0, place) for place in range(1, n + 1)]]
        return [[Answer(float(place in listed), None, 0, place) for place in range(1, n + 1)]]

    def measure(self, judged: Sequence[Judged]) -> Measured:
        return table_of(METRICS, [_measure(of) for of in judged])


def _firing(subject: Subject) -> tuple[list[tuple[int, str, float]], list[tuple[int, str, float]]]:
    """The strongest windows in random order, and all firing ones in the order of a draw by importance."""
    contexts, generator = subject.contexts, subject.generator(1)
    top = generator.permutation(np.unique(contexts.row[contexts.stratum == "top"]))
    firing = firing_contexts(subject)
    if len(firing) == 0:
        return [(int(row), "top", 1.0) for row in top], []
    importance = firing.weight * firing.contexts.max_activation
    order = generator.choice(len(firing), len(firing), replace=False, p=importance / importance.sum())
    drawn = [(int(firing.contexts.row[place]), "importance", 1.0) for place in order]
    return [(int(row), "top", 1.0) for row in top], drawn


def _random(subject: Subject) -> list[tuple[int, str, float]]:
    """All windows of the panel in random order, with what the feature really does there."""
    panel = subject.panel
    order: IntArray = subject.generator(2).permutation(len(panel.row))
    fires = np.isin(panel.stratum, QUANTILES)
    return [(int(panel.row[place]), "random", float(fires[place])) for place in order]


def _measure(judged: Judged) -> dict[str, Measure]:
    silent = float((judged.truth == 0).mean()) if len(judged) else nan
    reason = missing(judged, needs=NEEDS)
    if reason is not None:
        lost = int((~judged.answered).sum())
        return {
            "accuracy_saebench": unscored(reason, n_lost=lost, chance=silent),
            "balanced_saebench": unscored(reason, n_lost=lost, chance=0.5),
        }
    plain = share_right(judged, needs=NEEDS, chance=silent)
    yes, fires = judged.grade == 1, judged.truth == 1
    sides = [(int((yes == on)[fires == on].sum()), int((fires == on).sum())) for on in (True, False)]
    if min(n for _, n in sides) == 0:
        return {"accuracy_saebench": plain, "balanced_saebench": unscored("no silent window was drawn", chance=0.5)}
    rates = [np.array([right / n]) for right, n in sides]
    limits = [jeffreys(np.array([right]), np.array([n])) for right, n in sides]
    value = (rates[0] + rates[1]) / 2
    low, high = combine(value, (rates[0], limits[0], 0.5), (rates[1], limits[1], 0.5))
    balanced = Measure(float(value[0]), float(low[0]), float(high[0]), len(judged), plain.n_lost, None, 0.5)
    return {"accuracy_saebench": plain, "balanced_saebench": balanced}
