"""A labeller for tests: reads the prompts of `top_and_random` and answers with the label that fits what it was shown.

It knows every label that is compared and where each holds, but of a feature only the windows in its prompt. So its labels
are the best that these windows allow, and their errors are those of the evidence. Labels that fit equally well are told
apart by chance.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from evals.planted.extents import BoolArray
from evals.planted.population import Knowledge
from labeling.identity import identify
from labeling.types import LLMRequest

_FIRING = re.compile(r'^\d+ (".*")$', re.MULTILINE)
_SILENT = re.compile(r'^(".*")$', re.MULTILINE)
_MARK = re.compile(r"<<|>>")
NOTHING_SHOWN = "I see no excerpts."


@dataclass(frozen=True, eq=False)
class Reader:
    """Answers like a model: hand it to `labeling.llm.scripted.Scripted`."""

    knowledge: Knowledge
    """Of the windows that prompts show."""
    covered: Mapping[str, BoolArray]
    """The labels that it may answer with, and where they hold in those windows."""

    def __call__(self, request: LLMRequest) -> str:
        firing, silent = read_excerpts(request.user)
        if not firing:
            return NOTHING_SHOWN
        label = self.best(firing, silent)
        return json.dumps({"rationale": "it fits the excerpts best", "label": label})

    def best(self, firing: tuple[str, ...], silent: tuple[str, ...]) -> str:
        """The label with the highest balanced accuracy on these windows."""
        rows, other = self.knowledge.rows_of(firing), self.knowledge.rows_of(silent)
        tie = identify("reader", firing=list(firing), silent=list(silent))

        def fit(label: str) -> tuple[float, str]:
            covered = self.covered[label]
            wrong = float(np.mean(covered[other])) if len(other) else 0.0
            return float(np.mean(covered[rows])) - wrong, identify("tie", of=tie, label=label)

        return max(self.covered, key=fit)


def read_excerpts(user: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Firing and silent windows of a prompt, unquoted and without marks (marks in the text itself are escaped)."""
    return tuple(map(_unmarked, _FIRING.findall(user))), tuple(map(_unmarked, _SILENT.findall(user)))


def _unmarked(quoted: str) -> str:
    text: str = json.loads(_MARK.sub("", quoted))
    return text
