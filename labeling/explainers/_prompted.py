"""What explainers that ask a language model share: which contexts are shown, how they are written, how a label is read.

Pure. Nothing here depends on the order of the contexts: draws follow from the ids of feature and windows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from labeling.errors import UsageError
from labeling.identity import identify
from labeling.prompts import (
    firing_spans,
    level,
    quote_marked,
    read_object,
    unreadable,
    unreadable_text,
)
from labeling.types import JSON, CompletionFailure, Evidence, IntArray, Label, LLMRequest, LLMResult, NoLabel, Trial

MAX_OUTPUT_TOKENS = 1000
"""Far above the 80 or so that an answer takes, so that models that think first can finish."""
MAX_LABEL_WORDS = 30
"""Longer labels are refused: they are answers to another question."""


def needed_model(model: str | None, explainer: str) -> str:
    """The model. Raise UsageError when none is set."""
    if model is None:
        raise UsageError(
            f"The explainer '{explainer}' asks a language model, and none is set. Set `model` under [label] to "
            '"provider/model", such as "anthropic/..." or "openai/...", or choose the offline explainer '
            "'token_pattern'."
        )
    return model


def instructions_or(built_in: str, prompt: str | None) -> str:
    """The user's own instructions, or the built-in ones. Raise UsageError for an empty prompt."""
    if prompt is None:
        return built_in
    if not prompt.strip():
        raise UsageError(
            "The prompt set under [label] is empty. Write instructions into the file, or remove `prompt` to use the "
            "built-in ones."
        )
    return prompt.strip()


def label_request(model: str, system: str, user: str, schema: Mapping[str, JSON], *, repeat: int = 0) -> LLMRequest:
    """A question whose answer is a label."""
    return LLMRequest(
        model=model,
        system=system,
        user=user,
        schema=schema,
        max_output_tokens=MAX_OUTPUT_TOKENS,
        purpose="label",
        repeat=repeat,
    )


@dataclass(frozen=True)
class Draw:
    """Contexts of one feature in an order of their own: shuffled within each stratum, by places in its contexts."""

    evidence: Evidence
    seed: int

    @property
    def ids(self) -> IntArray:
        return window_ids(self.evidence)

    def shuffled(self, *strata: str) -> list[list[int]]:
        """Places of the contexts of each stratum, each stratum in a random order."""
        contexts, generator = self.evidence.contexts, np.random.default_rng(self.seed)
        by_id = np.argsort(self.ids, kind="stable")
        return [[int(i) for i in generator.permutation(by_id[contexts.stratum[by_id] == s])] for s in strata]

    def strongest_first(self, chosen: Iterable[int]) -> list[int]:
        contexts, ids = self.evidence.contexts, self.ids
        return sorted(chosen, key=lambda i: (-contexts.max_activation[i], ids[i]))

    def by_id(self, chosen: Iterable[int]) -> list[int]:
        return sorted(chosen, key=lambda i: self.ids[i])


def draw_for(explainer: str, evidence: Evidence, *, number: int | None = None) -> Draw:
    """The draw of an explainer: another one for each feature, and for each number where several are needed."""
    info, numbered = evidence.feature, {} if number is None else {"draw": number}
    return Draw(evidence, int(identify(explainer, sample=info.sample_id, feature=info.feature, **numbered), 16))


def window_ids(evidence: Evidence) -> IntArray:
    return evidence.windows.window[evidence.contexts.row]


def shown_windows(evidence: Evidence, firing: Sequence[int], silent: Sequence[int]) -> IntArray:
    """Ids of the windows that are shown; none where no firing one is, because then nothing is asked."""
    return window_ids(evidence)[[*firing, *silent]] if firing else np.empty(0, np.int64)


def deal(piles: Sequence[Sequence[int]], n: int, ids: IntArray, shown: set[int]) -> list[int]:
    """Take up to `n` contexts, one from each pile in turn, so that a short pile is made up for by the others.

    `shown` collects the window ids: a window that stands in several strata is shown once.
    """
    dealt: list[int] = []
    for turn in range(max((len(pile) for pile in piles), default=0)):
        for pile in piles:
            if turn < len(pile) and len(dealt) < n and int(ids[pile[turn]]) not in shown:
                dealt.append(pile[turn])
                shown.add(int(ids[pile[turn]]))
    return dealt


def firing_lines(evidence: Evidence | Trial, chosen: Sequence[int]) -> list[str]:
    """One line a context: level 1-10, then the text with its active tokens marked."""
    contexts, windows, lines = evidence.contexts, evidence.windows, []
    for i in chosen:
        row = int(contexts.row[i])
        marked = quote_marked(windows.text[row], firing_spans(windows, row, contexts.activations[i]))
        lines.append(f"{level(float(contexts.max_activation[i]), evidence.feature.max_activation)} {marked}")
    return lines


def silent_lines(evidence: Evidence | Trial, chosen: Sequence[int]) -> list[str]:
    """One line a context: its text without marks."""
    texts = evidence.windows.text
    return [quote_marked(texts[int(evidence.contexts.row[i])], ()) for i in chosen] or ["none at hand"]


def label_problem(text: str) -> str | None:
    """Reasons: `empty`, `not_json`, `several_objects`, `wrong_shape`, `empty_label`, `label_too_long`."""
    answer = read_object(text)
    said = read_label(answer, text) if answer is not None else NoLabel(unreadable_text(text))
    return said.reason if isinstance(said, NoLabel) else None


def label_from(result: LLMResult, *, rationale: str = "rationale") -> Label | NoLabel:
    """Reasons: that of the failed request, `refusal`, `truncated`, and those of `label_problem`.

    `rationale` names the key of the answer that says why, if it has one.
    """
    if isinstance(result, CompletionFailure):
        return NoLabel(result.reason, raw=result.answer.text if result.answer else result.detail or None)
    answer = read_object(result.text)
    if answer is None:
        return NoLabel(unreadable(result), raw=result.text)
    return read_label(answer, result.text, rationale=rationale)


def label_of_only(results: Sequence[LLMResult], *, rationale: str = "rationale") -> Label | NoLabel:
    """The label in the answer to the one question; `no_evidence` where nothing could be asked."""
    return label_from(results[0], rationale=rationale) if results else NoLabel("no_evidence")


def read_label(answer: Mapping[str, JSON], raw: str, *, rationale: str = "rationale") -> Label | NoLabel:
    label, why = answer.get("label"), answer.get(rationale)
    if not isinstance(label, str):
        return NoLabel("wrong_shape", raw=raw)
    text = " ".join(label.split())
    if not text:
        return NoLabel("empty_label", raw=raw)
    if len(text.split()) > MAX_LABEL_WORDS:
        return NoLabel("label_too_long", raw=raw)
    return Label(text, rationale=why if isinstance(why, str) else None)
