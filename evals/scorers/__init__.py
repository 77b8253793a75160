"""Scorers judge labels: how likely does the feature fire in a window, given the label? One file each.

A file defines `create(*, model, windows_per_request) -> Scorer`; offline scorers need neither. A scorer is pure, like
an explainer: requests out, grades in. LLM scorers grade with a probability. Offline scorers give a raw number
(`calibrated = False`) that is turned into a probability by one curve fitted on the `select` split.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from labeling.types import JSON, Grades, JudgeTask, Label, LLMRequest, LLMResult, Windows


class Scorer(Protocol):
    @property
    def name(self) -> str: ...

    @property
    def model(self) -> str | None:
        """The judge, `provider/model`, or None when it works offline."""

    @property
    def calibrated(self) -> bool:
        """Whether grades are probabilities already."""

    @property
    def uses_panel(self) -> bool:
        """Whether the shared random panel is judged too (cheap offline, costly with an LLM)."""

    @property
    def parallel(self) -> bool:
        """Whether shards may be judged in processes of their own: it asks no provider and shares nothing costly."""

    @property
    def prompt_version(self) -> str: ...

    @property
    def parameters(self) -> Mapping[str, JSON]: ...

    def accepts(self, label: Label | None) -> str | None:
        """None when a label can be judged, else the reason why not (it has no pattern, say); others are never asked about.

        No label is the control that must guess.
        """

    def requests(self, task: JudgeTask, windows: Windows) -> tuple[LLMRequest, ...]: ...

    def problem(self, request: LLMRequest, text: str) -> str | None:
        """What is wrong with the text of an answer, one of `labeling.answers.PROBLEMS`; None when `parse` can use it."""

    def prepare(self, tasks: Sequence[JudgeTask], windows: Windows) -> None:
        """Do together what costs less together for many tasks; called with those that `parse` will be given."""

    def parse(self, task: JudgeTask, windows: Windows, results: Sequence[LLMResult]) -> Grades:
        """`results` has one entry a request, in order. A window without a readable answer is NaN with a reason."""
