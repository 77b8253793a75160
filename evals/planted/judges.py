"""Judges with known faults: scripted language models that answer the real prompts of the scorer `detection`.

A judge reads the label and the quoted windows out of a prompt, looks up what the label means there, and answers with
grades 0-100 as JSON. Whatever is random depends on the judge, the label and the window alone, by a hash; so the same
prompt gets the same answer, and what a judge would say of all windows is known. Without a label it can only guess.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from evals.items import Float
from evals.planted.population import Knowledge, Meaning
from labeling.identity import identify
from labeling.types import IntArray, LLMRequest

_DESCRIPTION = re.compile(r'^Description: (".*")$', re.MULTILINE)
_EXCERPT = re.compile(r'^\d+ (".*")$', re.MULTILINE)

View = Callable[[Meaning, IntArray, Float, Float], Float]
"""Grades [n] 0-100 from a label's meaning, window rows [n] and two random numbers 0-1 a window."""
Habit = Callable[[Float], Float]
"""What a judge does to the grades of a request, in their order."""


@dataclass(frozen=True, eq=False)
class Judge:
    """Answers like a model: hand it to `labeling.llm.scripted.Scripted`."""

    name: str
    knowledge: Knowledge
    view: View
    habit: Habit | None = None
    """None: the grade of a window depends on nothing else in the request."""
    seed: int = 0

    def __call__(self, request: LLMRequest) -> str:
        label, texts = read_prompt(request.user)
        grades = self.grades(label, self.knowledge.rows_of(texts))
        if self.habit is not None:
            grades = self.habit(grades)
        return json.dumps({str(number): int(grade) for number, grade in enumerate(np.rint(grades), start=1)})

    def grades(self, label: str | None, rows: IntArray) -> Float:
        """What it thinks of windows by themselves, 0-100. Raise KeyError for a label that it never heard of."""
        name = identify("judge", judge=self.name, seed=self.seed, label=label)
        u, v = _uniform(int(name, 16), self.knowledge.windows.window[rows])
        if label is None:
            return np.rint(100 * u)
        meaning = self.knowledge.meanings[label]
        grades = self.view(meaning, rows, u, v)
        return np.rint((grades + 50) / 2 if meaning.hedged else grades)


def read_prompt(user: str) -> tuple[str | None, tuple[str, ...]]:
    """The label (None when there is none) and the windows of a prompt of `detection`, unquoted."""
    found = _DESCRIPTION.search(user)
    return (json.loads(found[1]) if found else None), _excerpts(user)


@lru_cache(maxsize=2)
def _excerpts(user: str) -> tuple[str, ...]:
    """Kept for the next judge, which is asked the same."""
    return tuple(json.loads(text) for text in _EXCERPT.findall(user))


def exact(meaning: Meaning, rows: IntArray, u: Float, v: Float) -> Float:  # noqa: ARG001
    """100 where the label holds, else 0."""
    return np.where(meaning.covered[rows], 100.0, 0.0)


def noisy(tpr: float, fpr: float) -> View:
    """Says yes (80-100) with the chance `tpr` where the label holds and `fpr` elsewhere, else no (0-20)."""

    def view(meaning: Meaning, rows: IntArray, u: Float, v: Float) -> Float:
        yes = u < np.where(meaning.covered[rows], tpr, fpr)
        return np.where(yes, 80 + 20 * v, 20 * v)

    return view


def related_aware(meaning: Meaning, rows: IntArray, u: Float, v: Float) -> Float:  # noqa: ARG001
    """About 90 where the label holds, 5-35 where its parent or a sibling does, else 2-6: as a language model does."""
    return np.where(meaning.covered[rows], 82 + 16 * u, np.where(meaning.related[rows], 5 + 30 * u, 2 + 4 * u))


def contrary(view: View) -> View:
    """The opposite of what another judge thinks."""
    return lambda meaning, rows, u, v: 100 - view(meaning, rows, u, v)


def favor_early(grades: Float) -> Float:
    """40 points more for the first window of a request, less for each further one, none for the last."""
    bonus = np.linspace(40, 0, len(grades))
    return np.clip(grades + bonus, 0, 100)


def copy_base_rate(grades: Float) -> Float:
    """Always yes (90) to the better half of a request and no (10) to the rest, whatever it thinks of them."""
    order = np.argsort(-grades, kind="stable")
    answers = np.full(len(grades), 10.0)
    answers[order[: (len(grades) + 1) // 2]] = 90.0
    return answers


def fail(request: LLMRequest) -> str:  # noqa: ARG001
    """A judge that never answers."""
    return "I would rather not judge these excerpts."


def make_judges(knowledge: Knowledge, *, seed: int = 0) -> dict[str, Judge]:
    """Every judge by name, but `fail`."""
    views: Sequence[tuple[str, View, Habit | None]] = [
        ("exact", exact, None),
        ("noisy .95/.05", noisy(0.95, 0.05), None),
        ("noisy .80/.06", noisy(0.80, 0.06), None),
        ("related-aware", related_aware, None),
        ("position-biased", exact, favor_early),
        ("base-rate-copying", noisy(0.95, 0.05), copy_base_rate),
        ("contrarian", contrary(noisy(0.95, 0.05)), None),
    ]
    return {name: Judge(name, knowledge, view, habit, seed) for name, view, habit in views}


def _uniform(key: int, window: IntArray) -> tuple[Float, Float]:
    """Two numbers 0-1 for each window, from a hash of key and window alone (splitmix64, Steele et al. 2014)."""
    state = window.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(key)
    first = _mixed(state)
    return _share(first), _share(_mixed(first + np.uint64(0x9E3779B97F4A7C15)))


def _mixed(state: np.ndarray) -> np.ndarray:
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: np.ndarray = state ^ (state >> np.uint64(31))
    return mixed


def _share(state: np.ndarray) -> Float:
    share: Float = (state >> np.uint64(11)).astype(np.float64) / 2**53
    return share
