"""Labels that were written elsewhere, taken from a file and scored like any other: people's, Neuronpedia's, other tools'.

`import` can't stand in an import statement; variants are found by name, so nobody needs one. The files themselves are read
by `labeling/label_files.py`. What an author saw when writing is not known: their evidence is empty.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from labeling.label_files import LabelsBy, LabelSource
from labeling.types import JSON, Evidence, FeatureInfo, IntArray, Label, LLMRequest, LLMResult, NoLabel


def create(*, labels: LabelSource | None) -> Import:
    """Make the explainer. Raise ValueError, a programming error, without labels: whoever reads the config asks for them."""
    if labels is None:
        raise ValueError("import takes labels from a file, and got none")
    return Import(labels.author, labels.unnamed, labels.labels())


@dataclass(frozen=True)
class Import:
    author: str
    unnamed: str
    """Feature set that labels without one are of."""
    labels: LabelsBy
    name: str = "import"
    model: str | None = None

    @property
    def prompt_version(self) -> str:
        """Hash of the author's labels."""
        return self.labels.version

    @property
    def parameters(self) -> Mapping[str, JSON]:
        return {}

    def has(self, feature: FeatureInfo) -> bool:
        return self.labels.find(feature.feature_set, feature.feature, unnamed=self.unnamed) is not None

    def evidence_windows(self, evidence: Evidence) -> IntArray:  # noqa: ARG002 - protocol
        return np.empty(0, np.int64)

    def requests(self, evidence: Evidence) -> tuple[LLMRequest, ...]:  # noqa: ARG002
        return ()

    def problem(self, request: LLMRequest, text: str) -> str | None:  # noqa: ARG002 - protocol
        """Nothing is asked, so nothing can be wrong."""
        return None

    def parse(self, evidence: Evidence, results: Sequence[LLMResult]) -> Label | NoLabel:  # noqa: ARG002
        info = evidence.feature
        label = self.labels.find(info.feature_set, info.feature, unnamed=self.unnamed)
        return NoLabel("not_in_the_file") if label is None else Label(label.text)
