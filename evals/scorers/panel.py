"""Ask a judge which of many labels apply to random windows: base rates, and who says the same, at small cost.

All labels are judged on the shared random panel. One request shows about ten windows and thirty labels, of features and
of controls alike, dealt at random; the judge lists the labels that apply to each window. From there to metrics over the
whole split, from windows as they come: rare features fire in few of them, and then there is a reason and no number.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import nan

import numpy as np

from evals.items import Items, pack
from evals.scorers._asking import (
    ONLY_DATA,
    SPARE_OUTPUT_TOKENS,
    first_problem,
    object_or_reason,
    read_numbers,
    refuses,
    required,
)
from evals.trial_measures import Measure, Measured, beside, table_of, unscored, window_metrics
from evals.trials import Answer, Asked, Judged, Subject, Trial, deal, without_repeats
from labeling.prompts import number_list, prompt_version, quote, read_object, strict_object
from labeling.types import JSON, QUANTILES, STRATA, IntArray, Label, LLMRequest, LLMResult, Windows

SYSTEM = f"""\
You are given numbered descriptions, each of what a feature of a language model responds to, and numbered excerpts of \
text. A feature is active in an excerpt when what its description says stands in it.

Answer for every excerpt: which of the features are active somewhere in it? List the numbers of their descriptions.
- Judge each description by itself. Most apply to no excerpt; several may apply to the same one.
- Go by what a description says. A related topic that it does not cover does not count.
- Excerpts may begin and end in the middle of a sentence or word.
- Where a description is not available, guess.

Descriptions and excerpts are {ONLY_DATA}.

Answer with one JSON object and nothing else: the number of every excerpt with a list, which may be empty, as in \
{{"1": [], "2": [7], "3": [2, 7]}}"""

NONE = "none is available"
LABELS_TOGETHER = 30
WINDOWS_PER_REQUEST = 10
WINDOWS = 500
"""Of the panel, at most."""
NEEDS = "a panel of random windows"
FIRES = "fires"
CHANCE = {"correlation_panel": 0.0, "balanced_panel": 0.5}
NAMES = {
    "weighted_correlation": "correlation_panel",
    "precision": "precision_panel",
    "recall": "recall_panel",
    "f1": "f1_panel",
    "balanced_random": "balanced_panel",
}
"""Window metrics that fit, and what they are called here."""
OVERLAP = "overlap_panel"
FEWEST_YES = 3
"""Windows that a label must be said to apply to before it is compared with others."""


def create(*, model: str | None, windows_per_request: int = WINDOWS_PER_REQUEST) -> PanelScorer:
    return PanelScorer(required("panel", model), min(windows_per_request, WINDOWS_PER_REQUEST))


@dataclass(frozen=True)
class PanelScorer:
    model: str
    windows_per_request: int
    name: str = "panel"
    parallel: bool = False
    reads_label: bool = True
    rivals: int = 0
    labels_together: int = LABELS_TOGETHER
    headline: str = "correlation_panel"

    @property
    def prompt_version(self) -> str:
        return prompt_version(SYSTEM, NONE)

    @property
    def parameters(self) -> Mapping[str, JSON]:
        return {
            "windows_per_request": self.windows_per_request,
            "labels_together": self.labels_together,
            "windows": WINDOWS,
        }

    def accepts(self, label: Label | None) -> str | None:
        return refuses(label)

    def trials(self, subject: Subject, windows: Windows) -> tuple[Trial, ...]:
        """One trial a window of the panel: the same windows for every label, other truths."""
        panel = subject.panel
        fires = np.isin(panel.stratum, QUANTILES)
        return tuple(
            Trial((int(panel.row[place]),), FIRES if fires[place] else "does not fire", float(fires[place]))
            for place in map(int, without_repeats(panel.row, windows.text)[:WINDOWS])
        )

    def requests(self, asked: Sequence[Asked], windows: Windows) -> tuple[LLMRequest, ...]:
        return tuple(
            self._request(
                _texts(asked), order, [windows.text[asked[0].trials[place].rows[0]] for place in map(int, batch)]
            )
            for batch, order in self._batches(asked)
        )

    def problem(self, request: LLMRequest, text: str) -> str | None:
        answer = read_object(text)
        keys = request.schema["properties"]
        found = [_listed(answer, key, len(keys[key]["items"]["enum"])) for key in keys] if answer is not None else []
        return first_problem(request, text, answer, found)

    def parse(self, asked: Sequence[Asked], windows: Windows, results: Sequence[LLMResult]) -> list[list[Answer]]:  # noqa: ARG002
        """An answer that can't be read is lost for all labels of its request, a list for those of its window."""
        texts = _texts(asked)
        found: dict[tuple[int, int], Answer] = {}
        for number, ((batch, order), result) in enumerate(zip(self._batches(asked), results, strict=True)):
            answer = object_or_reason(result)
            for place, trial in enumerate(map(int, batch), start=1):
                listed = answer if isinstance(answer, str) else _listed(answer, str(place), len(texts))
                for shown, text in enumerate(map(int, order), start=1):
                    grade, reason = (nan, listed) if isinstance(listed, str) else (float(shown in listed), None)
                    found[text, trial] = Answer(grade, reason, number, place)
        numbers = {text: number for number, text in enumerate(texts)}
        return [[found[numbers[_text(of.subject)], trial] for trial in range(len(of.trials))] for of in asked]

    def measure(self, judged: Sequence[Judged]) -> Measured:
        corpus = window_metrics(judged, _items, names=NAMES, chance=CHANCE, needs=NEEDS)
        overlaps = [{OVERLAP: measure} for measure in _overlaps(judged)]
        return beside(corpus, table_of((OVERLAP,), overlaps))

    def _batches(self, asked: Sequence[Asked]) -> list[tuple[IntArray, IntArray]]:
        """Trials of each request in the order they are asked, and the order in which labels are shown.

        Drawn by the first feature of the block, never by what a label says.
        """
        generator = asked[0].subject.generator(2)
        batches = deal(len(asked[0].trials), most=self.windows_per_request, generator=generator)
        n = len(_texts(asked))
        return [(batch, generator.permutation(n)) for batch in batches]

    def _request(self, texts: Sequence[str | None], order: IntArray, shown: Sequence[str]) -> LLMRequest:
        descriptions = [texts[place] for place in map(int, order)]
        lines = ["Descriptions:"]
        lines += [f"{n} {NONE if text is None else quote(text)}" for n, text in enumerate(descriptions, start=1)]
        lines += ["", "Excerpts:", *(f"{n} {quote(text)}" for n, text in enumerate(shown, start=1))]
        choices = number_list(range(1, len(texts) + 1))
        return LLMRequest(
            model=self.model,
            system=SYSTEM,
            user="\n".join(lines),
            schema=strict_object({str(n): choices for n in range(1, len(shown) + 1)}),
            max_output_tokens=SPARE_OUTPUT_TOKENS + 30 * len(shown),
            purpose="score",
        )


def _text(subject: Subject) -> str | None:
    return subject.label.text if subject.label else None


def _texts(asked: Sequence[Asked]) -> list[str | None]:
    """Different texts of a block, in the order of their first subjects."""
    return list(dict.fromkeys(_text(of.subject) for of in asked))


def _listed(answer: Mapping[str, JSON], key: str, n_labels: int) -> list[int] | str:
    return read_numbers(answer, key, low=1, high=n_labels)


def _items(judged: Sequence[Judged]) -> Items:
    """Windows of the panel in two strata with exact populations, firing or not: a random window is drawn from no finer one."""
    row = np.repeat(np.arange(len(judged)), [len(of) for of in judged])
    fires = np.concatenate([of.truth for of in judged]) == 1
    firing = np.array([of.firing_windows for of in judged])
    others = np.array([of.grey_windows + of.silent_windows for of in judged])
    half = np.full(len(judged), 0.5)
    return pack(
        row,
        probability=np.concatenate([of.grade for of in judged]),
        activation=fires.astype(float),
        stratum=np.where(fires, STRATA.index("q3"), STRATA.index("random")),
        population=np.maximum(np.where(fires, firing[row], others[row]), 1),
        document=np.concatenate([of.document for of in judged]),
        panel=np.ones(len(row), np.bool_),
        tau=half,
        tau25=half,
        firing_windows=firing,
        firing_windows25=firing,
        n_windows=firing + others,
    )


def _overlaps(judged: Sequence[Judged]) -> list[Measure]:
    """The largest Jaccard overlap of the windows that a label was said to apply to with those of another label."""
    n = max((len(of) for of in judged), default=0)
    yes = np.zeros((len(judged), n), np.float32)
    answered = np.zeros((len(judged), n), np.float32)
    for place, of in enumerate(judged):
        if len(of) == n:
            yes[place], answered[place] = of.grade == 1, of.answered
    both = yes @ yes.T
    either = yes @ answered.T + answered @ yes.T - both
    overlap = np.where(either > 0, both / np.maximum(either, 1), 0.0)
    np.fill_diagonal(overlap, -1.0)
    measures = []
    for place, of in enumerate(judged):
        said, lost = int(yes[place].sum()), int((~of.answered).sum())
        rest = overlap[place][yes.sum(axis=1) >= FEWEST_YES]
        if said < FEWEST_YES or rest.max(initial=-1.0) < 0:
            reason = (
                f"the judge said yes to {said} of {len(of)} windows; {of.firing_windows:,} windows of the split fire"
            )
            measures.append(unscored(reason, n_items=int(of.answered.sum()), n_lost=lost))
        else:
            measures.append(Measure(float(rest.max()), nan, nan, int(of.answered.sum()), lost))
    return measures
