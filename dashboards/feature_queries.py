"""Questions behind the page of one feature. Each asks about a single feature of a single sample."""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl

from dashboards.queries import TAU, Reader


def feature(reader: Reader, sample_id: str, number: int) -> pl.DataFrame:
    """The feature's row of `labels`, with thresholds, counts and the name it came with: one row, or none."""
    return reader.query(
        """
        SELECT l.*, f.tau, f.tau25, f.firing_tokens, f.n_tokens, n.name
        FROM labels AS l JOIN features AS f USING (sample_id, feature)
        LEFT JOIN feature_names AS n USING (sample_id, feature)
        WHERE l.sample_id = ? AND l.feature = ?
        """,
        [sample_id, number],
    )


def splits(reader: Reader, sample_id: str, number: int) -> pl.DataFrame:
    """Exact counts and histograms, a row a split."""
    return reader.query("SELECT * FROM feature_splits WHERE sample_id = ? AND feature = ?", [sample_id, number])


def tokens(reader: Reader, sample_id: str, number: int) -> pl.DataFrame:
    """Tokens the feature fires on most, the strongest first."""
    sql = "SELECT token, mean_activation, occurrences FROM feature_tokens WHERE sample_id = ? AND feature = ? ORDER BY rank"
    return reader.query(sql, [sample_id, number])


def explanations(reader: Reader, sample_id: str, number: int) -> pl.DataFrame:
    """Everything that explainers wrote of the feature, the newest last, failures too."""
    sql = """
        SELECT * FROM explanations WHERE sample_id = ? AND feature = ?
        ORDER BY explainer, explainer_model NULLS FIRST, repeat, created_at
    """
    return reader.query(sql, [sample_id, number])


def scores(reader: Reader, sample_id: str, number: int) -> pl.DataFrame:
    """Scores of the feature's labels and of those that stood in for them, at the threshold that pages show.

    With what they mean against scores of wrong labels, where that was computed.
    """
    return reader.query(
        """
        WITH meant AS (SELECT * EXCLUDE (sample_id, feature, run_id) FROM score_statistics
                       WHERE sample_id = $1 AND feature = $2 AND abs(tau - $3) < 1e-9)
        SELECT x.*, m.p, m.q, m.n_null, m.null_95, m.shrunk, m.shrunk_low, m.shrunk_high
        FROM scores AS x LEFT JOIN runs AS r USING (run_id)
        LEFT JOIN meant AS m ON m.score_id = x.score_id AND m.metric = x.metric
        WHERE x.sample_id = $1 AND x.feature = $2 AND abs(x.tau - $3) < 1e-9
        QUALIFY row_number() OVER (
            PARTITION BY x.explanation_id, x.explainer, x.explainer_model, x.scorer, x.judge_model, x.control, x.metric
            ORDER BY x.epoch, r.started_at DESC NULLS LAST, x.score_id
        ) = 1
        ORDER BY x.explainer, x.scorer, x.control NULLS FIRST, x.metric
        """,
        [sample_id, number, TAU],
    )


def neighbors(reader: Reader, feature_set: str, sample_id: str, number: int) -> pl.DataFrame:
    """Neighbors by each method, the nearest first, with their labels and the tokens that they do not share.

    `only_here` and `only_there` are top tokens of one of the two alone.
    """
    return reader.query(
        """
        WITH near AS MATERIALIZED (
            SELECT * FROM neighbors WHERE feature_set = $1 AND feature = $3
        ),
        wanted AS (SELECT neighbor AS feature FROM near UNION SELECT $3::INTEGER),
        top AS (
            SELECT feature, list(token ORDER BY rank) AS tokens FROM feature_tokens SEMI JOIN wanted USING (feature)
            WHERE sample_id = $2 GROUP BY feature
        ),
        named AS (
            SELECT feature, label, score, score_low, score_high, firing_rate, status, cluster
            FROM labels SEMI JOIN wanted USING (feature) WHERE sample_id = $2
        ),
        own AS (SELECT coalesce((SELECT tokens FROM top WHERE feature = $3), []) AS tokens)
        SELECT near.method, near.rank, near.neighbor, near.similarity, l.* EXCLUDE (feature),
               list_filter(own.tokens, lambda t: NOT list_contains(coalesce(top.tokens, []), t)) AS only_here,
               list_filter(coalesce(top.tokens, []), lambda t: NOT list_contains(own.tokens, t)) AS only_there
        FROM near CROSS JOIN own
        LEFT JOIN named AS l ON l.feature = near.neighbor
        LEFT JOIN top ON top.feature = near.neighbor
        ORDER BY near.method, near.rank
        """,
        [feature_set, sample_id, number],
    )


def tags(reader: Reader, sample_id: str, number: int) -> pl.DataFrame:
    """Tags, with the text of the first windows that they rest on."""
    return reader.query(
        """
        WITH own AS (SELECT * FROM tags WHERE sample_id = $1 AND feature = $2),
        shown AS (
            SELECT t.tag, t.tagger, list(w.text ORDER BY w.window_id)[:3] AS texts
            FROM own AS t JOIN samples AS s USING (sample_id)
            JOIN windows AS w ON w.corpus_id = s.corpus_id AND list_contains(t.evidence, w.window_id)
            GROUP BY ALL
        )
        SELECT own.*, coalesce(shown.texts, []) AS texts FROM own LEFT JOIN shown USING (tag, tagger) ORDER BY tag, tagger
        """,
        [sample_id, number],
    )


def has_tags(reader: Reader, sample_id: str, number: int) -> bool:
    sql = "SELECT count(*) AS n FROM tags WHERE sample_id = ? AND feature = ?"
    return bool(reader.query(sql, [sample_id, number])["n"][0])


def evidence(reader: Reader, sample_id: str, number: int, explanation_id: str) -> pl.DataFrame:
    """The windows that an explainer was shown of the feature, in its order, with the activations that it could see."""
    found = reader.query(
        f"""
        WITH asked AS (
            SELECT unnest(evidence) AS window_id, generate_subscripts(evidence, 1) AS place FROM explanations
            WHERE explanation_id = $3 AND sample_id = $1 AND feature = $2
        ),
        seen AS (
            SELECT window_id, max(max_activation) AS max_activation, any_value(positions) AS positions,
                   any_value(activations) AS activations,
                   coalesce(min(stratum) FILTER (stratum <> 'top'), 'top') AS stratum
            FROM {reader.rows_of("contexts", sample_id, number)}
            WHERE sample_id = $1 AND feature = $2 AND split = 'explain' GROUP BY window_id
        )
        SELECT a.place, a.window_id, c.max_activation, coalesce(c.positions, []) AS positions,
               coalesce(c.activations, []) AS activations, coalesce(c.stratum, 'other') AS stratum
        FROM asked AS a LEFT JOIN seen AS c USING (window_id) ORDER BY a.place
        """,
        [sample_id, number, explanation_id],
    )
    return _with_windows(reader, sample_id, found)


def beside(reader: Reader, sample_id: str, number: int) -> tuple[int | None, int | None]:
    """Numbers of the features before and after."""
    sql = """
        SELECT max(feature) FILTER (feature < $2) AS previous, min(feature) FILTER (feature > $2) AS next
        FROM features WHERE sample_id = $1 AND feature BETWEEN $2 - 1 AND $2 + 1
    """
    row = reader.query(sql, [sample_id, number]).row(0)
    return row[0], row[1]


def contexts(reader: Reader, sample_id: str, number: int, *, split: str, most: int, strata: list[str]) -> pl.DataFrame:
    """Windows of one split, at most `most` of each stratum, the strongest first."""
    found = reader.query(
        f"""
        SELECT stratum, window_id, max_activation, positions, activations, population, sampled
        FROM {reader.rows_of("contexts", sample_id, number)}
        WHERE sample_id = $1 AND feature = $2 AND split = $3 AND list_contains($5, stratum)
        QUALIFY row_number() OVER (PARTITION BY stratum ORDER BY max_activation DESC, window_id) <= $4
        ORDER BY stratum, max_activation DESC, window_id
        """,
        [sample_id, number, split, most, strata],
    )
    return _with_windows(reader, sample_id, found)


def beside_windows(reader: Reader, corpus_id: str, windows: list[int]) -> pl.DataFrame:
    """Text of the windows right before and after some windows, of the same document where there are any."""
    wanted = {window + step for window in windows for step in (-1, 1)}
    sql = f"SELECT window_id, document_id, text FROM windows WHERE corpus_id = ? AND window_id IN ({_listed(wanted)})"
    return reader.query(sql, [corpus_id])


def _with_windows(reader: Reader, sample_id: str, rows: pl.DataFrame) -> pl.DataFrame:
    """Rows that have a `window_id`, with the window's text, tokens and document; those of no known window are left out.

    Windows are looked up by numbers in the statement, so that files are read only where these stand: in a join, files
    would be read from the least number to the greatest.
    """
    texts = reader.query(
        f"""
        WITH w AS (
            SELECT corpus_id, window_id, document_id, text, token_starts, token_ends FROM windows
            WHERE corpus_id = $1 AND window_id IN ({_listed(rows["window_id"])})
        )
        SELECT w.* EXCLUDE (corpus_id), d.name AS document FROM w LEFT JOIN documents AS d USING (corpus_id, document_id)
        """,
        [_corpus(reader, sample_id)],
    )
    return rows.join(texts, on="window_id", how="inner", maintain_order="left")


def _corpus(reader: Reader, sample_id: str) -> str | None:
    found = reader.query("SELECT corpus_id FROM samples WHERE sample_id = ?", [sample_id])["corpus_id"]
    return found[0] if len(found) else None


def _listed(numbers: Iterable[int]) -> str:
    """Numbers for an IN condition, each once; NULL, which equals nothing, where there are none."""
    return ", ".join(f"{number:d}" for number in sorted(set(numbers))) or "NULL"


def judgments(
    reader: Reader, sample_id: str, number: int, *, scorer: str, judge: str | None, explanation_id: str | None
) -> pl.DataFrame:
    """Every window that a scorer judged for the feature by one label, with the truth: the worst misses first.

    Without an explanation, the feature's own labels; without a judge, any. What scorers that ask in trials asked has a
    `variant`, and their own `truth` where there is one.
    """
    found = reader.query(
        f"""
        WITH truth AS (
            SELECT window_id, max(max_activation) AS max_activation, any_value(positions) AS positions,
                   any_value(activations) AS activations,
                   coalesce(min(stratum) FILTER (stratum <> 'top'), 'top') AS stratum
            FROM {reader.rows_of("contexts", sample_id, number)}
            WHERE sample_id = $1 AND feature = $2 AND split = 'score' GROUP BY window_id
        ),
        panel AS (
            SELECT window_id, max_activation, stratum FROM {reader.rows_of("panel_activity", sample_id, number)}
            WHERE sample_id = $1 AND feature = $2
        )
        SELECT j.*, coalesce(t.max_activation, p.max_activation, 0) AS max_activation,
               coalesce(t.stratum, p.stratum, 'random') AS stratum,
               coalesce(t.positions, []) AS positions, coalesce(t.activations, []) AS activations,
               coalesce(t.max_activation, p.max_activation, 0) > f.tau AS fires
        FROM {reader.rows_of("judgments", sample_id, number)} AS j
        CROSS JOIN (SELECT tau FROM features WHERE sample_id = $1 AND feature = $2) AS f
        LEFT JOIN truth AS t ON t.window_id = j.window_id
        LEFT JOIN panel AS p ON p.window_id = j.window_id
        WHERE j.sample_id = $1 AND j.feature = $2 AND j.scorer = $3 AND j.split = 'score'
          AND ($4 IS NULL OR j.explanation_id = $4) AND ($5 IS NULL OR j.judge_model = $5)
          AND j.control IS NULL AND j.epoch = 0
        ORDER BY j.state = 'answered', abs(fires::INTEGER - j.probability) DESC NULLS FIRST, abs(j.truth - j.grade) DESC
                 NULLS LAST, j.window_id
        """,
        [sample_id, number, scorer, explanation_id, judge],
    )
    return _with_windows(reader, sample_id, found)
