"""Ask a language model for several labels of a feature, each from other evidence, and keep the one that judges best.

Each sample sees other windows of the `explain` split in another order; every distinct label is judged on contexts of
`select`. The best of several looks better than it is (the winner's curse): the score it was chosen by is kept beside it,
and what is reported is its score on `score`. After Choi et al. 2024, who draw many and report on the split they chose on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from labeling.explainers import SAMPLE_STRIDE, Judge, Steps
from labeling.explainers._prompted import (
    draw_for,
    instructions_or,
    label_from,
    label_problem,
    label_request,
    needed_model,
    window_ids,
)
from labeling.explainers.top_and_random import FORMAT as SHOWN_AS
from labeling.explainers.top_and_random import INSTRUCTIONS, TopAndRandom, user_prompt
from labeling.prompts import MARK_SHARE, prompt_version, strict_object
from labeling.types import (
    JSON,
    Candidate,
    Evidence,
    IntArray,
    Label,
    LLMRequest,
    LLMResult,
    NoLabel,
    Trial,
    Verdict,
)

SCHEMA = strict_object({"label": {"type": "string"}})
FORMAT = f'{SHOWN_AS.partition("Answer with")[0]}Answer with one JSON object and nothing else: {{"label": "the label"}}'


def create(*, model: str | None, prompt: str | None, judge: Judge | None, samples: int) -> BestOfK:
    """Make the explainer. `prompt` replaces the instructions; the description of the format always follows it."""
    asked = needed_model(model, "best_of_k")
    if judge is None:
        raise ValueError("best_of_k chooses by a judge, and got none")
    return BestOfK(asked, judge, instructions_or(INSTRUCTIONS, prompt), samples)


@dataclass(frozen=True)
class BestOfK:
    model: str
    judge: Judge
    instructions: str = INSTRUCTIONS
    k: int = 5
    """Labels asked for."""
    top: int = 6
    """Of the strongest windows, how many each sample is shown; fewer than are kept, so that samples differ."""
    spread: int = 8
    silent: int = 8

    @property
    def name(self) -> str:
        return "best_of_k"

    @property
    def prompt_version(self) -> str:
        return prompt_version(self.system, SCHEMA)

    @property
    def parameters(self) -> Mapping[str, JSON]:
        shown = {"top": self.top, "spread": self.spread, "silent": self.silent, "mark_share": MARK_SHARE}
        return {"k": self.k, **shown, "judge": dict(self.judge.identity)}

    @property
    def system(self) -> str:
        return f"{self.instructions}\n\n{FORMAT}"

    def evidence_windows(self, evidence: Evidence) -> IntArray:
        """Of all samples together, ascending."""
        shown = [i for sample in range(self.k) for part in self._choose(evidence, sample) for i in part]
        return np.unique(window_ids(evidence)[np.array(shown, dtype=np.int64)])

    def problem(self, request: LLMRequest, text: str) -> str | None:
        return label_problem(text) if request.purpose == "label" else self.judge.problem(request, text)

    def steps(self, evidence: Evidence, trial: Trial) -> Steps:
        """Reasons: `no_evidence`; where no sample gave a label, the first one's; where none was judged, `unjudged`."""
        questions = [self._request(evidence, sample) for sample in range(self.k)]
        if not all(questions):
            return NoLabel("no_evidence")
        answers = yield [question for question in questions if question is not None]
        said = [label_from(answer) for answer in answers]
        labels = distinct([one for one in said if isinstance(one, Label)])
        failed = [one for one in said if isinstance(one, NoLabel)]
        lost = tuple(Candidate(None, None, one.reason) for one in failed)
        if not labels:
            return replace(failed[0], candidates=lost)
        asked = [self.judge.requests(label, trial) for label in labels]
        answers = yield [request for some in asked for request in some]
        verdicts = judged(self.judge, labels, trial, asked, answers)
        return best_of(labels, verdicts, lost)

    def _request(self, evidence: Evidence, sample: int) -> LLMRequest | None:
        firing, silent = self._choose(evidence, sample)
        if not firing:
            return None
        asked_before = SAMPLE_STRIDE * sample  # where evidence is so scarce that two samples see the same
        return label_request(
            self.model, self.system, user_prompt(evidence, firing, silent), SCHEMA, repeat=asked_before
        )

    def _choose(self, evidence: Evidence, sample: int) -> tuple[list[int], list[int]]:
        """Contexts shown in one sample. The strongest windows are drawn at random too."""
        chooser = TopAndRandom(self.model, top=self.top, spread=self.spread, silent=self.silent)
        return chooser.choose(draw_for(self.name, evidence, number=sample), resample=True)


def distinct(labels: Sequence[Label]) -> list[Label]:
    """One of each wording, whatever its case: judging the same words twice would only cost."""
    seen: dict[str, Label] = {}
    for label in labels:
        seen.setdefault(label.text.casefold(), label)
    return list(seen.values())


def judged(
    judge: Judge,
    labels: Sequence[Label],
    trial: Trial,
    asked: Sequence[Sequence[LLMRequest]],
    answers: Sequence[LLMResult],
) -> list[Verdict]:
    """A verdict on each label, from the answers to the requests about all of them."""
    verdicts, place = list[Verdict](), 0
    for label, requests in zip(labels, asked, strict=True):
        verdicts.append(judge.verdict(label, trial, answers[place : place + len(requests)]))
        place += len(requests)
    return verdicts


def best_of(labels: Sequence[Label], verdicts: Sequence[Verdict], lost: tuple[Candidate, ...] = ()) -> Label | NoLabel:
    """The label with the highest score on `select`, of equal ones the first, with all that were tried."""
    tried = tuple(Candidate(label.text, v.score, v.reason) for label, v in zip(labels, verdicts, strict=True))
    scored = [(-v.score, n) for n, v in enumerate(verdicts) if v.score is not None]
    if not scored:
        return NoLabel("unjudged", raw=verdicts[0].reason, candidates=tried + lost)
    worst, place = min(scored)
    return replace(labels[place], candidates=tried + lost, select_score=-worst)
