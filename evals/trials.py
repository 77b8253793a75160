"""The seam of scorers that ask in trials: plain data from a feature's contexts to questions, answers and metrics.

A trial is one question with one answer that can be right or wrong: are these the marked words, which of these labels,
which window is the intruder. It is not tied to one grade a window, so such a scorer brings its own metrics. Nothing here
knows tables, prompts or models.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from evals.items import Float, Int
from labeling.prompts import Span
from labeling.shares import share_out
from labeling.types import QUANTILES, Contexts, IntArray, Label, StringArray

Bool = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Panel:
    """The shared random windows of the split, and what one feature does in each."""

    row: IntArray  # [m] row of the window in the Windows at hand, in the order of the panel
    stratum: StringArray  # [m] stratum that the window falls into for the feature; `random` where it is silent


@dataclass(frozen=True, eq=False)
class Subject:
    """One label on one feature: everything that a scorer may look at. All windows are of the split `score`."""

    feature: int
    label: Label | None
    """None: the judge guesses, or the scorer reads no label."""
    contexts: Contexts
    panel: Panel
    rivals: tuple[str, ...] = ()
    """Other features' labels, those of the nearest first; as many as the scorer asks for with `rivals`."""
    seed: int = 0
    """Made of feature and epoch, so that competing labels meet the same trials."""
    epoch: int = 0

    def generator(self, *purpose: int) -> np.random.Generator:
        """Randomness that depends on the feature, the seed and the purpose, never on the label."""
        return np.random.default_rng([self.seed, self.feature, self.epoch, *purpose])


@dataclass(frozen=True)
class Trial:
    """One question. `truth` is the right answer in the scorer's own numbers; None where nothing is right or wrong."""

    rows: tuple[int, ...]
    """Rows of the windows that are shown, in the order they are shown; the first one names the trial in tables."""
    variant: str
    """What kind of trial it is, in the scorer's own words; metrics tell trials apart by it."""
    truth: float | None
    weight: float = 1.0
    """Windows of the split that the trial stands for."""
    options: int | None = None
    """Answers to choose from, where the answer is a choice: a guess is right once in so many."""
    marks: tuple[tuple[Span, ...], ...] = ()
    """Marked places of each window, for scorers that mark."""
    choices: tuple[str, ...] = ()
    """Texts to choose from, in the order they are shown."""
    activations: tuple[float, ...] = ()
    """Raw activation of each token, for scorers that predict every token."""


@dataclass(frozen=True)
class Answer:
    """What came back for one trial."""

    grade: float
    """In the numbers of `truth`; NaN where it is lost."""
    reason: str | None
    """Why it is lost; None where it is answered."""
    request: int
    """Which of the requests asked, 0-based."""
    place: int
    """Place in that request, 1-based."""
    levels: tuple[float, ...] = ()
    """Predicted level 0-10 of each token, for scorers that predict every token."""
    expected: tuple[float, ...] = ()
    """Expected level of each of those tokens, by the probabilities of the judge's output; empty where not known."""


@dataclass(frozen=True)
class Asked:
    """A label with its trials: what requests are written from."""

    subject: Subject
    trials: tuple[Trial, ...]


@dataclass(frozen=True, eq=False)
class Judged:
    """One label with its trials and answers, as they are stored. Arrays have one entry a trial."""

    variant: StringArray  # [n]
    truth: Float  # [n] NaN where nothing is right or wrong
    grade: Float  # [n] NaN where it is lost
    weight: Float  # [n]
    options: Int  # [n] 0 where the answer is no choice
    document: Int  # [n] code of the document of the trial's first window
    reason: tuple[str | None, ...]  # n entries
    levels: tuple[tuple[float, ...], ...] = ()  # n entries, of scorers that predict every token
    activations: tuple[tuple[float, ...], ...] = ()
    expected: tuple[tuple[float, ...], ...] = ()  # n entries; an empty one where no probabilities came
    firing_windows: int = 0
    """Exact number of windows of the split that fire; likewise the next two."""
    grey_windows: int = 0
    silent_windows: int = 0
    sharing: int = 0
    """Other features of the set whose label is the same text."""

    def __len__(self) -> int:
        return len(self.grade)

    @property
    def answered(self) -> Bool:
        known: Bool = ~np.isnan(self.grade)
        return known

    @property
    def right(self) -> Bool:
        """[n] whether the answer is the right one; False where it is lost."""
        right: Bool = self.grade == self.truth
        return right

    def take(self, chosen: Bool) -> Judged:
        """The trials of a mask."""
        where = np.flatnonzero(chosen)

        def some(values: tuple[tuple[float, ...], ...]) -> tuple[tuple[float, ...], ...]:
            return tuple(values[i] for i in where) if values else ()

        return Judged(
            self.variant[chosen],
            self.truth[chosen],
            self.grade[chosen],
            self.weight[chosen],
            self.options[chosen],
            self.document[chosen],
            tuple(self.reason[i] for i in where),
            some(self.levels),
            some(self.activations),
            some(self.expected),
            self.firing_windows,
            self.grey_windows,
            self.silent_windows,
            self.sharing,
        )


@dataclass(frozen=True)
class Firing:
    """Firing windows of a feature, one a row: a window that is in two strata counts once."""

    contexts: Contexts
    weight: Float = field(repr=False)  # [n] windows that each stands for

    def __len__(self) -> int:
        return len(self.contexts)


def firing_contexts(subject: Subject) -> Firing:
    """Contexts of the activation quantiles, the weakest first."""
    kept = subject.contexts.take(np.isin(subject.contexts.stratum, QUANTILES))
    order = np.lexsort((kept.row, kept.max_activation))
    kept = kept.take(order)
    return Firing(kept, kept.population / np.maximum(kept.sampled, 1))


def even_shares(piles: Sequence[int], each: int) -> list[int]:
    """How many to take from piles of these sizes for `each` of every pile on average: what one lacks, others make up.

    Equal activations put all firing windows of a feature into one quantile, and its trials into one pile.
    """
    shares: list[int] = share_out(np.array([piles], np.int64), each * len(piles))[0].tolist()
    return shares


def without_repeats(rows: IntArray, texts: Sequence[str]) -> IntArray:
    """Positions in `rows` whose window's text comes for the first time: a window shown twice counts once."""
    seen: dict[str, int] = {}
    for position, row in enumerate(rows):
        seen.setdefault(" ".join(texts[int(row)].split()), position)
    return np.array(sorted(seen.values()), np.int64)


def deal(n: int, *, most: int, generator: np.random.Generator) -> list[IntArray]:
    """Deal `n` things into as few groups of at most `most` as hold them, at random; sizes differ by one at most."""
    return np.array_split(generator.permutation(n), -(-n // most)) if n else []


def deal_labels(subjects: Sequence[Subject], *, together: int, seed: int) -> list[list[int]]:
    """Positions of the subjects that share requests: one each, or those of up to `together` different texts.

    Own labels and controls are mixed at random. A text that several subjects have is asked about once.
    """
    if together == 1:
        return [[position] for position in range(len(subjects))]
    by_text: dict[str | None, list[int]] = defaultdict(list)
    for position, subject in enumerate(subjects):
        by_text[subject.label.text if subject.label else None].append(position)
    texts = sorted(by_text, key=lambda text: (text is None, text or ""))
    blocks = deal(len(texts), most=together, generator=np.random.default_rng(seed))
    return [[position for t in block for position in by_text[texts[t]]] for block in blocks]
