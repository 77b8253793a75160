"""Questions behind lists of features: search, filters, sort, and one page after the other.

Pages are cut by key, not by offset: the next page begins after the last row's value and feature number, so page 10,000
costs what page 1 does. What a person typed reaches the database as a parameter, never as SQL.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, get_args

import polars as pl

from dashboards.queries import Reader

SearchIn = Literal["label", "text"]
Sort = Literal["score_low", "score", "score_high", "score_shrunk", "q", "firing_rate", "max_activation", "feature"]
SORTS: tuple[Sort, ...] = get_args(Sort)
Direction = Literal["asc", "desc"]
SHOWN = (
    *("feature", "label", "score", "score_low", "score_high", "score_shrunk", "q", "metric", "scorer", "firing_rate"),
    *("max_activation", "status", "cluster", "cluster_name"),
)
"""Columns of a page of a list. What it leaves out, such as the neighbors' labels, takes most of the time to read."""
PIECES = ("", " ", "Ġ", "▁", "##")
"""How tokenizers write the beginning or the rest of a word: a search for `the` finds all of these."""


@dataclass(frozen=True)
class Filters:
    """What a list is narrowed down to. None is no filter."""

    search: str | None = None
    search_in: SearchIn = "label"
    """`label`: the text of the label. `text`: the tokens the feature fires on most."""
    status: str | None = None
    explainer: str | None = None
    cluster: int | None = None
    tag: str | None = None
    least_score: float | None = None
    least_low: float | None = None
    """Least lower end of the score's interval."""
    most_high: float | None = None
    """Greatest upper end of the score's interval."""
    most_q: float | None = None
    """Greatest q against wrong labels: with 0.05, about 1 label in 20 is no better than a wrong one."""
    least_rate: float | None = None
    most_rate: float | None = None
    """Share of tokens on which the feature fires, 0-1."""
    failed: bool = False
    """Only features that an explainer found no label for."""


@dataclass(frozen=True)
class Order:
    sort: Sort = "score_low"
    direction: Direction = "desc"


@dataclass(frozen=True)
class After:
    """The last row of the page before: its value in the sorted column (None where it has none) and its feature."""

    value: float | None
    feature: int


@dataclass(frozen=True)
class Page:
    """Some rows of a list. `total` counts the features of the whole list, over all its pages."""

    rows: pl.DataFrame
    total: int


def feature_page(
    reader: Reader, sample_id: str, filters: Filters, order: Order, *, after: After | None, n: int
) -> Page:
    """`n` rows of a list of features. Every label is looked at once, in the columns that are asked about."""
    where, values = _conditions(sample_id, filters)
    column = _column(order.sort)
    beyond, more = ("true", []) if after is None else _beyond(order.direction, after)
    by = f"{column} {order.direction} NULLS LAST, feature"
    found = reader.query(
        f"""
        WITH found AS MATERIALIZED (
            SELECT feature, {column} AS sorted FROM labels WHERE {" AND ".join(where)}
        ),
        page AS (
            SELECT feature FROM found WHERE {beyond} ORDER BY sorted {order.direction} NULLS LAST, feature LIMIT {n:d}
        )
        SELECT (SELECT count(*) FROM found) AS total, (SELECT list(feature) FROM page) AS features
        """,
        [*values, *more],
    )
    features, total = found["features"].to_list()[0] or [], int(found["total"][0])
    sql = f"""
        SELECT {", ".join(SHOWN)} FROM labels WHERE sample_id = ? AND feature IN (SELECT unnest(?::INTEGER[])) ORDER BY {by}
    """
    return Page(reader.query(sql, [sample_id, features]), total)


def feature_list(
    reader: Reader, sample_id: str, filters: Filters, order: Order, *, at_once: int = 50_000
) -> Iterator[pl.DataFrame]:
    """All rows of the table `labels` that a list holds, in its order, in pieces of `at_once` rows; at least one piece.

    Whole rows of a million features are more than a reader may hold: the features are sorted first, without the rest.
    """
    where, values = _conditions(sample_id, filters)
    by = f"{_column(order.sort)} {order.direction} NULLS LAST, feature"
    features = reader.query(f"SELECT feature FROM labels WHERE {' AND '.join(where)} ORDER BY {by}", values)["feature"]
    sql = f"SELECT * FROM labels WHERE sample_id = ? AND feature IN (SELECT unnest(?::INTEGER[])) ORDER BY {by}"
    for start in range(0, max(len(features), 1), at_once):
        yield reader.query(sql, [sample_id, features[start : start + at_once].to_list()])


def filter_choices(reader: Reader, sample_id: str) -> dict[str, list[Any]]:
    """What filters can be set to: statuses, explainers, tags; clusters by size, at most 200."""
    kinds = reader.query("SELECT DISTINCT status, explainer FROM labels WHERE sample_id = ?", [sample_id])
    tags = reader.query("SELECT DISTINCT tag FROM tags WHERE sample_id = ? ORDER BY tag LIMIT 200", [sample_id])
    clusters = reader.query(
        """
        SELECT cluster, any_value(cluster_name) AS name, count(*) AS features FROM labels
        WHERE sample_id = ? AND cluster IS NOT NULL GROUP BY cluster ORDER BY features DESC, cluster LIMIT 200
        """,
        [sample_id],
    )
    return {
        "status": kinds["status"].drop_nulls().unique().sort().to_list(),
        "explainer": kinds["explainer"].drop_nulls().unique().sort().to_list(),
        "tag": tags["tag"].to_list(),
        "cluster": clusters.to_dicts(),
    }


def _conditions(sample_id: str, filters: Filters) -> tuple[list[str], list[Any]]:
    where: list[str] = ["sample_id = ?"]
    values: list[Any] = [sample_id]
    for condition, value in (
        ("status = ?", filters.status),
        ("explainer = ?", filters.explainer),
        ("cluster = ?", filters.cluster),
        ("score >= ?", filters.least_score),
        ("score_low >= ?", filters.least_low),
        ("score_high <= ?", filters.most_high),
        ("q <= ?", filters.most_q),
        ("firing_rate >= ?", filters.least_rate),
        ("firing_rate <= ?", filters.most_rate),
    ):
        if value is not None:
            where.append(condition)
            values.append(value)
    if filters.tag is not None:
        where.append("feature IN (SELECT feature FROM tags WHERE sample_id = ? AND tag = ?)")
        values += [sample_id, filters.tag]
    if filters.failed:
        where.append("feature IN (SELECT feature FROM explanations WHERE sample_id = ? AND state = 'failed')")
        values.append(sample_id)
    if filters.search:
        condition, more = _search(sample_id, filters.search, filters.search_in)
        where.append(condition)
        values += more
    return where, values


def _search(sample_id: str, text: str, where: SearchIn) -> tuple[str, list[Any]]:
    if where == "label":
        return "contains(lower(label), lower(?))", [text]
    spellings = [f"{piece}{text.lower()}" for piece in PIECES]
    condition = (
        "feature IN (SELECT feature FROM feature_tokens WHERE sample_id = ? AND lower(token) IN (SELECT unnest(?)))"
    )
    # Ġ has a lower case of its own
    return condition, [sample_id, [*spellings, *(spelling.lower() for spelling in spellings)]]


def _beyond(direction: Direction, after: After) -> tuple[str, list[Any]]:
    """Rows whose value `sorted` comes after that of one row. Missing values come last, whatever the direction."""
    if after.value is None:
        return "(sorted IS NULL AND feature > ?)", [after.feature]
    sign = "<" if direction == "desc" else ">"
    condition = f"(sorted {sign} ? OR (sorted = ? AND feature > ?) OR sorted IS NULL)"
    return condition, [after.value, after.value, after.feature]


def _column(sort: Sort) -> str:
    """The sorted column. Raise ValueError for any other text: it becomes part of a statement."""
    if sort not in SORTS:
        raise ValueError(f"unknown column {sort!r}")
    return sort
