"""Marked words that a label-blind reader can't tell from the true ones: wrong marks for firing windows.

Wrong marks are the right marks of another window of the same feature, put at the same token positions. Each window's
marks are lent to one other window, so wrong and right marks have exactly the same counts and positions; which window
lends to which is chosen so that the words they fall on are alike in what meets the eye (a stop word, a capital letter,
a digit, a whole word, its length).
"""

from __future__ import annotations

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
"""Cost of a mark that can't be lent: it would fall on a firing token, on nothing, or on another count of places."""


@dataclass(frozen=True)
class Marked:
    """Pairs of marks: window `right[i]` with its own marks, and window `wrong[i]` with those of `right[i]`."""

    right: IntArray  # [k] positions in the windows that were given
    wrong: IntArray  # [k] a permutation of the same windows, as far as all can take part
    right_spans: tuple[tuple[Span, ...], ...]
    wrong_spans: tuple[tuple[Span, ...], ...]


def lend_marks(windows: Windows, rows: IntArray, activations: FloatArray, generator: np.random.Generator) -> Marked:
    """Lend each window's marks to another window; windows that can neither lend nor borrow are left out.

    `activations` [n, width] are those of `rows` [n]. Ties are broken at random.
    """
    from scipy.optimize import linear_sum_assignment

    own = [tuple(firing_spans(windows, int(row), values)) for row, values in zip(rows, activations, strict=True)]
    cost = _costs(windows, rows, activations, own) + generator.random((len(rows), len(rows))) / 4
    lender, borrower = linear_sum_assignment(cost) if len(rows) else (rows[:0], rows[:0])
    kept = cost[lender, borrower] < IMPOSSIBLE
    # A window that only lends or only borrows would tell right from wrong: whole cycles are kept.
    lender, borrower = _both_ways(lender[kept], borrower[kept])
    borrowed = [
        tuple(place_marks(windows, int(rows[to]), mark_positions(windows, int(rows[of]), activations[of])))
        for of, to in zip(lender, borrower, strict=True)
    ]
    return Marked(lender, borrower, tuple(own[of] for of in lender), tuple(borrowed))


def mark_positions(windows: Windows, row: int, activations: FloatArray) -> list[list[int]]:
    """Token positions of each mark of a firing window: neighbors that are marked make one mark."""
    peak = float(activations.max(initial=0.0))
    strong = [p for p in range(int(windows.n_tokens[row])) if peak > 0 and activations[p] >= MARK_SHARE * peak]
    groups: list[list[int]] = []
    for position in strong:
        if groups and position == groups[-1][-1] + 1:
            groups[-1].append(position)
        else:
            groups.append([position])
    return groups


def _both_ways(lender: IntArray, borrower: IntArray) -> tuple[IntArray, IntArray]:
    """Drop pairs until every window that lends also borrows."""
    while True:
        both = np.intersect1d(lender, borrower)
        kept = np.isin(lender, both) & np.isin(borrower, both)
        if kept.all():
            return lender, borrower
        lender, borrower = lender[kept], borrower[kept]


def place_marks(windows: Windows, row: int, groups: Sequence[Sequence[int]]) -> list[Span]:
    """Spans of marks at given token positions, made like those of firing tokens: marks that touch become one."""
    values = np.zeros(windows.width, np.float32)
    values[[position for group in groups for position in group]] = 1
    return firing_spans(windows, row, values)


def _costs(windows: Windows, rows: IntArray, activations: FloatArray, own: Sequence[tuple[Span, ...]]) -> Float:
    """[n, n] how unlike the words are when window i lends its marks to window j; IMPOSSIBLE where it can't."""
    groups = [mark_positions(windows, int(row), values) for row, values in zip(rows, activations, strict=True)]
    shapes = [
        [word_shape(windows.text[int(row)], span) for span in spans] for row, spans in zip(rows, own, strict=True)
    ]
    cost = np.full((len(rows), len(rows)), IMPOSSIBLE)
    for i, group in enumerate(groups):
        wanted = [position for mark in group for position in mark]
        for j, row in enumerate(rows):
            if i == j or not wanted or wanted[-1] >= windows.n_tokens[row] or activations[j, wanted].any():
                continue
            spans = place_marks(windows, int(row), group)
            if len(spans) == len(own[i]):
                found = [word_shape(windows.text[int(row)], span) for span in spans]
                cost[i, j] = float(np.abs(np.array(shapes[i]) - np.array(found)).sum())
    return cost


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
        1.0 * any(c.isdigit() for c in piece),
        1.5 * (piece[:1].isalnum() and before.isalnum()),
        1.5 * (piece[-1:].isalnum() and after.isalnum()),
        np.log2(1 + len(piece)),
    )


TRIED = 40
"""Combinations of a lender and a silent window that are tried for the most alike words."""


def disguise(
    windows: Windows, lenders: Contexts, silent: Sequence[int], generator: np.random.Generator
) -> tuple[int, tuple[Span, ...]] | None:
    """A silent window with marks where a firing window has them, on words that look like the lender's.

    Of some combinations drawn at random the one whose words are most alike; None where none fits.
    """
    best: tuple[float, int, tuple[Span, ...]] | None = None
    for _ in range(TRIED if len(silent) and len(lenders) else 0):
        lender, row = int(generator.integers(len(lenders))), int(silent[int(generator.integers(len(silent)))])
        source, values = int(lenders.row[lender]), lenders.activations[lender]
        groups, own = mark_positions(windows, source, values), firing_spans(windows, source, values)
        if not groups or groups[-1][-1] >= windows.n_tokens[row]:
            continue
        spans = place_marks(windows, row, groups)
        if len(spans) != len(own):
            continue
        unlike = sum(
            abs(a - b)
            for mine, theirs in zip(spans, own, strict=True)
            for a, b in zip(word_shape(windows.text[row], mine), word_shape(windows.text[source], theirs), strict=True)
        )
        if best is None or unlike < best[0]:
            best = (unlike, row, tuple(spans))
    return None if best is None else best[1:]
