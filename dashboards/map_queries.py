"""Questions behind the map: counted in cells where many features are in view, one by one where few are."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from dashboards.queries import Reader, Rows

Bounds = tuple[float, float, float, float]
"""x from, x to, y from, y to, in the map's own unit."""


@dataclass(frozen=True)
class View:
    """A part of the map of one sample, and what is searched for in its labels."""

    sample_id: str
    feature_set: str
    bounds: Bounds
    search: str | None = None


def bounds(reader: Reader, feature_set: str) -> Bounds | None:
    """The whole map, with a little room around it; None where no feature has a place."""
    sql = "SELECT min(x), max(x), min(y), max(y) FROM map_points WHERE feature_set = ? AND isfinite(x) AND isfinite(y)"
    left, right, low, high = reader.query(sql, [feature_set]).row(0)
    if left is None:
        return None
    wide, tall = (right - left) * 0.02 or 1.0, (high - low) * 0.02 or 1.0
    return left - wide, right + wide, low - tall, high + tall


def place(reader: Reader, feature_set: str, feature: int) -> Rows:
    """Where one feature stands: one row, or none."""
    return reader.few("SELECT x, y FROM map_points WHERE feature_set = ? AND feature = ?", [feature_set, feature])


def count(reader: Reader, view: View) -> int:
    """Features in view."""
    sql = "SELECT count(*) AS n FROM map_points WHERE feature_set = ? AND x BETWEEN ? AND ? AND y BETWEEN ? AND ?"
    return int(reader.query(sql, [view.feature_set, *view.bounds])["n"][0])


_PLACED = """
    placed AS (
        SELECT feature, x, y, least(floor((x - $3) / ($4 - $3) * $7), $7 - 1)::INTEGER AS col,
               least(floor((y - $5) / ($6 - $5) * $8), $8 - 1)::INTEGER AS line
        FROM map_points WHERE feature_set = $1 AND x BETWEEN $3 AND $4 AND y BETWEEN $5 AND $6
    )
"""
"""Features in view and the cell of a grid that each stands in."""


def cells(reader: Reader, view: View, *, columns: int, rows: int) -> pl.DataFrame:
    """Features counted in a grid of cells; empty cells are left out. `x` and `y` are the middle of a cell's features.

    `cluster` is the commonest in the cell, `score` the mean of the headline scores, `rate` the mean share of tokens
    on which they fire, `label` that of the best-scored one. What is searched for plays no part.
    """
    return reader.query(
        f"""
        WITH {_PLACED}
        SELECT p.col, p.line, avg(p.x) AS x, avg(p.y) AS y, count(*) AS n, mode(l.cluster) AS cluster, avg(l.score) AS score,
               avg(l.firing_rate) AS rate, arg_max(l.label, l.score) AS label,
               arg_max(l.feature, coalesce(l.score, -1)) AS feature
        FROM placed AS p JOIN labels AS l ON l.sample_id = $2 AND l.feature = p.feature
        GROUP BY p.col, p.line ORDER BY p.line, p.col
        """,
        [view.feature_set, view.sample_id, *view.bounds, columns, rows],
    )


def found_in_cells(reader: Reader, view: View, *, columns: int, rows: int) -> dict[tuple[int, int], int]:
    """How many labels hold the searched text, by column and line of the cells in which there are any."""
    if view.search is None:
        return {}
    found = reader.few(
        f"""
        WITH {_PLACED}
        SELECT p.col, p.line, count(*) AS n
        FROM placed AS p JOIN labels AS l ON l.sample_id = $2 AND l.feature = p.feature
        WHERE contains(lower(l.label), lower($9)) GROUP BY p.col, p.line
        """,
        [view.feature_set, view.sample_id, *view.bounds, columns, rows, view.search],
    )
    return {(row["col"], row["line"]): row["n"] for row in found}


def points(reader: Reader, view: View, *, most: int) -> pl.DataFrame:
    """Features in view, one by one; at most `most`, drawn evenly by a hash of their number."""
    return reader.query(
        """
        SELECT m.feature, m.x, m.y, l.label, l.score, l.score_low, l.score_high, l.firing_rate AS rate, l.cluster, l.status,
               contains(lower(l.label), lower($7)) AS found
        FROM map_points AS m JOIN labels AS l ON l.sample_id = $2 AND l.feature = m.feature
        WHERE m.feature_set = $1 AND m.x BETWEEN $3 AND $4 AND m.y BETWEEN $5 AND $6
        ORDER BY hash(m.feature), m.feature LIMIT $8
        """,
        [view.feature_set, view.sample_id, *view.bounds, view.search, most],
    )


_ONE_METHOD = """
    near AS NOT MATERIALIZED (
        SELECT * FROM neighbors WHERE feature_set = $1 AND method = (
            SELECT coalesce(min(method) FILTER (method = 'decoder_cosine'), min(method))
            FROM neighbors WHERE feature_set = $1 AND feature = $2
        )
    )
"""
"""Neighbors by the method that the map is drawn by, or by the first one: similarities by two methods are no one scale."""


def neighborhood(reader: Reader, feature_set: str, sample_id: str, feature: int, *, most: int) -> Rows:
    """A feature, its nearest neighbors and theirs, with places on the map; `step` is 0, 1 or 2."""
    return reader.few(
        f"""
        WITH {_ONE_METHOD},
        one AS (
            SELECT neighbor AS feature, similarity FROM near WHERE feature = $2 ORDER BY rank LIMIT $4
        ),
        two AS (
            SELECT n.neighbor AS feature, max(n.similarity) AS similarity FROM near AS n
            WHERE n.feature IN (SELECT feature FROM one) AND n.rank < 4
              AND n.neighbor <> $2 AND n.neighbor NOT IN (SELECT feature FROM one)
            GROUP BY n.neighbor ORDER BY similarity DESC, n.neighbor LIMIT $4
        ),
        around AS MATERIALIZED (
            SELECT $2::INTEGER AS feature, 1.0 AS similarity, 0 AS step
            UNION ALL SELECT feature, similarity, 1 FROM one
            UNION ALL SELECT feature, similarity, 2 FROM two
        ),
        placed AS (
            SELECT feature, x, y FROM map_points SEMI JOIN around USING (feature) WHERE feature_set = $1
        ),
        named AS (
            SELECT feature, label, score, score_low, score_high, firing_rate AS rate, cluster, status
            FROM labels SEMI JOIN around USING (feature) WHERE sample_id = $3
        )
        SELECT a.*, m.x, m.y, l.* EXCLUDE (feature)
        FROM around AS a JOIN placed AS m ON m.feature = a.feature LEFT JOIN named AS l ON l.feature = a.feature
        ORDER BY a.step, a.similarity DESC, a.feature
        """,
        [feature_set, feature, sample_id, most],
    )


def links_between(reader: Reader, feature_set: str, feature: int, features: list[int]) -> Rows:
    """Pairs among features around one that are neighbors by the same method, each once."""
    return reader.few(
        f"""
        WITH {_ONE_METHOD}
        SELECT least(feature, neighbor) AS one, greatest(feature, neighbor) AS other, max(similarity) AS similarity
        FROM near
        WHERE feature IN (SELECT unnest($3::INTEGER[])) AND neighbor IN (SELECT unnest($3::INTEGER[]))
        GROUP BY ALL ORDER BY similarity DESC
        """,
        [feature_set, feature, features],
    )


def largest_clusters(reader: Reader, sample_id: str, most: int) -> pl.DataFrame:
    """Clusters by size, with the middle of their features."""
    return reader.query(
        """
        WITH largest AS (
            SELECT cluster, count(*) AS size FROM labels AS l JOIN map_points AS m USING (feature_set, feature)
            WHERE l.sample_id = $1 AND cluster IS NOT NULL GROUP BY cluster ORDER BY size DESC, cluster LIMIT $2
        )
        SELECT c.cluster, any_value(l.cluster_name) AS name, any_value(c.size) AS size, median(m.x) AS x, median(m.y) AS y
        FROM largest AS c JOIN labels AS l ON l.cluster = c.cluster AND l.sample_id = $1
        JOIN map_points AS m USING (feature_set, feature)
        GROUP BY c.cluster ORDER BY size DESC, c.cluster
        """,
        [sample_id, most],
    )
