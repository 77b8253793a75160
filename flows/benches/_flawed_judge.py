"""A judge whose flaws are known: it reads the prompts of the scorer `detection` and answers from the truth, badly.

Its own view of a window depends on nothing but the label, the window and the seed; flaws come on top of it. Their
strengths are assumed, not taken from any model: large enough to see what a design does to them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from evals.planted.judges import read_prompt
from labeling.identity import identify
from labeling.types import LLMRequest

Truth = Callable[[str, str], bool]
"""Whether the feature with this label fires in this text."""


@dataclass(frozen=True)
class Flaws:
    """Strengths; 0 is no flaw. Grades are 0-100, places 1-based."""

    drift: float = -0.2
    """Points added to the grade with every further place."""
    fading: float = 0.01
    """Share of what sets a grade apart from 50 that is lost with every further place: it tires and stops deciding."""
    contrast: float = 0.1
    """Share of what sets the window before apart from 50 that is taken off the grade; negative imitates it."""
    anchoring: float = 0.1
    """Share of what sets the request's first window apart from 50 that is added to the others' grades."""
    slips: float = 0.002
    """Chance, for each window of a request, that it loses count there."""


NO_FLAWS = Flaws(drift=0, fading=0, contrast=0, anchoring=0, slips=0)


@dataclass(frozen=True)
class FlawedJudge:
    """Answers like a model: hand it to `labeling.llm.scripted.Scripted`."""

    truth: Truth
    flaws: Flaws = Flaws()
    separation: float = 2.0
    """Standard deviations between firing and silent windows in its own view: AUROC .92 without flaws."""
    seed: int = 0

    def __call__(self, request: LLMRequest) -> str:
        label, texts = read_prompt(request.user)
        own = np.array([self._own_view(label or "", text) for text in texts])
        grades = [round(grade) for grade in flawed(own, self.flaws)]
        rng = np.random.default_rng(int(identify("slip", seed=self.seed, prompt=request.user), 16))
        slipped = rng.random() < 1 - (1 - self.flaws.slips) ** len(texts)
        return json.dumps(slip(grades, rng) if slipped else _numbered(grades))

    def _own_view(self, label: str, text: str) -> float:
        """Grade 0-100 that it gives when it sees nothing else."""
        sign = 1 if self.truth(label, text) else -1
        return 100 / (1 + math.exp(-2 * (sign * self.separation / 2 + _noise(self.seed, label, text))))


def flawed(own: np.ndarray, flaws: Flaws) -> np.ndarray:
    """Grades [n] 0-100 of the windows of a request, in their order, from what it thinks of each by itself."""
    place = np.arange(len(own))
    apart = own - 50
    before, first = np.concatenate([[0.0], apart[:-1]]), np.where(place == 0, 0.0, apart[0])
    pulled = apart - flaws.contrast * before + flaws.anchoring * first
    grades: np.ndarray = np.clip(50 + pulled * (1 - flaws.fading) ** place + flaws.drift * place, 0, 100)
    return grades


def slip(grades: list[int], rng: np.random.Generator) -> dict[str, int]:
    """Lose count at one window: leave its grade out, or pass over it so that the last number is left without one, or
    fill that up with the last grade again, which nobody can tell from a good answer."""
    answer, at = _numbered(grades), int(rng.integers(len(grades)))
    kind = rng.integers(3)
    if kind == 0:
        del answer[str(at + 1)]
        return answer
    shifted = grades[:at] + grades[at + 1 :]
    return _numbered(shifted if kind == 1 else shifted + grades[-1:])


def _numbered(grades: list[int]) -> dict[str, int]:
    return {str(number): grade for number, grade in enumerate(grades, start=1)}


@lru_cache(maxsize=100_000)
def _noise(seed: int, label: str, text: str) -> float:
    return float(np.random.default_rng(int(identify("view", seed=seed, label=label, text=text), 16)).normal())
