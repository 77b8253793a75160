"""From metric tables to rows of `scores` and `score_groups`, and which rows new ones stand in for."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import polars as pl

from evals.groups import score_groups
from evals.metrics import MetricTable
from evals.scorers import Scorer
from flows.session import Session
from flows.stages.labels_to_judge import Judging
from flows.usage import Usage
from labeling.identity import identify


def score_rows(
    judging: Judging, scorer: Scorer, labels: pl.DataFrame, table: MetricTable, *, control: str | None, run_id: str
) -> pl.DataFrame:
    """Rows of `scores`: every metric of every feature of `labels`, which has one row a feature."""
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
            "explainer": judging.explainer.name,
            "scorer": scorer.name,
            "scorer_parameters": parameters,
            "epoch": judging.epoch,
            "value": table.value.ravel(),
            "low": table.low.ravel(),
            "high": table.high.ravel(),
            "n_items": table.n_items.ravel(),
            "n_lost": table.n_lost.ravel(),
            "reason": pl.Series(np.asarray(table.reason, dtype=object).ravel().tolist(), dtype=pl.String),
            "run_id": run_id,
        }
    ).with_columns(
        pl.col("value", "low", "high").fill_nan(None),
        pl.lit(judging.explainer_model, pl.String).alias("explainer_model"),
        pl.lit(scorer.model, pl.String).alias("judge_model"),
        pl.lit(control, pl.String).alias("control"),
    )


def score_ids(judging: Judging, scorer: Scorer, labels: pl.DataFrame, *, control: str | None) -> list[str]:
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
            explainer=judging.explainer.name,
        )
        for feature, explanation in labels.select("feature", "explanation_id").iter_rows()
    ]


def group_rows(judging: Judging, table: MetricTable, used: Usage, *, control: str | None, run_id: str) -> pl.DataFrame:
    """Rows of `score_groups`: the mean of every metric over the features of a table."""
    group = score_groups(table)
    return pl.DataFrame(
        {
            "sample_id": judging.sample.sample_id,
            "explainer": judging.explainer.name,
            "explainer_model": judging.explainer_model or "",
            "scorer": judging.scorer.name,
            "judge_model": judging.judge_model or "",
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
        }
    ).with_columns(pl.col("mean", "low", "high").fill_nan(None), pl.lit(used.cost_usd, pl.Float64).alias("cost_usd"))


def remove_earlier_controls(session: Session, rows: pl.DataFrame) -> None:
    """Delete scores that the features of `rows` got from labels that stood for the same control in earlier runs."""
    same = ("sample_id", "explainer", "explainer_model", "scorer", "judge_model", "epoch", "control")
    stored = session.store.read("scores", **rows.select(same).row(0, named=True))
    earlier = stored.filter(
        pl.col("feature").is_in(rows["feature"].to_list()) & ~pl.col("score_id").is_in(rows["score_id"].to_list())
    )
    if len(earlier):
        session.store.remove("scores", "score_id", earlier["score_id"].unique().to_list())
