"""From metric tables to rows of `scores` and `score_groups`, and which rows new ones stand in for."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import polars as pl

from evals.groups import GroupTable, score_groups
from evals.metrics import METRICS_VERSION
from evals.scorers import AnyScorer, TrialScorer, repeated_by_headline
from evals.trial_measures import Measured
from flows.session import Session
from flows.stages.labels_to_judge import Judging
from flows.usage import Usage
from labeling.identity import identify


def score_rows(
    judging: Judging,
    scorer: AnyScorer,
    labels: pl.DataFrame,
    measured: Measured,
    *,
    control: str | None,
    run_id: str,
) -> pl.DataFrame:
    """Rows of `scores`: every metric of every feature of `labels`, which has one row a feature."""
    table = measured.table
    n_metrics, n_features = table.value.shape
    parameters = json.dumps(dict(scorer.parameters), sort_keys=True)
    ids = score_ids(judging, scorer, labels, control=control)

    def each_feature(values: Sequence[object]) -> list[object]:
        return [value for _ in range(n_metrics) for value in values]

    return pl.DataFrame(
        {
            "score_id": each_feature(ids),
            "metric": np.repeat(np.array(table.metric), n_features),
            "tau": np.repeat(np.array(table.tau_share), n_features),
            "sample_id": judging.sample.sample_id,
            "feature": each_feature(labels["feature"].to_list()),
            "explanation_id": pl.Series(each_feature(labels["explanation_id"].to_list()), dtype=pl.String),
            "scorer": scorer.name,
            "scorer_parameters": parameters,
            "epoch": judging.epoch,
            "chance": measured.chance.ravel(),
            "value": table.value.ravel(),
            "low": table.low.ravel(),
            "high": table.high.ravel(),
            "n_items": table.n_items.ravel(),
            "n_lost": table.n_lost.ravel(),
            "reason": pl.Series(np.asarray(table.reason, dtype=object).ravel().tolist(), dtype=pl.String),
            "run_id": run_id,
        }
    ).with_columns(
        pl.col("value", "low", "high", "chance").fill_nan(None),
        pl.lit(judging.explainer_name or None, pl.String).alias("explainer"),
        pl.lit(judging.explainer_model, pl.String).alias("explainer_model"),
        pl.lit(scorer.model, pl.String).alias("judge_model"),
        pl.lit(control, pl.String).alias("control"),
    )


def score_ids(judging: Judging, scorer: AnyScorer, labels: pl.DataFrame, *, control: str | None) -> list[str]:
    """Identity of the scores of each label: everything that could change them."""
    parameters = json.dumps(dict(scorer.parameters), sort_keys=True)
    return [
        identify(
            "score",
            feature=feature,
            explanation_id=explanation,
            scorer=scorer.name,
            parameters=parameters,
            prompt_version=scorer.prompt_version,
            judge=scorer.model,
            items=judging.sample.sample_id,
            epoch=judging.epoch,
            control=control,
            explainer=judging.explainer_name,
            **metrics_version(scorer),
        )
        for feature, explanation in labels.select("feature", "explanation_id").iter_rows()
    ]


def metrics_version(scorer: AnyScorer) -> dict[str, int]:
    """What names the formulas of graded windows in identities; nothing for scorers that have metrics of their own."""
    return {} if isinstance(scorer, TrialScorer) else {"metrics": METRICS_VERSION}


def group_rows(
    judging: Judging,
    scorer: AnyScorer,
    measured: Measured,
    used: Usage,
    *,
    control: str | None,
    run_id: str,
) -> pl.DataFrame:
    """Rows of `score_groups`: the mean of every metric over the features of a table."""
    group, headline = score_groups(measured.table), repeated_by_headline(scorer)
    if headline is not None:
        group = _repeated(group, headline)
    return pl.DataFrame(
        {
            **judging.columns,
            "metric": list(group.metric),
            "tau": list(group.tau_share),
            "control": control or "",
            "epoch": judging.epoch,
            "n_features": group.n_features,
            "n_unscored": group.n_unscored,
            "mean": group.mean,
            "low": group.low,
            "high": group.high,
            "requests": used.requests,
            "input_tokens": used.input_tokens,
            "output_tokens": used.output_tokens,
            "priority": judging.priority,
            "run_id": run_id,
            "chance": _mean_chance(measured),
        }
    ).with_columns(
        pl.col("mean", "low", "high", "chance").fill_nan(None),
        pl.lit(used.cost_usd, pl.Float64).alias("cost_usd"),
        pl.when(pl.col("metric") == "headline").then(pl.lit(headline, pl.String)).alias("headline_of"),
    )


def remove_earlier_controls(session: Session, rows: pl.DataFrame) -> None:
    """Delete scores that the features of `rows` got from labels that stood for the same control in earlier runs."""
    same = ("sample_id", "explainer", "explainer_model", "scorer", "judge_model", "epoch", "control")
    stored = session.store.read("scores", **rows.select(same).row(0, named=True))
    earlier = stored.filter(
        pl.col("feature").is_in(rows["feature"].to_list()) & ~pl.col("score_id").is_in(rows["score_id"].to_list())
    )
    if len(earlier):
        session.store.remove("scores", "score_id", earlier["score_id"].unique().to_list())


def _repeated(group: GroupTable, metric: str) -> GroupTable:
    """The group with the limits of a metric in the row `headline` that repeats it: they depend on the metric's range."""
    source, target = group.metric.index(metric), group.metric.index("headline")
    low, high = group.low.copy(), group.high.copy()
    low[target], high[target] = low[source], high[source]
    return replace(group, low=low, high=high)


def _mean_chance(measured: Measured) -> npt.NDArray[np.float64]:
    """[R] mean over the scored features; NaN where there is none, or where it is not known of one of them."""
    scored = ~np.isnan(measured.table.value)
    n = scored.sum(axis=1)
    total = np.where(scored, measured.chance, 0.0).sum(axis=1)
    return np.where(n > 0, total / np.maximum(n, 1), np.nan)
