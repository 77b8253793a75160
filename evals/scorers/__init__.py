"""Scorers judge labels, one file each. There are two families, both pure: requests out, answers in.

A `Scorer` answers one question: how likely does the feature fire in a window, given the label? It grades windows; which
windows, and all metrics, are the same for all of its kind. LLM scorers grade with a probability. Offline scorers give a
raw number (`calibrated = False`) that is turned into a probability by one curve fitted on the `select` split.

A `TrialScorer` asks questions of its own kind (which of these labels? are these the right marks?), chooses its trials
itself, and brings its own metrics; `headline` is the one that people see first.

A file defines `create(*, model, windows_per_request)`; offline scorers need neither. One that can use log-probabilities
takes `logprobs` besides: whether it may ask for them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

from evals.trial_measures import Measured
from evals.trials import Answer, Asked, Judged, Subject, Trial
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


@runtime_checkable
class TrialScorer(Protocol):
    @property
    def name(self) -> str: ...

    @property
    def model(self) -> str | None:
        """The judge, `provider/model`, or None when it works offline."""

    @property
    def parallel(self) -> bool:
        """As in Scorer."""

    @property
    def prompt_version(self) -> str: ...

    @property
    def parameters(self) -> Mapping[str, JSON]: ...

    @property
    def reads_label(self) -> bool:
        """Whether it judges labels. Otherwise it judges features, once for all explainers, and has no controls."""

    @property
    def rivals(self) -> int:
        """Other features' labels that it wants to see beside each label; most want none."""

    @property
    def labels_together(self) -> int:
        """Different labels that share requests, at most; 1 where each label has requests of its own."""

    @property
    def headline(self) -> str:
        """Which of its metrics people see first."""

    def accepts(self, label: Label | None) -> str | None:
        """As in Scorer."""

    def trials(self, subject: Subject, windows: Windows) -> tuple[Trial, ...]:
        """Choose the trials of one label; none where the feature has too few windows. It must not read the label's
        text, except where the text is what is chosen from: competing labels meet the same trials."""

    def requests(self, asked: Sequence[Asked], windows: Windows) -> tuple[LLMRequest, ...]:
        """Ask about labels that share requests: exactly one, unless `labels_together` allows more."""

    def problem(self, request: LLMRequest, text: str) -> str | None:
        """As in Scorer."""

    def parse(self, asked: Sequence[Asked], windows: Windows, results: Sequence[LLMResult]) -> list[list[Answer]]:
        """One answer a trial, in the order of each label's trials. What can't be read is NaN with a reason."""

    def measure(self, judged: Sequence[Judged]) -> Measured:
        """The same metrics for every label. What can't be measured has a reason and no value."""


AnyScorer = Scorer | TrialScorer


def reads_labels(scorer: AnyScorer) -> bool:
    """Whether a scorer judges labels; otherwise it judges features."""
    return not isinstance(scorer, TrialScorer) or scorer.reads_label


def repeated_by_headline(scorer: AnyScorer) -> str | None:
    """Which of its own metrics the row `headline` repeats; None where it is the headline of graded windows."""
    return scorer.headline if isinstance(scorer, TrialScorer) else None


def needs_calibration(scorer: AnyScorer) -> bool:
    """Whether grades are raw numbers that one curve has to turn into probabilities."""
    return not isinstance(scorer, TrialScorer) and not scorer.calibrated
