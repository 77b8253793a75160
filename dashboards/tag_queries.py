"""Questions about tags. Each is cut in SQL, so that any number of tagged features costs no more than few."""

from __future__ import annotations

import polars as pl

from dashboards.queries import Reader


def tag_counts(reader: Reader, sample_id: str) -> pl.DataFrame:
    """Features by tag, tagger, stance and state, the commonest first, with the mean headline score of their labels."""
    return reader.query(
        """
        SELECT t.tag, t.tagger, t.stance, t.state, count(*) AS features, avg(l.score) AS mean_score
        FROM tags AS t LEFT JOIN labels AS l USING (sample_id, feature)
        WHERE t.sample_id = ? GROUP BY ALL ORDER BY features DESC, t.tag, t.tagger, t.stance, t.state
        """,
        [sample_id],
    )


def tagged_features(reader: Reader, sample_id: str) -> int:
    """Features that have any tag."""
    sql = "SELECT count(DISTINCT feature) AS n FROM tags WHERE sample_id = ?"
    return int(reader.query(sql, [sample_id])["n"][0])


def tagged(reader: Reader, sample_id: str, tag: str, most: int) -> pl.DataFrame:
    """Features with a tag, the best labels first."""
    return reader.query(
        """
        SELECT l.feature, l.label, l.score, l.score_low, l.score_high FROM labels AS l
        WHERE l.sample_id = $1 AND l.feature IN (SELECT feature FROM tags WHERE sample_id = $1 AND tag = $2)
        ORDER BY l.score_low DESC NULLS LAST, l.feature LIMIT $3
        """,
        [sample_id, tag, most],
    )
