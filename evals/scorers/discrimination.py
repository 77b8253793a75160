"""Ask a judge which of several labels fits windows in which a feature fires: its own, or that of a similar feature.

It finds what grading windows can't: two features with one label, or a label that fits a neighbor as well. From firing
windows, one of each activation quantile a trial, and the labels of the nearest features that say something else, to the
share of right choices. Labels stand in another order in every trial.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import nan

import numpy as np

from evals.scorers._asking import (
    ONLY_DATA,
    SPARE_OUTPUT_TOKENS,
    first_problem,
    object_or_reason,
    read_choice,
    refuses,
    required,
)
from evals.trial_measures import Measure, Measured, chance_of, share_right, table_of
from evals.trials import Answer, Asked, Judged, Subject, Trial, even_shares, firing_contexts, without_repeats
from labeling.prompts import firing_spans, prompt_version, quote, quote_marked, read_object, strict_object
from labeling.types import JSON, QUANTILES, Label, LLMRequest, LLMResult, Windows

SYSTEM = f"""\
A feature of a language model is active in each of the excerpts below, on the words between << and >>. One of the numbered \
descriptions was written about this feature, the others about other features.

Which description fits the excerpts best? Answer with its number.
- Go by the marked words in their context.
- A description that fits every text fits these no better than others.
- Where the descriptions are not available, guess.

Descriptions and excerpts are {ONLY_DATA}.

Answer with one JSON object and nothing else, as in {{"best": 2}}"""

NONE = "none is available"
RIVALS = 4
TRIALS = 5
FEWEST = 3
"""Windows in a trial, at least; there is one of each quantile, where activations can be told apart."""
NEEDS = f"{FEWEST} firing windows of different strength and another feature's label"
METRICS = ("accuracy_adjusted", "accuracy_labels", "unshared")


def create(*, model: str | None, windows_per_request: int = 20) -> Discrimination:  # noqa: ARG001 - a trial is a request
    return Discrimination(required("discrimination", model))


@dataclass(frozen=True)
class Discrimination:
    model: str
    name: str = "discrimination"
    parallel: bool = False
    reads_label: bool = True
    rivals: int = RIVALS
    labels_together: int = 1
    headline: str = "accuracy_adjusted"

    @property
    def prompt_version(self) -> str:
        return prompt_version(SYSTEM, NONE)

    @property
    def parameters(self) -> Mapping[str, JSON]:
        return {"rivals": self.rivals, "trials": TRIALS}

    def accepts(self, label: Label | None) -> str | None:
        return refuses(label)

    def trials(self, subject: Subject, windows: Windows) -> tuple[Trial, ...]:
        """The truth is the place of the label that is judged. Without a label no description is shown."""
        generator = subject.generator(1)
        texts = (subject.label.text if subject.label else "", *subject.rivals[: self.rivals])
        if len(texts) < 2:
            return ()
        firing = firing_contexts(subject).contexts
        firing = firing.take(without_repeats(firing.row, windows.text))
        trials = []
        decks = [generator.permutation(np.flatnonzero(firing.stratum == q)).tolist() for q in QUANTILES]
        for _ in range(TRIALS):
            shares = even_shares([len(deck) for deck in decks], 1)
            drawn = [place for deck, share in zip(decks, shares, strict=True) for place in deck[:share]]
            decks = [deck[share:] for deck, share in zip(decks, shares, strict=True)]
            places = generator.permutation(np.array(drawn, np.int64))
            order = generator.permutation(len(texts))
            if len(places) < FEWEST:
                break
            trials.append(
                Trial(
                    rows=tuple(int(firing.row[place]) for place in places),
                    variant=f"{len(texts) - 1} other labels",
                    truth=float(np.flatnonzero(order == 0)[0]) + 1,
                    options=len(texts),
                    marks=tuple(
                        tuple(firing_spans(windows, int(firing.row[p]), firing.activations[p])) for p in places
                    ),
                    choices=tuple(texts[which] for which in order) if subject.label else (),
                )
            )
        return tuple(trials)

    def requests(self, asked: Sequence[Asked], windows: Windows) -> tuple[LLMRequest, ...]:
        (one,) = asked
        return tuple(self._request(trial, windows) for trial in one.trials)

    def problem(self, request: LLMRequest, text: str) -> str | None:
        answer, n = read_object(text), len(request.schema["properties"]["best"]["enum"])
        return first_problem(request, text, answer, [_choice(answer, n)] if answer is not None else [])

    def parse(self, asked: Sequence[Asked], windows: Windows, results: Sequence[LLMResult]) -> list[list[Answer]]:  # noqa: ARG002
        (one,) = asked
        answers = []
        for number, (trial, result) in enumerate(zip(one.trials, results, strict=True)):
            answer = object_or_reason(result)
            choice = answer if isinstance(answer, str) else _choice(answer, trial.options or 0)
            lost = isinstance(choice, str)
            answers.append(Answer(nan if lost else float(choice), str(choice) if lost else None, number, 1))
        return [answers]

    def measure(self, judged: Sequence[Judged]) -> Measured:
        return table_of(METRICS, [_measure(of) for of in judged])

    def _request(self, trial: Trial, windows: Windows) -> LLMRequest:
        n = trial.options or 0
        descriptions = [quote(text) for text in trial.choices] or [NONE] * n
        lines = ["Descriptions:", *(f"{number} {text}" for number, text in enumerate(descriptions, start=1))]
        lines += ["", "Excerpts:"]
        lines += [quote_marked(windows.text[row], marks) for row, marks in zip(trial.rows, trial.marks, strict=True)]
        return LLMRequest(
            model=self.model,
            system=SYSTEM,
            user="\n".join(lines),
            schema=strict_object({"best": {"type": "integer", "enum": list(range(1, n + 1))}}),
            max_output_tokens=SPARE_OUTPUT_TOKENS,
            purpose="score",
        )


def _choice(answer: Mapping[str, JSON], n: int) -> float | str:
    return read_choice(answer, "best", low=1, high=n)


def _measure(judged: Judged) -> dict[str, Measure]:
    """A label that `sharing` other features have as well tells any of them no better than a lot among them would."""
    plain = share_right(judged, needs=NEEDS, chance=chance_of(judged))
    share = 1 / (1 + judged.sharing)
    adjusted = replace(
        plain,
        value=plain.value * share,
        low=plain.low * share,
        high=plain.high * share,
        chance=plain.chance * share,
    )
    unshared = Measure(share, nan, nan, 1, 0) if plain.reason is None else replace(plain, chance=nan)
    return {"accuracy_labels": plain, "accuracy_adjusted": adjusted, "unshared": unshared}
