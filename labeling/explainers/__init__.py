"""Explainers write labels. One file each; the file name is the name users write in `[label] explainer`.

A file defines `create`, which takes by name what it needs of

    model     `provider/model` or None          prompt   text of the user's own prompt, or None
    judge     a Judge, to try labels with       samples  how many labels to choose from
    labels    one author's labels in a file, or None

and nothing else; an explainer that takes no `model` works offline. An explainer is pure: it turns evidence into requests
and answers into a label. Sending requests is written once, elsewhere. Most ask once (`Explainer`); those whose
questions depend on earlier answers are written as steps (`SteppedExplainer`).
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from typing import Protocol, runtime_checkable

from labeling.types import (
    JSON,
    Evidence,
    FeatureInfo,
    IntArray,
    Label,
    LLMRequest,
    LLMResult,
    NoLabel,
    Trial,
    Verdict,
)

Steps = Generator[Sequence[LLMRequest], Sequence[LLMResult], "Label | NoLabel"]
"""Yields requests, gets one result for each, in order, and returns what came of it.

It must depend on nothing but evidence and results: it is run again from the start whenever answers arrive later.
"""
SAMPLE_STRIDE = 1000
"""Samples of one explanation are this far apart in `LLMRequest.repeat`, so that repeats of it have numbers of their own."""


class Writer(Protocol):
    """What every explainer says of itself."""

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

    def problem(self, request: LLMRequest, text: str) -> str | None:
        """What is wrong with the text of an answer, one of `labeling.answers.PROBLEMS`; None when it can be used."""


class Explainer(Writer, Protocol):
    """Asks once."""

    def requests(self, evidence: Evidence) -> tuple[LLMRequest, ...]:
        """Empty when it works offline, or when there is nothing to show."""

    def parse(self, evidence: Evidence, results: Sequence[LLMResult]) -> Label | NoLabel:
        """`results` has one entry a request, in order. A failed request becomes NoLabel, never a default label."""


@runtime_checkable
class SteppedExplainer(Writer, Protocol):
    """Asks several times, and tries labels on contexts of `select`."""

    def steps(self, evidence: Evidence, trial: Trial) -> Steps: ...


AnyExplainer = Explainer | SteppedExplainer


@runtime_checkable
class HoldsLabels(Protocol):
    """An explainer whose labels were written elsewhere, for some features only."""

    @property
    def author(self) -> str:
        """Who wrote them: stands where other explanations name their language model."""

    def has(self, feature: FeatureInfo) -> bool: ...


class Judge(Protocol):
    """Tries labels while they are being written. It is handed in: this package knows no scorers."""

    @property
    def model(self) -> str: ...

    @property
    def identity(self) -> Mapping[str, JSON]:
        """Everything that could change its verdicts; part of the explainer's parameters."""

    def requests(self, label: Label, trial: Trial) -> tuple[LLMRequest, ...]:
        """Of purpose `select`."""

    def problem(self, request: LLMRequest, text: str) -> str | None: ...

    def verdict(self, label: Label, trial: Trial, results: Sequence[LLMResult]) -> Verdict:
        """`results` has one entry a request, in order."""


def steps_of(explainer: AnyExplainer, evidence: Evidence, trial: Trial | None) -> Steps:
    """Any explainer's way to a label of one feature, as steps. Only stepped ones look at the trial.

    Raise ValueError, a programming error, when a stepped one gets none.
    """
    if not isinstance(explainer, SteppedExplainer):
        return _one_step(explainer, evidence)
    if trial is None:
        raise ValueError(f"the explainer {explainer.name} tries labels, and got no contexts to try them on")
    return explainer.steps(evidence, trial)


def _one_step(explainer: Explainer, evidence: Evidence) -> Steps:
    results = yield explainer.requests(evidence)
    return explainer.parse(evidence, results)


def author_of(explainer: AnyExplainer) -> str | None:
    """Who writes the labels, as tables name it: the language model, the author of imported labels, None offline."""
    return explainer.author if isinstance(explainer, HoldsLabels) else explainer.model
