"""Offline scorer `pattern`: apply a label's executable pattern to each window.

The grade is the pattern's log odds that the window fires; one curve fitted on the `select` split makes it a
probability. Without a label the judge sees only how long the window is: a cue that must not help.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from labeling.patterns import VERSION, Pattern, log_odds
from labeling.types import JSON, Grades, JudgeTask, Label, LLMRequest, LLMResult, Windows


@dataclass(frozen=True)
class PatternScorer:
    name: str = "pattern"
    model: str | None = None
    calibrated: bool = False
    uses_panel: bool = True
    parallel: bool = True

    @property
    def prompt_version(self) -> str:
        return VERSION

    @property
    def parameters(self) -> Mapping[str, JSON]:
        return {}

    def accepts(self, label: Label | None) -> str | None:
        return "no_pattern" if label is not None and label.pattern is None else None

    def requests(self, task: JudgeTask, windows: Windows) -> tuple[LLMRequest, ...]:  # noqa: ARG002
        return ()

    def problem(self, request: LLMRequest, text: str) -> str | None:  # noqa: ARG002 - protocol
        """Nothing is asked, so nothing can be wrong."""
        return None

    def prepare(self, tasks: Sequence[JudgeTask], windows: Windows) -> None:
        """Nothing: patterns have nothing in common."""

    def parse(self, task: JudgeTask, windows: Windows, results: Sequence[LLMResult]) -> Grades:  # noqa: ARG002
        if task.label is None:
            grades = windows.n_tokens[task.rows].astype(np.float64)
        else:
            grades = log_odds(Pattern.from_json(task.label.pattern), windows, task.rows)
        return Grades(values=grades.astype(np.float32), reasons=(None,) * len(task.rows))


def create(*, model: str | None = None, windows_per_request: int | None = None) -> PatternScorer:  # noqa: ARG001
    """Make the scorer. It asks no model."""
    return PatternScorer()
