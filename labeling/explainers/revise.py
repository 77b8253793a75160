"""Ask a language model for a label, show it where a judge went wrong with it, ask again, and keep the better one.

The first label is written as `top_and_random` does. A judge applies it to contexts of `select`, whose documents are
divided in two halves: false positives and false negatives of the first half are shown for the revision, and on the
second half, of which nothing was shown, the better of the two labels is chosen. After the revision step of Bills et al.
2023, with real text in place of made-up test sentences. Contexts of `score` play no part.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from labeling.explainers import Judge, Steps
from labeling.explainers._prompted import (
    draw_for,
    firing_lines,
    instructions_or,
    label_from,
    label_problem,
    label_request,
    needed_model,
    shown_windows,
    silent_lines,
)
from labeling.explainers.best_of_k import FORMAT, SCHEMA, best_of, judged
from labeling.explainers.top_and_random import INSTRUCTIONS, TopAndRandom, user_prompt
from labeling.prompts import MARK_SHARE, prompt_version, quote, strict_object
from labeling.types import (
    HARD,
    JSON,
    QUANTILES,
    Candidate,
    Contexts,
    Evidence,
    IntArray,
    Label,
    LLMRequest,
    LLMResult,
    NoLabel,
    Trial,
    Verdict,
)

REVISE = """\
You are given a label that was written before, and excerpts where it led a reader to a wrong prediction. Missed: the \
feature fires there, and the reader expected nothing. Wrongly expected: the feature is silent there, and the reader \
expected it to fire. Write a label that leads to fewer such mistakes and still covers what the old one got right. If \
the old one cannot be improved, answer with it unchanged."""

REVISED_FORMAT = f"""\
{FORMAT.partition("Answer with")[0]}"Missed" excerpts are written like firing ones, "Wrongly expected" like silent ones.

Answer with one JSON object and nothing else: {{"rationale": "one sentence: what the old label got wrong", "label": \
"the label"}}"""
REVISED_SCHEMA = strict_object({"rationale": {"type": "string"}, "label": {"type": "string"}})
JudgeSteps = Generator[Sequence[LLMRequest], Sequence[LLMResult], list[Verdict]]
YES = 0.5
"""Probability from which a judge counts as expecting the feature to fire."""


def create(*, model: str | None, prompt: str | None, judge: Judge | None) -> Revise:
    """Make the explainer. `prompt` replaces the instructions for writing a label; those for revising follow it."""
    asked = needed_model(model, "revise")
    if judge is None:
        raise ValueError("revise learns from a judge, and got none")
    return Revise(asked, judge, instructions_or(INSTRUCTIONS, prompt))


@dataclass(frozen=True)
class Mistakes:
    """Contexts of a trial, by place, on which the judge was wrong, the most wrong first."""

    missed: list[int]
    expected: list[int]

    def __bool__(self) -> bool:
        return bool(self.missed or self.expected)


@dataclass(frozen=True)
class Revise:
    model: str
    judge: Judge
    instructions: str = INSTRUCTIONS
    top: int = 10
    spread: int = 10
    silent: int = 10
    shown_mistakes: int = 6
    """Of each kind, at most."""

    @property
    def name(self) -> str:
        return "revise"

    @property
    def prompt_version(self) -> str:
        return prompt_version(self.system, SCHEMA, self.revising_system, REVISED_SCHEMA)

    @property
    def parameters(self) -> Mapping[str, JSON]:
        shown = {"top": self.top, "spread": self.spread, "silent": self.silent, "mark_share": MARK_SHARE}
        return {**shown, "shown_mistakes": self.shown_mistakes, "judge": dict(self.judge.identity)}

    @property
    def system(self) -> str:
        return f"{self.instructions}\n\n{FORMAT}"

    @property
    def revising_system(self) -> str:
        return f"{self.instructions}\n\n{REVISE}\n\n{REVISED_FORMAT}"

    def evidence_windows(self, evidence: Evidence) -> IntArray:
        """Those of the first question. The mistakes shown for the second one are of `select`, and in its prompt."""
        firing, silent = self._choose(evidence)
        return shown_windows(evidence, firing, silent)

    def problem(self, request: LLMRequest, text: str) -> str | None:
        return label_problem(text) if request.purpose == "label" else self.judge.problem(request, text)

    def steps(self, evidence: Evidence, trial: Trial) -> Steps:
        """Reasons: `no_evidence`; that of the label, first or revised, that could not be had; `unjudged`."""
        firing, silent = self._choose(evidence)
        if not firing:
            return NoLabel("no_evidence")
        shown = user_prompt(evidence, firing, silent)
        (answer,) = yield [label_request(self.model, self.system, shown, SCHEMA)]
        first = label_from(answer)
        if isinstance(first, NoLabel):
            return first
        learn, choose = halves(trial)
        verdict = yield from self._try([first], learn)
        if np.isnan(verdict[0].probability).all():
            return NoLabel("unjudged", raw=verdict[0].reason, candidates=(Candidate(first.text, None, "unjudged"),))
        mistakes = self._mistakes(verdict[0], learn)
        if not mistakes:
            return best_of([first], (yield from self._try([first], choose)))
        question = f"{shown}\n\n{_mistakes_text(first, mistakes, learn)}"
        (answer,) = yield [label_request(self.model, self.revising_system, question, REVISED_SCHEMA)]
        second = label_from(answer)
        if isinstance(second, NoLabel):
            return replace(second, candidates=(Candidate(first.text, None, None), Candidate(None, None, second.reason)))
        both = [first] if second.text.casefold() == first.text.casefold() else [first, second]
        return best_of(both, (yield from self._try(both, choose)))

    def _try(self, labels: Sequence[Label], trial: Trial) -> JudgeSteps:
        asked = [self.judge.requests(label, trial) for label in labels]
        answers = yield [request for some in asked for request in some]
        return judged(self.judge, labels, trial, asked, answers)

    def _mistakes(self, verdict: Verdict, trial: Trial) -> Mistakes:
        """Windows without an answer are no mistakes; neither are weakly active ones, which are neither hit nor miss."""
        contexts, grade = trial.contexts, verdict.probability
        fires, silent = contexts.max_activation > trial.feature.tau, contexts.max_activation <= 0
        ids = trial.windows.window[contexts.row]

        def worst(wrong: npt.NDArray[np.bool_], how: npt.NDArray[np.floating]) -> list[int]:
            places = np.flatnonzero(wrong)
            order = np.lexsort((ids[places], -how[places]))
            return [int(place) for place in places[order][: self.shown_mistakes]]

        return Mistakes(worst(fires & (grade < YES), -grade), worst(silent & (grade >= YES), grade))

    def _choose(self, evidence: Evidence) -> tuple[list[int], list[int]]:
        chooser = TopAndRandom(self.model, top=self.top, spread=self.spread, silent=self.silent)
        return chooser.choose(draw_for(self.name, evidence))


def halves(trial: Trial) -> tuple[Trial, Trial]:
    """The contexts of a trial in two parts: no document is in both, and each has its share of every kind, where it can.

    Documents are dealt one by one, those with most contexts first, to the part that is left more even by it.
    """
    contexts = trial.contexts
    documents, number = np.unique(trial.windows.document_id[contexts.row], return_inverse=True)
    counts = np.stack([np.bincount(number[side], minlength=len(documents)) for side in _sides(contexts)], 1)
    ahead, second = (
        np.zeros(counts.shape[1]),
        np.zeros(len(documents), dtype=np.bool_),
    )  # ahead: the first part's surplus
    for document in np.lexsort((documents, -counts.sum(1))):
        second[document] = np.abs(ahead - counts[document]).sum() < np.abs(ahead + counts[document]).sum()
        ahead += np.where(second[document], -counts[document], counts[document])
    first, other = (replace(trial, contexts=contexts.take(part)) for part in (~second[number], second[number]))
    return first, other


def _sides(contexts: Contexts) -> list[npt.NDArray[np.bool_]]:
    """Masks of what the headline compares: firing, hard and random contexts."""
    return [np.isin(contexts.stratum, kinds) for kinds in (QUANTILES, HARD, ("random",))]


def _mistakes_text(label: Label, mistakes: Mistakes, trial: Trial) -> str:
    missed = firing_lines(trial, mistakes.missed) or ["none"]
    expected = silent_lines(trial, mistakes.expected) if mistakes.expected else ["none"]
    lines = [f"The label: {quote(label.text)}", "", "Missed:", *missed, "", "Wrongly expected:", *expected]
    return "\n".join(lines)
