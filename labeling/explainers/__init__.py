"""Explainers write labels. One file each; the file name is the name users write in `[label] explainer`.

A file defines `create(*, model, prompt) -> Explainer`: `model` is `provider/model` or None, `prompt` the text of the
user's own prompt or None. An explainer is pure: it turns evidence into requests and answers into a label. Sending
requests is written once, elsewhere. An offline explainer makes no requests.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from labeling.types import JSON, Evidence, IntArray, Label, LLMRequest, LLMResult, NoLabel


class Explainer(Protocol):
    @property
    def name(self) -> str: ...

    @property
    def model(self) -> str | None:
        """`provider/model`, or None when it works offline."""

    @property
    def prompt_version(self) -> str:
        """Changes whenever the same evidence could give another label: hash of the prompt, or a version of the rules."""

    @property
    def parameters(self) -> Mapping[str, JSON]: ...

    def evidence_windows(self, evidence: Evidence) -> IntArray:
        """Ids of the windows the label rests on [k]: those shown to the model, or read by the rules."""

    def requests(self, evidence: Evidence) -> tuple[LLMRequest, ...]:
        """Empty when it works offline, or when there is nothing to show."""

    def problem(self, request: LLMRequest, text: str) -> str | None:
        """What is wrong with the text of an answer, one of `labeling.answers.PROBLEMS`; None when `parse` can use it."""

    def parse(self, evidence: Evidence, results: Sequence[LLMResult]) -> Label | NoLabel:
        """`results` has one entry a request, in order. A failed request becomes NoLabel, never a default label."""
