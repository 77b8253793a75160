"""Judge a label offline: how alike are label and window in meaning? The cosine of their sentence embeddings.

From a label and windows to one raw number a window, without any request. It knows nothing of activations; a curve
fitted on the `select` split turns its numbers into probabilities.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from labeling.sentence_embeddings import SentenceEmbedder
from labeling.types import JSON, FloatArray, Grades, JudgeTask, Label, LLMRequest, LLMResult, Windows

CACHED_TEXTS = 100_000
"""Texts whose vectors are kept between tasks: 150 MB of numbers, or those of one call if it has more."""


def create(*, model: str | None = None, windows_per_request: int | None = None) -> Embedding:  # noqa: ARG001 - set for other scorers
    return Embedding()


@dataclass(frozen=True)
class Embedding:
    _embedder: SentenceEmbedder = field(default_factory=SentenceEmbedder)
    _vectors: dict[str, FloatArray] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return "embedding"

    @property
    def model(self) -> None:
        return None

    @property
    def calibrated(self) -> bool:
        return False

    @property
    def uses_panel(self) -> bool:
        """The panel is embedded once for all features: a few seconds."""
        return True

    @property
    def parallel(self) -> bool:
        """The same windows are judged for many features: each process would embed them again."""
        return False

    @property
    def prompt_version(self) -> str:
        return "1"

    @property
    def parameters(self) -> Mapping[str, JSON]:
        return {"embedder": self._embedder.name}

    def accepts(self, label: Label | None) -> str | None:
        return "empty_label" if label is not None and not label.text.strip() else None

    def requests(self, task: JudgeTask, windows: Windows) -> tuple[LLMRequest, ...]:  # noqa: ARG002 - protocol
        return ()

    def problem(self, request: LLMRequest, text: str) -> str | None:  # noqa: ARG002 - protocol
        """Nothing is asked, so nothing can be wrong."""
        return None

    def prepare(self, tasks: Sequence[JudgeTask], windows: Windows) -> None:
        """Embed all texts at once: the more there are, the fuller are the forward passes."""
        rows = sorted({int(row) for task in tasks for row in task.rows})
        labels = dict.fromkeys(_label_text(task) for task in tasks)
        self._remember([*labels, *(windows.text[row] for row in rows)])

    def parse(self, task: JudgeTask, windows: Windows, results: Sequence[LLMResult]) -> Grades:  # noqa: ARG002
        """Cosine of label and window, -1 to 1. Without a label the empty text is compared: it knows no feature."""
        label = self._embed([_label_text(task)])[0]
        values = self._embed([windows.text[int(row)] for row in task.rows]) @ label
        return Grades(values.astype(np.float32), [None] * len(values))

    def _embed(self, texts: Sequence[str]) -> FloatArray:
        """Vectors [n, 384] of texts, from those seen before where possible."""
        self._remember(texts)
        return np.array([self._vectors[text] for text in texts], np.float32).reshape(len(texts), -1)

    def _remember(self, texts: Sequence[str]) -> None:
        new = [text for text in dict.fromkeys(texts) if text not in self._vectors]
        if len(self._vectors) + len(new) > CACHED_TEXTS:
            self._vectors.clear()
            new = list(dict.fromkeys(texts))
        self._vectors.update(zip(new, self._embedder.embed(new), strict=True))


def _label_text(task: JudgeTask) -> str:
    return task.label.text if task.label else ""
