"""Questions behind lists of features: search, filters, sort, and one page after the other.

Pages are cut by key, not by offset: the next page begins after the last row's value and feature number, so page 10,000
costs what page 1 does. What a person typed reaches the database as a parameter, never as SQL.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

import polars as pl

from dashboards.queries import Reader

SearchIn = Literal["label", "text"]
Sort = Literal["score_low", "score", "score_high", "score_shrunk", "q", "firing_rate", "max_activation", "feature"]
SORTS: tuple[Sort, ...] = get_args(Sort)
Direction = Literal["asc", "desc"]
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


def feature_list(
    reader: Reader, sample_id: str, filters: Filters, order: Order, *, after: After | None, n: int | None
) -> pl.DataFrame:
    """Rows of the table `labels`; `n` None gives all."""
    where, values = _conditions(sample_id, filters)
    if after is not None:
        condition, more = _beyond(order, after)
        where.append(condition)
        values += more
    limit = "" if n is None else f"LIMIT {n:d}"
    sql = f"""
        SELECT * FROM labels WHERE {" AND ".join(where)}
        ORDER BY {_column(order.sort)} {order.direction} NULLS LAST, feature {limit}
    """
    return reader.query(sql, values)


def count_features(reader: Reader, sample_id: str, filters: Filters) -> int:
    """How many features a list holds, over all its pages."""
    where, values = _conditions(sample_id, filters)
    return int(reader.query(f"SELECT count(*) AS n FROM labels WHERE {' AND '.join(where)}", values)["n"][0])


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
    condition = "feature IN (SELECT feature FROM feature_tokens WHERE sample_id = ? AND list_contains(?, lower(token)))"
    # Ġ has a lower case of its own
    return condition, [sample_id, [*spellings, *(spelling.lower() for spelling in spellings)]]


def _beyond(order: Order, after: After) -> tuple[str, list[Any]]:
    """Rows that come after one row. Missing values come last, whatever the direction."""
    column = _column(order.sort)
    if after.value is None:
        return f"({column} IS NULL AND feature > ?)", [after.feature]
    sign = "<" if order.direction == "desc" else ">"
    condition = f"({column} {sign} ? OR ({column} = ? AND feature > ?) OR {column} IS NULL)"
    return condition, [after.value, after.value, after.feature]


def _column(sort: Sort) -> str:
    """The sorted column. Raise ValueError for any other text: it becomes part of a statement."""
    if sort not in SORTS:
        raise ValueError(f"unknown column {sort!r}")
    return sort
