"""Compare two explainers, models, prompts, dictionaries or runs by their stored scores: one row a judge and metric.

    from flows.compare import compare
    compare("workspace", "explainer=token_pattern", "explainer=top_and_random")

From a published snapshot to a polars frame; it judges nothing and writes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from evals.comparison import MIN_FEATURES, Difference, compare_paired, compare_unpaired, holm
from evals.items import Float
from flows.sides import Contrast, find_contrasts, parse_side
from labeling.errors import FeatlasError, UsageError
from labeling.snapshot import open_snapshot, select
from labeling.types import TAU_SHARE
from labeling.workspace import Workspace

SCORES = """
SELECT m.feature_set, s.sample_id AS sample, f.control_for, s.feature, coalesce(s.explainer, '') AS explainer,
    coalesce(s.explainer_model, '') AS model, coalesce(e.prompt_version, '') AS prompt,
    coalesce(e.parameters, '') AS parameters, s.scorer, coalesce(s.scorer_parameters, '') AS scorer_parameters,
    coalesce(s.judge_model, '') AS judge, s.epoch::VARCHAR AS epoch, s.run_id AS run, s.metric, s.tau, s.value,
    s.sample_id = first_value(s.sample_id) OVER (
        PARTITION BY m.feature_set ORDER BY m.created_at DESC NULLS LAST, s.sample_id
    ) AS newest
FROM scores AS s
JOIN samples AS m USING (sample_id)
LEFT JOIN feature_sets AS f USING (feature_set)
LEFT JOIN explanations AS e ON e.explanation_id = s.explanation_id
LEFT JOIN runs AS r ON r.run_id = s.run_id
WHERE s.control IS NULL AND list_contains($1, s.metric) AND abs(s.tau - $2) < 1e-9 AND coalesce(e.repeat, 0) = 0
QUALIFY row_number() OVER (  -- the newest of what was scored again with another version of a scorer
    PARTITION BY s.sample_id, s.feature, s.explanation_id, s.scorer, s.scorer_parameters, s.judge_model, s.epoch, s.metric
    ORDER BY r.started_at DESC NULLS LAST, s.score_id
) = 1
ORDER BY s.sample_id, s.feature, s.score_id, s.metric
"""
KNOWN_METRICS = "SELECT DISTINCT metric FROM scores WHERE control IS NULL ORDER BY metric"
KNOWN_TAUS = "SELECT DISTINCT tau FROM scores ORDER BY tau"
DIFFERENCE = 0.02
"""Difference of means that the number of features needed is stated for."""


def compare(
    workspace: str | Path,
    a: str,
    b: str,
    *,
    metrics: Sequence[str] = ("headline",),
    tau: float = TAU_SHARE,
    difference: float = DIFFERENCE,
    seed: int = 0,
) -> pl.DataFrame:
    """A minus B for each judge and metric. Sides are written as `key=value,key=value` (`flows.sides.KEYS`).

    Paired over features where both were judged on the same windows; two dictionaries are compared unpaired. Columns:
    `paired`, `n_a`, `n_b` features compared; `only_a`, `only_b` scored on one side alone and left out; `mean_a`, `mean_b`,
    `difference` with its 95 % interval `low`, `high`; `p`, and `p_holm` corrected for the number of rows; `win_rate`;
    `deviation` of a feature's difference; `features_needed` to resolve `difference`. Raise UsageError for sides that
    can't be compared.
    """
    return compare_contrasts(
        contrasts_of(workspace, a, b, metrics, tau), metrics, tau, difference=difference, seed=seed
    )


def contrasts_of(workspace: str | Path, a: str, b: str, metrics: Sequence[str], tau: float) -> list[Contrast]:
    """What can be compared of two sides, with its scores. Raise UsageError as `compare` does."""
    return find_contrasts(read_scores(workspace, metrics, tau), parse_side(a), parse_side(b))


def compare_contrasts(
    contrasts: Sequence[Contrast], metrics: Sequence[str], tau: float, *, difference: float, seed: int
) -> pl.DataFrame:
    """The rows of `compare`."""
    generator = np.random.default_rng(seed)
    rows = [_compared(contrast, metric, tau, difference, generator) for contrast in contrasts for metric in metrics]
    frame = pl.DataFrame(rows, infer_schema_length=None)
    return frame.with_columns(pl.Series("p_holm", holm(frame["p"].to_list()))).select(*_ORDER, pl.exclude(_ORDER))


_ORDER = (
    *("scorer", "judge", "epoch", "feature_set", "metric", "tau", "paired", "n_a", "n_b", "only_a", "only_b"),
    *("mean_a", "mean_b", "difference", "low", "high", "p", "p_holm", "win_rate", "deviation", "features_needed"),
)


def compare_features(
    workspace: str | Path, a: str, b: str, *, metric: str = "headline", tau: float = TAU_SHARE
) -> pl.DataFrame:
    """Both scores of every feature of a paired comparison: scorer, judge, feature, score_a, score_b, difference."""
    frames = []
    for contrast in contrasts_of(workspace, a, b, (metric,), tau):
        if not contrast.paired:
            raise UsageError(f"{a} and {b} have different features, so there are no pairs of scores; use compare().")
        named = [pl.lit(contrast.judged_by[name]).alias(name) for name in ("scorer", "judge", "epoch", "feature_set")]
        frames.append(score_pairs(contrast, metric).select(*named, pl.all()))
    return pl.concat(frames)


def score_pairs(contrast: Contrast, metric: str) -> pl.DataFrame:
    """Features with a score on both sides: feature, score_a, score_b, difference."""
    difference = (pl.col("score_a") - pl.col("score_b")).alias("difference")
    return _joined(contrast, metric).drop_nulls().with_columns(difference)


def read_scores(workspace: str | Path, metrics: Sequence[str], tau: float) -> pl.DataFrame:
    """Scores of own labels. Raise UsageError for a metric or threshold that no score has."""
    connection = open_snapshot(Workspace(Path(workspace)))
    try:
        known = select(connection, KNOWN_METRICS)["metric"].to_list()
        if not known:
            raise FeatlasError(f"{workspace} holds no scores yet. Run `featlas score` first.")
        for metric in metrics:
            if metric not in known:
                raise UsageError(f"No score has the metric {metric!r}. Known: {', '.join(known)}.")
        taus = select(connection, KNOWN_TAUS)["tau"].to_list()
        if not any(abs(tau - each) < 1e-9 for each in taus):
            raise UsageError(f"No score has the threshold {tau:g}. Known: {', '.join(f'{each:g}' for each in taus)}.")
        return select(connection, SCORES, [list(metrics), tau])
    finally:
        connection.close()


def _compared(
    contrast: Contrast, metric: str, tau: float, difference: float, generator: np.random.Generator
) -> dict[str, Any]:
    if contrast.paired:
        both = _joined(contrast, metric)
        kept = both.drop_nulls()
        scores = kept["score_a"].to_numpy(), kept["score_b"].to_numpy()
        alone = {name: int(both[f"score_{name}"].is_not_null().sum()) - len(kept) for name in "ab"}
    else:
        scores = _values(contrast.a, metric), _values(contrast.b, metric)
        alone = {"a": 0, "b": 0}
    if min(len(side) for side in scores) < MIN_FEATURES:
        raise UsageError(
            f"{contrast.judged_by['scorer']}, {metric}: {len(scores[0])} and {len(scores[1])} features have a score to "
            f"compare; at least {MIN_FEATURES} are needed on each side. Score more features."
        )
    found = (compare_paired if contrast.paired else compare_unpaired)(*scores, generator=generator)
    return {
        **{name: contrast.judged_by[name] for name in ("scorer", "judge", "epoch")},
        "feature_set": contrast.judged_by.get("feature_set", ""),
        "metric": metric,
        "tau": tau,
        **{f"only_{name}": count for name, count in alone.items()},
        **_numbers(found, difference),
    }


def _joined(contrast: Contrast, metric: str) -> pl.DataFrame:
    """Columns feature, score_a, score_b of every feature that either side has; NULL where it is unscored."""
    sides = [
        rows.filter(pl.col("metric") == metric).select("feature", pl.col("value").alias(f"score_{name}"))
        for name, rows in (("a", contrast.a), ("b", contrast.b))
    ]
    return sides[0].join(sides[1], on="feature", how="full", coalesce=True).sort("feature")


def _values(rows: pl.DataFrame, metric: str) -> Float:
    values: Float = rows.filter(pl.col("metric") == metric)["value"].drop_nulls().to_numpy()
    return values


def _numbers(found: Difference, difference: float) -> dict[str, Any]:
    return {
        "paired": found.paired,
        "n_a": found.n_a,
        "n_b": found.n_b,
        "mean_a": found.mean_a,
        "mean_b": found.mean_b,
        "difference": found.difference,
        "low": found.low,
        "high": found.high,
        "p": found.p,
        "win_rate": found.win_rate,
        "deviation": found.deviation,
        "features_needed": found.features_needed(difference),
    }
