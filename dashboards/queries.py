"""Every question the pages ask of a published snapshot, by name. Read-only; each answers with a small polars frame.

A question that could return a row a feature is cut or binned in SQL, so that a page of a million features costs no
more than one of a thousand. It knows the tables, not the pages.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import duckdb
import polars as pl

from labeling.row_groups import RowGroups
from labeling.snapshot import open_beside, open_snapshot, read, read_few
from labeling.types import STRICT_TAU_SHARE, TAU_SHARE
from labeling.workspace import Workspace

TAU = TAU_SHARE
"""The threshold of firing, as a share of a feature's largest activation, that pages show unless they say otherwise."""
STRICT_TAU = STRICT_TAU_SHARE
"""The higher threshold that scores are also computed at."""


FIRST_LABELS = 2000
"""Labels that the best and the worst ones of different clusters are looked for among."""
MOST_SECONDS = 600.0
"""Of one statement."""
Rows = list[dict[str, Any]]


class Reader:
    """A snapshot that is open for reading."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, groups: RowGroups) -> None:
        self._connection = connection
        self._groups = groups
        self.generation: tuple[int, int, int] | None = None
        """Which snapshot it reads, where that is looked after."""
        self.opened_beside: Reader | None = None
        """The reader of the same snapshot that was there before it."""

    def query(self, sql: str, parameters: Sequence[Any] = ()) -> pl.DataFrame:
        """Rows of a statement of this package. What a person typed is a parameter, or goes through `snapshot.select`."""
        return read(self._connection, sql, parameters, timeout_seconds=MOST_SECONDS)

    def few(self, sql: str, parameters: Sequence[Any] = ()) -> Rows:
        """The same for statements of some rows, in less time."""
        return read_few(self._connection, sql, parameters, timeout_seconds=MOST_SECONDS)

    def rows_of(self, table: str, sample_id: str, feature: int, columns: Sequence[str] | None = None) -> pl.DataFrame:
        """A feature's rows of a large table: all columns, or some."""
        return self._groups.rows(table, sample_id, [feature], columns)

    def windows(self, corpus_id: str, windows: Iterable[int], columns: Sequence[str]) -> pl.DataFrame:
        """Some columns of some windows; what is no window is left out."""
        return self._groups.rows("windows", corpus_id, windows, columns)

    def beside(self, workspace: Workspace) -> Reader:
        """Another reader of the same snapshot for another thread; both share memory and what was read."""
        other = Reader(open_beside(self._connection, workspace), self._groups)
        other.opened_beside = self
        return other

    def answers(self) -> bool:
        """Whether anything can be asked; after some errors nothing can."""
        try:
            self._connection.execute("SELECT 1").fetchall()
        except duckdb.Error:
            return False
        return True

    def close(self) -> None:
        self._connection.close()


@contextmanager
def open_reader(workspace: Workspace) -> Iterator[Reader]:
    """The published snapshot of a workspace. Raise FeatlasError when there is none."""
    connection = open_snapshot(workspace)
    try:
        yield Reader(connection, RowGroups(workspace))
    finally:
        connection.close()


def samples(reader: Reader) -> pl.DataFrame:
    """The newest sample of every feature set, controls last."""
    return reader.query(
        """
        SELECT s.*, f.source, f.model, f.hook, f.dictionary, f.architecture, f.n_features, f.d_model, f.fingerprint,
               f.control_for
        FROM samples AS s LEFT JOIN feature_sets AS f USING (feature_set)
        QUALIFY row_number() OVER (PARTITION BY s.feature_set ORDER BY s.created_at DESC NULLS LAST, s.sample_id) = 1
        ORDER BY f.control_for NULLS FIRST, s.feature_set
        """
    )


def newest_run(reader: Reader) -> pl.DataFrame:
    return reader.query("SELECT * FROM runs ORDER BY started_at DESC NULLS LAST, run_id LIMIT 1")


def status_counts(reader: Reader, sample_id: str) -> pl.DataFrame:
    return reader.query(
        """
        SELECT status, count(*) AS features FROM features WHERE sample_id = ? GROUP BY status
        ORDER BY list_position(['ok', 'weak', 'dense', 'dead'], status) NULLS LAST
        """,
        [sample_id],
    )


def split_counts(reader: Reader, corpus_id: str) -> pl.DataFrame:
    return reader.query(
        """
        SELECT split, count(*) AS documents, sum(n_tokens)::BIGINT AS tokens FROM documents WHERE corpus_id = ?
        GROUP BY split ORDER BY list_position(['explain', 'select', 'score'], split) NULLS LAST
        """,
        [corpus_id],
    )


def corpus_problems(reader: Reader, corpus_id: str) -> pl.DataFrame:
    """What was left out of a corpus or mended, the most frequent first."""
    sql = "SELECT problem, n, example FROM corpus_problems WHERE corpus_id = ? ORDER BY n DESC, problem"
    return reader.query(sql, [corpus_id])


def label_count(reader: Reader, sample_id: str) -> int:
    """Features that have a label."""
    frame = reader.query("SELECT count(label) AS n FROM labels WHERE sample_id = ?", [sample_id])
    return int(frame["n"][0])


def headline_group(reader: Reader, sample_id: str) -> pl.DataFrame:
    """Explainer, scorer and models behind most labels of the table `labels`: at most one row."""
    return reader.query(
        """
        SELECT explainer, explainer_model, scorer, judge_model, count(*) AS features FROM labels
        WHERE sample_id = ? AND label IS NOT NULL AND scorer IS NOT NULL
        GROUP BY ALL ORDER BY features DESC, explainer, scorer LIMIT 1
        """,
        [sample_id],
    )


def losses(reader: Reader, sample_id: str) -> pl.DataFrame:
    """Everything that failed or was lost for a sample, by stage and reason, the most frequent first.

    Reasons that differ in their numbers alone are counted together, with N in place of each number.
    """
    return reader.query(
        """
        WITH lost AS (
            SELECT 'label' AS stage, explainer AS who, NULL AS control, reason, 'features without a label' AS what
            FROM explanations WHERE sample_id = $1 AND state = 'failed'
            UNION ALL
            SELECT 'score', scorer, control, reason, 'features without a headline score'
            FROM scores WHERE sample_id = $1 AND metric = 'headline' AND abs(tau - $2) < 1e-9 AND value IS NULL
            UNION ALL
            SELECT 'score', scorer, control, reason, 'judgments lost'
            FROM judgments WHERE sample_id = $1 AND state = 'lost'
        )
        SELECT stage, who, control, what, count(*) AS n, coalesce(
                   CASE WHEN count(DISTINCT reason) = 1 THEN min(reason) ELSE kind END, 'no reason given'
               ) AS reason
        FROM (SELECT *, regexp_replace(reason, '[0-9][0-9,.]*', 'N', 'g') AS kind FROM lost)
        GROUP BY stage, who, control, what, kind
        ORDER BY stage, n DESC, who, what, control NULLS FIRST, reason
        """,
        [sample_id, TAU],
    )


def failed_requests(reader: Reader) -> pl.DataFrame:
    """Requests to language models that failed, of the whole workspace."""
    return reader.query(
        """
        SELECT purpose AS stage, model AS who, NULL AS control, 'requests failed' AS what, count(*) AS n,
               coalesce(reason, 'no reason given') AS reason
        FROM llm_requests WHERE state = 'failed' GROUP BY purpose, model, reason ORDER BY stage, who, n DESC
        """
    )


def scoreboard(reader: Reader, feature_set: str) -> pl.DataFrame:
    return reader.query("SELECT * FROM scoreboard WHERE feature_set = ?", [feature_set])


_CURRENT_SCORES = """
    SELECT x.* FROM scores AS x LEFT JOIN runs AS r USING (run_id)
    ANTI JOIN (SELECT explanation_id FROM explanations WHERE repeat > 0) AS e USING (explanation_id)
    WHERE list_contains($1, x.sample_id) AND abs(x.tau - $2) < 1e-9
    QUALIFY row_number() OVER (
        PARTITION BY x.sample_id, x.feature, x.explainer, x.explainer_model, x.scorer, x.judge_model, x.control,
                     x.metric
        ORDER BY x.epoch, r.started_at DESC NULLS LAST, x.score_id
    ) = 1
"""
"""One score a feature, metric and control: the newest where it was scored again with other settings; repeats left out."""


def score_bins(
    reader: Reader, sample_id: str, control_samples: Sequence[str], *, metric: str, bins: int
) -> pl.DataFrame:
    """How a metric spreads over features: share of each explainer's and scorer's scores in `bins` equal bins of 0-1.

    `series` is true, shuffled or random_weights (true labels of `control_samples`). Empty bins have a row too.
    """
    return reader.query(
        f"""
        WITH current AS ({_CURRENT_SCORES}),
        placed AS (
            SELECT explainer, explainer_model, scorer, judge_model,
                   CASE WHEN sample_id <> $3 THEN 'random_weights' ELSE coalesce(control, 'true') END AS series,
                   least(greatest(floor(value * $5), 0), $5 - 1)::INTEGER AS bin
            FROM current WHERE metric = $4 AND value IS NOT NULL AND (sample_id = $3 OR control IS NULL)
        ),
        counted AS (SELECT *, count(*) AS n FROM placed GROUP BY ALL),
        series AS (
            SELECT explainer, explainer_model, scorer, judge_model, series, count(*) AS features FROM placed
            WHERE series IN ('true', 'shuffled', 'random_weights') GROUP BY ALL
        )
        SELECT s.explainer, s.explainer_model, s.scorer, s.judge_model, s.series, s.features,
               b.bin / $5 AS left, (b.bin + 1) / $5 AS right, coalesce(c.n, 0) / s.features AS share
        FROM series AS s CROSS JOIN (SELECT unnest(range($5::INTEGER)) AS bin) AS b
        LEFT JOIN counted AS c ON c.bin = b.bin AND c.series = s.series AND c.scorer = s.scorer
            AND c.explainer IS NOT DISTINCT FROM s.explainer
            AND c.explainer_model IS NOT DISTINCT FROM s.explainer_model
            AND c.judge_model IS NOT DISTINCT FROM s.judge_model
        ORDER BY s.explainer, s.scorer, s.series, b.bin
        """,
        [[sample_id, *control_samples], TAU, sample_id, metric, bins],
    )


def _spread_over_clusters(reader: Reader, sample_id: str, n: int, order: str) -> pl.DataFrame:
    """The first `n` labels in an order, at most one of a cluster, so that a list does not show one idea eight times.

    They are looked for among the first labels, which nearly always hold as many clusters, and else among all.
    """
    for most in (FIRST_LABELS, None):
        found = reader.few(
            f"""
            WITH first AS (
                SELECT feature, cluster, score, score_low, score_high FROM labels
                WHERE sample_id = $1 AND label IS NOT NULL AND score IS NOT NULL AND status = 'ok'
                {f"ORDER BY {order} LIMIT {most}" if most else ""}
            )
            SELECT feature, (SELECT count(*) FROM first) AS n FROM first
            QUALIFY row_number() OVER (PARTITION BY coalesce(cluster, -1 - feature) ORDER BY {order}) = 1
            ORDER BY {order} LIMIT $2
            """,
            [sample_id, n],
        )
        if len(found) == n or not found or found[0]["n"] != most:
            break
    sql = f"SELECT * FROM labels WHERE sample_id = $1 AND feature IN (SELECT unnest($2::INTEGER[])) ORDER BY {order}"
    return reader.query(sql, [sample_id, [row["feature"] for row in found]])


def best_labels(reader: Reader, sample_id: str, n: int) -> pl.DataFrame:
    """Labels with the highest lower ends of the interval: high scores that are not luck."""
    return _spread_over_clusters(reader, sample_id, n, "score_low DESC NULLS LAST, score DESC, feature")


def worst_labels(reader: Reader, sample_id: str, n: int) -> pl.DataFrame:
    """Labels with the lowest upper ends of the interval: low scores that are not bad luck."""
    return _spread_over_clusters(reader, sample_id, n, "score_high NULLS LAST, score, feature")


def fooled_labels(reader: Reader, sample_id: str, n: int) -> pl.DataFrame:
    """Labels that tell firing windows from random ones but not from look-alikes, the widest gap first."""
    return reader.query(
        """
        WITH current AS (
            SELECT x.feature, x.metric, x.value FROM scores AS x
            JOIN labels AS l
              ON l.sample_id = x.sample_id AND l.feature = x.feature
             AND l.explainer = x.explainer AND l.scorer = x.scorer
             AND l.explainer_model IS NOT DISTINCT FROM x.explainer_model
             AND l.judge_model IS NOT DISTINCT FROM x.judge_model
            LEFT JOIN runs AS r ON r.run_id = x.run_id
            ANTI JOIN (SELECT explanation_id FROM explanations WHERE repeat > 0) AS e ON e.explanation_id = x.explanation_id
            WHERE x.sample_id = $1 AND abs(x.tau - $2) < 1e-9 AND x.metric IN ('balanced_random', 'balanced_hard')
              AND x.control IS NULL AND l.status = 'ok'
            QUALIFY row_number() OVER (
                PARTITION BY x.feature, x.metric ORDER BY x.epoch, r.started_at DESC NULLS LAST, x.score_id
            ) = 1
        ),
        gaps AS (
            SELECT feature, max(value) FILTER (metric = 'balanced_random') AS against_random,
                   max(value) FILTER (metric = 'balanced_hard') AS against_hard
            FROM current GROUP BY feature
        )
        SELECT l.*, g.against_random, g.against_hard FROM gaps AS g JOIN labels AS l USING (feature)
        WHERE l.sample_id = $1 AND g.against_random > g.against_hard
        QUALIFY row_number() OVER (
            PARTITION BY coalesce(l.cluster, -1 - feature) ORDER BY g.against_random - g.against_hard DESC, feature
        ) = 1
        ORDER BY g.against_random - g.against_hard DESC, feature LIMIT $3
        """,
        [sample_id, TAU, n],
    )


def contexts(reader: Reader, sample_id: str, features: Sequence[int], per_stratum: dict[str, int]) -> pl.DataFrame:
    """Windows of the `score` split for some features, with what the headline judge said where it was asked.

    At most `per_stratum[stratum]` of each stratum, the strongest first. `probability` is the judge's, 0-1.
    """
    return reader.query(
        """
        WITH wanted AS (SELECT unnest($3) AS stratum, unnest($4) AS most),
        chosen AS (
            SELECT c.*, row_number() OVER (
                PARTITION BY c.feature, c.stratum ORDER BY c.max_activation DESC, c.window_id
            ) AS place
            FROM contexts AS c
            WHERE c.sample_id = $1 AND c.split = 'score'
              AND list_contains($2, c.feature) AND list_contains($3, c.stratum)
            QUALIFY place <= (SELECT most FROM wanted WHERE wanted.stratum = c.stratum)
        ),
        judged AS (
            SELECT j.feature, j.window_id, arg_min(j.probability, j.epoch) AS probability
            FROM judgments AS j JOIN labels AS l
              ON l.sample_id = j.sample_id AND l.feature = j.feature
             AND l.explainer = j.explainer AND l.scorer = j.scorer
             AND l.explainer_model IS NOT DISTINCT FROM j.explainer_model
             AND l.judge_model IS NOT DISTINCT FROM j.judge_model
            LEFT JOIN explanations AS e ON e.explanation_id = j.explanation_id
            WHERE j.sample_id = $1 AND list_contains($2, j.feature) AND j.control IS NULL AND j.split = 'score'
              AND j.state = 'answered' AND j.trial IS NULL AND coalesce(e.repeat, 0) = 0
            GROUP BY ALL
        )
        SELECT c.feature, c.stratum, c.place, c.max_activation, c.positions, c.activations, c.population,
               w.text, w.token_starts, w.token_ends, d.name AS document, judged.probability
        FROM chosen AS c
        JOIN samples AS s USING (sample_id)
        JOIN windows AS w ON w.corpus_id = s.corpus_id AND w.window_id = c.window_id
        LEFT JOIN documents AS d ON d.corpus_id = s.corpus_id AND d.document_id = c.document_id
        LEFT JOIN judged ON judged.feature = c.feature AND judged.window_id = c.window_id
        ORDER BY c.feature, c.stratum, c.place
        """,
        [sample_id, list(features), list(per_stratum), list(per_stratum.values())],
    )


def map_points(reader: Reader, sample_id: str, most: int) -> pl.DataFrame:
    """Places of at most `most` features, drawn evenly by a hash of their number; `total` is how many have a place."""
    return reader.query(
        """
        SELECT m.feature, m.x, m.y, l.label, l.cluster, count(*) OVER () AS total
        FROM map_points AS m JOIN labels AS l USING (feature_set, feature)
        WHERE l.sample_id = ? AND isfinite(m.x) AND isfinite(m.y)
        ORDER BY hash(m.feature), m.feature LIMIT ?
        """,
        [sample_id, most],
    )


def clusters(reader: Reader, sample_id: str) -> pl.DataFrame:
    """Clusters of the default clustering, the largest first, with the mean headline score of their labels."""
    return reader.query(
        """
        SELECT c.cluster, c.name, c.size, count(l.label) AS labeled, avg(l.score) AS mean_score,
               g.resolution, g.modularity, g.n_clusters
        FROM clusterings AS g JOIN clusters AS c USING (clustering_id)
        JOIN samples AS s ON s.feature_set = g.feature_set AND s.sample_id = $1
        LEFT JOIN labels AS l ON l.sample_id = $1 AND l.cluster = c.cluster
        WHERE g.is_default GROUP BY ALL ORDER BY c.size DESC, c.cluster
        """,
        [sample_id],
    )


def request_cost(reader: Reader) -> pl.DataFrame:
    """What language models were asked and what it cost, of the whole workspace."""
    return reader.query(
        """
        SELECT purpose, model, count(*) AS requests, count(*) FILTER (state = 'failed') AS failed,
               sum(input_tokens)::BIGINT AS input_tokens, sum(cached_input_tokens)::BIGINT AS cached_input_tokens,
               sum(output_tokens)::BIGINT AS output_tokens, sum(cost_usd) AS cost_usd,
               count(*) FILTER (latency_seconds IS NOT NULL AND input_tokens IS NULL) AS uncounted,
               count(*) FILTER (latency_seconds IS NOT NULL AND cost_usd IS NULL) AS unpriced
        FROM llm_requests GROUP BY ALL ORDER BY purpose, model
        """
    )


def stage_times(reader: Reader) -> pl.DataFrame:
    """Time each stage took, summed over its shards."""
    return reader.query(
        """
        SELECT stage, count(*) AS shards, sum(rows)::BIGINT AS rows, sum(seconds) AS seconds FROM shards
        GROUP BY stage ORDER BY min(finished_at) NULLS LAST, stage
        """
    )


def all_labels(reader: Reader, sample_id: str) -> pl.DataFrame:
    """One row a feature, for the CSV file."""
    return reader.query("SELECT * FROM labels WHERE sample_id = ? ORDER BY feature", [sample_id])


def clusterings(reader: Reader, feature_set: str) -> pl.DataFrame:
    """The clustering that is shown: at most one row."""
    return reader.query("SELECT * FROM clusterings WHERE feature_set = ? AND is_default LIMIT 1", [feature_set])
