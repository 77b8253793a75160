"""Marked words that a label-blind reader can't tell from the true ones: wrong marks for firing windows.

Wrong marks are the right marks of another window of the same feature. Each window's marks are lent to one other window,
so wrong and right marks have the same counts and lengths in tokens, and the same positions up to a shift of a few tokens.
Which window lends to which, and the shift, are chosen so that the words they fall on are alike in what meets the eye: a
stop word, a capital letter, a digit, a whole word, its length.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from evals.items import Float
from labeling.prompts import MARK_SHARE, Span, firing_spans
from labeling.types import Contexts, FloatArray, IntArray, Windows

_STOP_WORDS = (
    "a about after all also an and any are as at be because been before but by can could did do does for from had has "
    "have he her his how i if in into is it its just like may me more my no not of on one only or other our out over she "
    "so some such than that the their them then there these they this those to up was we were what when which who will "
    "with would you your"
)
STOP_WORDS = frozenset(_STOP_WORDS.split())
IMPOSSIBLE = 1e6
"""Cost of marks that can't be lent: they would fall on a firing token, or on no text."""
SHIFT, SHIFT_COST = 3, 0.15
"""Tokens that a mark may move to find a word that looks alike, and what a token of it costs."""
BORROWERS = 20
"""Windows that are tried for the marks of each one."""


@dataclass(frozen=True)
class Marked:
    """Pairs of marks: window `right[i]` with its own marks, and window `wrong[i]` with those of `right[i]`."""

    right: IntArray  # [k] positions in the windows that were given
    wrong: IntArray  # [k] the same windows in another order
    right_spans: tuple[tuple[Span, ...], ...]
    wrong_spans: tuple[tuple[Span, ...], ...]


@dataclass(frozen=True)
class Mark:
    """One mark of a window: neighboring tokens, and what the marked text looks like."""

    start: int
    length: int
    """Tokens."""
    shape: tuple[float, ...]


def lend_marks(windows: Windows, rows: IntArray, activations: FloatArray, generator: np.random.Generator) -> Marked:
    """Lend each window's marks to another window; windows that can neither lend nor borrow are left out.

    `activations` [n, width] are those of `rows` [n].
    """
    from scipy.optimize import linear_sum_assignment

    cost, placed = _costs(windows, rows, activations, generator)
    lender, borrower = linear_sum_assignment(cost) if len(rows) else (rows[:0], rows[:0])
    kept = cost[lender, borrower] < IMPOSSIBLE
    # A window that only lends or only borrows would tell right from wrong: whole cycles are kept.
    lender, borrower = _both_ways(lender[kept], borrower[kept])
    own = [tuple(firing_spans(windows, int(rows[of]), activations[of])) for of in lender]
    borrowed = [tuple(placed[of, to]) for of, to in zip(lender.tolist(), borrower.tolist(), strict=True)]
    return Marked(lender, borrower, tuple(own), tuple(borrowed))


def disguise(
    windows: Windows, lenders: Contexts, silent: Sequence[int], generator: np.random.Generator
) -> tuple[int, tuple[Span, ...]] | None:
    """A silent window with marks where a firing window has them, on words that look like the lender's.

    The first of the lenders that fits any window lends, whatever its marks: choosing among lenders by likeness would
    prefer those with few marks, and so give intruders away. None where none fits.
    """
    tried = [silent[int(place)] for place in generator.permutation(len(silent))[:BORROWERS]]
    nothing = np.zeros(windows.width, np.float32)
    for lender in range(len(lenders)):
        marks = marks_of(windows, int(lenders.row[lender]), lenders.activations[lender])
        fits = {row: fit for row in tried if (fit := _fit(windows, marks, row, nothing, {}, generator)) is not None}
        if fits:
            row = min(fits, key=lambda row: fits[row][0])
            return row, tuple(fits[row][1])
    return None


def marks_of(windows: Windows, row: int, activations: FloatArray) -> list[Mark]:
    """Marks of a firing window; none where tokens and text don't agree on their number."""
    peak = float(activations.max(initial=0.0))
    strong = [p for p in range(int(windows.n_tokens[row])) if peak > 0 and activations[p] >= MARK_SHARE * peak]
    groups: list[list[int]] = []
    for position in strong:
        if groups and position == groups[-1][-1] + 1:
            groups[-1].append(position)
        else:
            groups.append([position])
    spans = firing_spans(windows, row, activations)
    if len(spans) != len(groups):  # a token without text stands between two marks: they are read as one
        return []
    shapes = [word_shape(windows.text[row], span) for span in spans]
    return [Mark(group[0], len(group), shape) for group, shape in zip(groups, shapes, strict=True)]


def _both_ways(lender: IntArray, borrower: IntArray) -> tuple[IntArray, IntArray]:
    """Drop pairs until every window that lends also borrows."""
    while True:
        both = np.intersect1d(lender, borrower)
        kept = np.isin(lender, both) & np.isin(borrower, both)
        if kept.all():
            return lender, borrower
        lender, borrower = lender[kept], borrower[kept]


def _costs(
    windows: Windows, rows: IntArray, activations: FloatArray, generator: np.random.Generator
) -> tuple[Float, dict[tuple[int, int], list[Span]]]:
    """[n, n] how unlike the words are when window i lends its marks to window j, and where they then stand."""
    cost = np.full((len(rows), len(rows)), IMPOSSIBLE)
    placed: dict[tuple[int, int], list[Span]] = {}
    shapes: Shapes = {}
    for lender, row in enumerate(rows):
        marks = marks_of(windows, int(row), activations[lender])
        for borrower in generator.permutation(len(rows))[:BORROWERS].tolist():
            if borrower == lender:
                continue
            fit = _fit(windows, marks, int(rows[borrower]), activations[borrower], shapes, generator)
            if fit is not None:
                cost[lender, borrower], placed[lender, borrower] = fit
    return cost, placed


Shapes = dict[tuple[int, int, int], "tuple[float, ...] | None"]
"""What the text at a row, a first token and a number of tokens looks like."""


def _fit(
    windows: Windows,
    marks: Sequence[Mark],
    row: int,
    activations: FloatArray,
    shapes: Shapes,
    generator: np.random.Generator,
) -> tuple[float, list[Span]] | None:
    """How unlike the words are when marks are put into a window, and the spans; None where they don't fit."""
    total, free, values = 0.0, 0, np.zeros(windows.width, np.float32)
    silent = activations <= 0
    jitter = generator.random(2 * SHIFT + 1).tolist()
    for mark in marks:
        best: tuple[float, int] | None = None
        for shift in range(-SHIFT, SHIFT + 1):
            start = mark.start + shift
            if (
                start < free
                or start + mark.length > windows.n_tokens[row]
                or not silent[start : start + mark.length].all()
            ):
                continue
            key = (row, start, mark.length)
            if key not in shapes:
                shapes[key] = _shape_at(windows, *key)
            shape = shapes[key]
            if shape is not None:
                unlike = sum(abs(a - b) for a, b in zip(shape, mark.shape, strict=True)) + SHIFT_COST * abs(shift)
                best = min(best or (IMPOSSIBLE, 0), (unlike + jitter[shift + SHIFT] / 100, start))
        if best is None:
            return None
        total, free = total + best[0], best[1] + mark.length + 1
        values[best[1] : best[1] + mark.length] = 1
    spans = firing_spans(windows, row, values)
    return (total, spans) if marks and len(spans) == len(marks) else None


def _shape_at(windows: Windows, row: int, start: int, length: int) -> tuple[float, ...] | None:
    """What the text of some tokens looks like; None where it is not one piece of text."""
    values = np.zeros(windows.width, np.float32)
    values[start : start + length] = 1
    spans = firing_spans(windows, row, values)
    return word_shape(windows.text[row], spans[0]) if len(spans) == 1 else None


def word_shape(text: str, span: Span) -> tuple[float, ...]:
    """What meets the eye of a marked piece of text, as numbers of about equal weight."""
    piece = text[span[0] : span[1]]
    before, after = text[: span[0]][-1:], text[span[1] :][:1]
    letters = [c for c in piece if c.isalpha()]
    return (
        2.0 * (piece.casefold() in STOP_WORDS),
        1.0 * any(c.isupper() for c in letters),
        1.0 * (bool(letters) and letters[0].isupper()),
        2.0 * (not letters),
        2.0 * len(piece.split()),
        1.0 * any(c.isdigit() for c in piece),
        1.5 * (piece[:1].isalnum() and before.isalnum()),
        1.5 * (piece[-1:].isalnum() and after.isalnum()),
        math.log2(1 + len(piece)),
    )
