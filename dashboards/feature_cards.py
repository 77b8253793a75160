"""Features worth looking at, each with its label, score and windows of held-out text. Rows in, cards out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from dashboards import queries
from dashboards.heatmap import Word, words
from dashboards.wording import STRATA, Term

SHOWN = {"top": 3, "q3": 2, "hard_token": 1, "hard_neighbor": 1, "hard_text": 1}
"""Windows a card shows of each stratum."""


@dataclass(frozen=True)
class ShownWindow:
    words: tuple[Word, ...]
    max_activation: float
    probability: float | None
    """How sure the judge is that the feature fires here, 0-1; None where it gave no answer."""
    document: str | None


@dataclass(frozen=True)
class Band:
    """Windows that were chosen for the same reason."""

    stratum: str
    term: Term
    windows: tuple[ShownWindow, ...]


@dataclass(frozen=True)
class Card:
    feature: int
    row: dict[str, Any]
    """The feature's row of the table `labels`."""
    bands: tuple[Band, ...]


@dataclass(frozen=True)
class CardList:
    """Cards under a heading that says why they were picked."""

    key: str
    title: str
    sentence: str
    cards: tuple[Card, ...]


def card_lists(reader: queries.Reader, sample_id: str, *, most: int) -> tuple[CardList, ...]:
    """The best, the most deceptive and the worst labels of a sample; lists without a feature are left out."""
    picked = [
        (
            "best",
            "Labels that predict well",
            "The highest scores that are not luck: sorted by the lower end of the interval, one feature a cluster.",
            queries.best_labels(reader, sample_id, most),
        ),
        (
            "fooled",
            "Right topic, wrong place",
            "These labels tell firing text from random text, but not from text that looks alike: something else "
            "decides whether the feature fires.",
            queries.fooled_labels(reader, sample_id, max(1, most // 2)),
        ),
        (
            "worst",
            "Labels that predict badly",
            "The lowest scores that are not bad luck: sorted by the upper end of the interval, one feature a cluster.",
            queries.worst_labels(reader, sample_id, most),
        ),
    ]
    wanted = sorted({int(feature) for *_, frame in picked for feature in frame["feature"]})
    if not wanted:
        return ()
    found = queries.contexts(reader, sample_id, wanted, SHOWN)
    by_feature = {int(key[0]): frame for key, frame in found.group_by("feature")}
    lists = (CardList(k, t, s, _cards(frame.to_dicts(), by_feature)) for k, t, s, frame in picked)
    return tuple(listed for listed in lists if listed.cards)


def _cards(rows: Iterable[dict[str, Any]], found: dict[int, pl.DataFrame]) -> tuple[Card, ...]:
    return tuple(Card(row["feature"], row, _bands(found.get(row["feature"]), row["max_activation"])) for row in rows)


def _bands(frame: pl.DataFrame | None, largest: float) -> tuple[Band, ...]:
    if frame is None:
        return ()
    rows = frame.sort("place").to_dicts()
    bands = (
        Band(stratum, term, _windows([row for row in rows if row["stratum"] == stratum], largest))
        for stratum, term in STRATA.items()
    )
    return tuple(band for band in bands if band.windows)


def _windows(rows: Sequence[dict[str, Any]], largest: float) -> tuple[ShownWindow, ...]:
    return tuple(
        ShownWindow(
            words=words(
                row["text"],
                starts=row["token_starts"],
                ends=row["token_ends"],
                positions=row["positions"],
                activations=row["activations"],
                largest=largest,
            ),
            max_activation=row["max_activation"],
            probability=row["probability"],
            document=row["document"],
        )
        for row in rows
    )
