"""Questions behind the scoreboard: the features' values of one of its rows, and how far judges can be trusted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from dashboards.queries import TAU, Reader


def row_values(reader: Reader, samples: Sequence[str], row: Mapping[str, Any], metric: str) -> pl.DataFrame:
    """Sample, feature and value of each feature behind a row of the scoreboard that has one, in order.

    `samples` are those of the row: of its feature set, or of a control for it, whose own labels are judged.
    """
    control = row["control"] if row["control"] not in ("random_weights", "random_directions") else None
    return reader.query(
        """
        SELECT x.sample_id, x.feature, x.value
        FROM scores AS x LEFT JOIN runs AS r USING (run_id) LEFT JOIN explanations AS e USING (explanation_id)
        WHERE list_contains($1, x.sample_id) AND x.metric = $2 AND abs(x.tau - $3) < 1e-9
          AND x.explainer IS NOT DISTINCT FROM $4 AND x.explainer_model IS NOT DISTINCT FROM $5
          AND x.scorer = $6 AND x.judge_model IS NOT DISTINCT FROM $7 AND x.control IS NOT DISTINCT FROM $8
          AND coalesce(e.repeat, 0) = 0
        QUALIFY x.value IS NOT NULL AND row_number() OVER (
            PARTITION BY x.sample_id, x.feature ORDER BY x.epoch, r.started_at DESC NULLS LAST, x.score_id
        ) = 1
        ORDER BY x.sample_id, x.feature
        """,
        [
            list(samples),
            metric,
            TAU,
            *(row[n] for n in ("explainer", "explainer_model", "scorer", "judge_model")),
            control,
        ],
    )


def reliability_curves(reader: Reader, sample_id: str) -> pl.DataFrame:
    """Reliability curve of each judge, the first time that it was asked: bins that hold windows."""
    return reader.query(
        """
        SELECT * FROM reliability_curves
        WHERE sample_id = ? AND epoch = 0 AND probability IS NOT NULL AND observed IS NOT NULL
        ORDER BY explainer, explainer_model, scorer, judge_model, bin
        """,
        [sample_id],
    )


def judge_reliability(reader: Reader, sample_id: str) -> pl.DataFrame:
    """How far each judge agrees with itself when it is asked again."""
    return reader.query("SELECT * FROM judge_reliability WHERE sample_id = ? ORDER BY ALL", [sample_id])


def group_statistics(reader: Reader, sample_id: str, metric: str) -> pl.DataFrame:
    """What the scores of each group mean together, at the threshold that pages show."""
    return reader.query(
        """
        SELECT * FROM group_statistics WHERE sample_id = ? AND metric = ? AND abs(tau - ?) < 1e-9 AND epoch = 0
        ORDER BY explainer, explainer_model, scorer, judge_model
        """,
        [sample_id, metric, TAU],
    )
