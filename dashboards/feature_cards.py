"""Features worth looking at, each with its label, score and windows of held-out text. Rows in, cards out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from dashboards import queries, text
from dashboards.document import Card, Measured, Window, WindowBand
from dashboards.heatmap import words
from dashboards.wording import STRATA

Row = Mapping[str, Any]

SHOWN = {"top": 3, "q3": 2, "hard_token": 1, "hard_neighbor": 1, "hard_text": 1}
"""Windows a card shows of each stratum."""


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


def judged_bands(reader: queries.Reader, sample_id: str, row: Row, shown: Mapping[str, int]) -> tuple[WindowBand, ...]:
    """Windows of one feature, at most `shown[stratum]` of each, with what the headline judge said of them."""
    found = queries.contexts(reader, sample_id, [row["feature"]], dict(shown))
    return _bands(found, row["max_activation"])


def score_of(row: Row) -> Measured | None:
    """The headline score of a row of `labels`."""
    if row["score"] is None:
        return None
    return Measured(row["score"], row["score_low"], row["score_high"], chance=0.5)


def facts_of(row: Row) -> str:
    """What is known of a feature, in one line."""
    said = [
        f"feature {row['feature']}",
        f"fires on {text.percent(row['firing_rate'])} of tokens",
        f"largest activation {text.number(row['max_activation'], 2)}",
    ]
    if row.get("against_hard") is not None:
        against = text.number(row["against_random"], 2), text.number(row["against_hard"], 2)
        said.append(f"{against[0]} against random text, {against[1]} against look-alikes")
    if row["cluster_name"]:
        said.append(f"cluster: {text.shorten(row['cluster_name'], 80, told=False)}")
    return " · ".join(said)


def _cards(rows: Iterable[Row], found: Mapping[int, pl.DataFrame]) -> tuple[Card, ...]:
    return tuple(_card(row, found.get(row["feature"])) for row in rows)


def _card(row: Row, frame: pl.DataFrame | None) -> Card:
    near = ", ".join(
        f"“{text.shorten(label, 70, told=False)}”" for label in (row["neighbor_labels"] or [])[:3] if label
    )
    return Card(
        title=text.shorten(row["label"]),
        score=score_of(row),
        meta=(facts_of(row),),
        bands=() if frame is None else _bands(frame, row["max_activation"]),
        note=f"Nearest features: {near}" if near else "",
    )


def _bands(frame: pl.DataFrame, largest: float) -> tuple[WindowBand, ...]:
    rows = frame.sort("place").to_dicts()
    bands = (
        WindowBand(stratum, term, _windows([row for row in rows if row["stratum"] == stratum], largest))
        for stratum, term in STRATA.items()
    )
    return tuple(band for band in bands if band.windows)


def _windows(rows: Sequence[Row], largest: float) -> tuple[Window, ...]:
    return tuple(
        Window(
            words(
                row["text"],
                starts=row["token_starts"],
                ends=row["token_ends"],
                positions=row["positions"],
                activations=row["activations"],
                largest=largest,
            ),
            row["probability"],
            row["document"],
        )
        for row in rows
    )
