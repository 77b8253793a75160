"""Windows of one feature as people read them: words shaded by activation, grouped by why the windows were chosen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dashboards.heatmap import Word, words
from dashboards.wording import Term, stratum

BESIDE_CHARACTERS = 400
"""Of the windows before and after, at most so many are shown."""
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Shown:
    """One window. `row` is what the query said of it; `before` and `after` are text of the same document."""

    row: Row
    words: tuple[Word, ...]
    before: str
    after: str


@dataclass(frozen=True)
class Band:
    """Windows that were chosen for the same reason."""

    name: str
    term: Term
    silent: bool
    windows: tuple[Shown, ...]


def bands(shown: Sequence[Shown], order: Sequence[str]) -> tuple[Band, ...]:
    """Group windows by stratum, in the given order; strata without a window are left out."""
    groups: dict[str, list[Shown]] = {name: [] for name in order}
    for window in shown:
        groups[window.row["stratum"]].append(window)
    return tuple(
        Band(name, stratum(name), name.startswith(("hard", "random")), tuple(some))
        for name, some in groups.items()
        if some
    )


def shown_windows(rows: Sequence[Row], *, largest: float, beside: Mapping[int, Row] | None = None) -> tuple[Shown, ...]:
    """Windows ready to be drawn. `largest` is the raw activation of the darkest shade; `beside` has neighbors by id."""
    return tuple(_shown(row, largest, beside or {}) for row in rows)


def _shown(row: Row, largest: float, beside: Mapping[int, Row]) -> Shown:
    return Shown(
        row,
        words(
            row["text"],
            starts=row["token_starts"],
            ends=row["token_ends"],
            positions=row["positions"],
            activations=row["activations"],
            largest=largest,
        ),
        before=_text_beside(row, beside.get(row["window_id"] - 1))[-BESIDE_CHARACTERS:],
        after=_text_beside(row, beside.get(row["window_id"] + 1))[:BESIDE_CHARACTERS],
    )


def _text_beside(row: Row, other: Row | None) -> str:
    return "" if other is None or other["document_id"] != row["document_id"] else str(other["text"])
