"""Questions about runs: what was done when, what failed, and what changed since the run before."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import polars as pl

from dashboards.queries import TAU, Reader


@dataclass(frozen=True)
class Changes:
    """What the newest explanations and scores of a sample changed, beside those they took the place of."""

    n_labels: int
    """Features whose newest label by the same explainer and model reads differently than the one before."""
    labels: tuple[dict[str, Any], ...]
    n_scores: int
    """Features whose newest headline score has an interval that does not touch that of the one before."""
    scores: tuple[dict[str, Any], ...]


def runs(reader: Reader, *, most: int) -> pl.DataFrame:
    """Runs, the newest first, with what their labels and scores cost."""
    return reader.query(f"{_RUNS} ORDER BY started_at DESC NULLS LAST, run_id LIMIT ?", [most])


def run(reader: Reader, run_id: str) -> pl.DataFrame:
    """One run, or no row."""
    return reader.query(f"{_RUNS} WHERE r.run_id = ?", [run_id])


_JUDGED = """
    SELECT run_id, scorer, max(requests) AS requests, max(cost_usd) AS cost_usd FROM score_groups
    GROUP BY run_id, sample_id, explainer, explainer_model, scorer, judge_model, control, epoch
"""
"""What groups of scores took: all metrics of a group come from the same requests, and each repeats their sum."""

_RUNS = f"""
    SELECT r.*, coalesce(c.cost_usd, 0) AS cost_usd, coalesce(c.unpriced, 0) AS unpriced
    FROM runs AS r LEFT JOIN (
        SELECT run_id, sum(cost_usd) AS cost_usd, count(*) FILTER (cost_usd IS NULL AND requests > 0) AS unpriced
        FROM (
            SELECT run_id, cost_usd, len(request_keys) AS requests FROM explanations
            UNION ALL SELECT run_id, cost_usd, requests FROM ({_JUDGED})
        ) GROUP BY run_id
    ) AS c USING (run_id)
"""
"""`cost_usd` is the sum of what is known; `unpriced` counts labels and groups of scores whose price is not known."""


def written_by(reader: Reader, run_id: str) -> pl.DataFrame:
    """What a run wrote: rows by table and kind, and the requests of its scorers."""
    return reader.query(
        f"""
        SELECT 'explanations' AS what, explainer AS who, state, count(*) AS n, sum(cost_usd) AS cost_usd
        FROM explanations WHERE run_id = $1 GROUP BY ALL
        UNION ALL
        SELECT 'scores', scorer, CASE WHEN value IS NULL THEN 'unscored' ELSE 'scored' END, count(*), NULL
        FROM scores WHERE run_id = $1 AND metric = 'headline' AND abs(tau - $2) < 1e-9 AND control IS NULL GROUP BY ALL
        UNION ALL
        SELECT 'requests for scores', scorer, 'with controls', sum(requests)::BIGINT, sum(cost_usd)
        FROM ({_JUDGED}) WHERE run_id = $1 GROUP BY scorer HAVING sum(requests) > 0
        ORDER BY what, who, state
        """,
        [run_id, TAU],
    )


def failed_labels(reader: Reader, sample_id: str) -> int:
    """Features for which an explainer found no label."""
    sql = "SELECT count(DISTINCT feature) AS n FROM explanations WHERE sample_id = ? AND state = 'failed'"
    return int(reader.query(sql, [sample_id])["n"][0])


def failures(reader: Reader, *, most: int | None) -> pl.DataFrame:
    """Explanations and requests that failed, the newest first, with what the model said where it said something."""
    return reader.query(
        """
        SELECT 'label' AS stage, e.explainer AS who, e.explainer_model AS model, s.feature_set, e.feature, e.reason,
               e.raw AS answer, e.created_at AS happened_at
        FROM explanations AS e LEFT JOIN samples AS s USING (sample_id) WHERE e.state = 'failed'
        UNION ALL
        SELECT purpose, provider, model, NULL, NULL, reason, answer, answered_at FROM llm_requests WHERE state = 'failed'
        ORDER BY happened_at DESC NULLS LAST, stage, who, feature LIMIT ?
        """,
        [most if most is not None else 2**62],
    )


def failure_reasons(reader: Reader) -> pl.DataFrame:
    """The same counted by stage and reason, the most frequent first; reasons that differ in numbers alone are one."""
    return reader.query(
        """
        WITH failed AS (
            SELECT 'label' AS stage, explainer AS who, reason FROM explanations WHERE state = 'failed'
            UNION ALL SELECT purpose, model, reason FROM llm_requests WHERE state = 'failed'
        )
        SELECT stage, who, count(*) AS n,
               coalesce(CASE WHEN count(DISTINCT reason) = 1 THEN min(reason) ELSE kind END, 'no reason given') AS reason
        FROM (SELECT *, regexp_replace(reason, '[0-9][0-9,.]*', 'N', 'g') AS kind FROM failed)
        GROUP BY stage, who, kind ORDER BY n DESC, stage, who, reason LIMIT 50
        """
    )


def disagreed_labels(reader: Reader, sample_id: str, n: int) -> pl.DataFrame:
    """Features that two scorers see most differently: the widest gap between headline scores of the same explanation.

    Headlines of scorers that ask in trials are other metrics and compare with nothing else.
    """
    return reader.query(
        """
        WITH heads AS (
            SELECT explanation_id, feature, scorer, max(value) AS value FROM scores
            WHERE sample_id = $1 AND metric = 'headline' AND abs(tau - $2) < 1e-9 AND control IS NULL
              AND value IS NOT NULL AND epoch = 0
              AND scorer IN (SELECT scorer FROM scores WHERE sample_id = $1 AND metric = 'balanced_hard')
            GROUP BY ALL
        ),
        gaps AS (
            SELECT feature, max(value) - min(value) AS gap, arg_max(scorer, value) AS for_it, max(value) AS highest,
                   arg_min(scorer, value) AS against_it, min(value) AS lowest
            FROM heads GROUP BY explanation_id, feature HAVING count(*) > 1
        )
        SELECT l.*, g.gap, g.for_it, g.highest, g.against_it, g.lowest
        FROM gaps AS g JOIN labels AS l ON l.sample_id = $1 AND l.feature = g.feature
        ORDER BY g.gap DESC, g.feature LIMIT $3
        """,
        [sample_id, TAU, n],
    )


def changes(reader: Reader, sample_id: str, *, most: int) -> Changes:
    """Compare the newest label and score of each feature with the one before, by the same explainer, model and judge.

    Only what was written more than once is put in order: of a first run that is nothing. No run writes the same twice, so
    that is among what the run that wrote most did not write, and found by a hash, which takes a fraction of the memory.
    """
    labels, scores = _changed_labels(reader, sample_id, most), _changed_scores(reader, sample_id, most)
    return Changes(_total(labels), tuple(labels.to_dicts()), _total(scores), tuple(scores.to_dicts()))


def _changed_labels(reader: Reader, sample_id: str, most: int) -> pl.DataFrame:
    return reader.query(
        """
        WITH first AS (
            SELECT run_id FROM explanations WHERE sample_id = $1 AND state = 'labeled'
            GROUP BY run_id ORDER BY count(*) DESC, run_id LIMIT 1
        ),
        again AS (
            SELECT hash(feature, explainer, explainer_model, repeat) AS who FROM explanations
            WHERE sample_id = $1 AND state = 'labeled' AND run_id IS DISTINCT FROM (SELECT run_id FROM first)
        ),
        told AS (
            SELECT feature, explainer, text, created_at,
                   lag(text) OVER (
                       PARTITION BY feature, explainer, explainer_model, repeat ORDER BY created_at, explanation_id
                   ) AS before,
                   row_number() OVER (
                       PARTITION BY feature, explainer, explainer_model, repeat
                       ORDER BY created_at DESC, explanation_id DESC
                   ) AS place
            FROM explanations WHERE sample_id = $1 AND state = 'labeled'
              AND hash(feature, explainer, explainer_model, repeat) IN (SELECT who FROM again)
        )
        SELECT feature, explainer, before, text AS now, count(*) OVER () AS total FROM told
        WHERE place = 1 AND before IS NOT NULL AND before <> text ORDER BY created_at DESC, feature LIMIT $2
        """,
        [sample_id, most],
    )


def _changed_scores(reader: Reader, sample_id: str, most: int) -> pl.DataFrame:
    return reader.query(
        """
        WITH ours AS NOT MATERIALIZED (
            SELECT * FROM scores
            WHERE sample_id = $1 AND metric = 'headline' AND abs(tau - $2) < 1e-9 AND control IS NULL AND value IS NOT NULL
        ),
        first AS (SELECT run_id FROM ours GROUP BY run_id ORDER BY count(*) DESC, run_id LIMIT 1),
        again AS (
            SELECT hash(feature, explainer, explainer_model, scorer, judge_model, epoch) AS who FROM ours
            WHERE run_id IS DISTINCT FROM (SELECT run_id FROM first)
        ),
        told AS (
            SELECT x.feature, x.explainer, x.scorer, x.value, x.low, x.high, r.started_at,
                   lag(x.value) OVER w AS value_before, lag(x.low) OVER w AS low_before, lag(x.high) OVER w AS high_before,
                   row_number() OVER (
                       PARTITION BY x.feature, x.explainer, x.explainer_model, x.scorer, x.judge_model, x.epoch
                       ORDER BY r.started_at DESC NULLS LAST, x.score_id DESC
                   ) AS place
            FROM ours AS x LEFT JOIN runs AS r USING (run_id)
            ANTI JOIN (SELECT explanation_id FROM explanations WHERE repeat > 0) AS e USING (explanation_id)
            WHERE hash(x.feature, x.explainer, x.explainer_model, x.scorer, x.judge_model, x.epoch) IN (SELECT who FROM again)
            WINDOW w AS (
                PARTITION BY x.feature, x.explainer, x.explainer_model, x.scorer, x.judge_model, x.epoch
                ORDER BY r.started_at NULLS FIRST, x.score_id
            )
        )
        SELECT *, count(*) OVER () AS total FROM told
        WHERE place = 1 AND (low > high_before OR high < low_before)
        ORDER BY abs(value - value_before) DESC, feature LIMIT $3
        """,
        [sample_id, TAU, most],
    )


def _total(frame: pl.DataFrame) -> int:
    return int(frame["total"][0]) if len(frame) else 0
