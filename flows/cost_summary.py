"""What a label and a score have cost so far, and what the features without them would: read from a published snapshot.

The selection of a run is often a part of a feature set; the forecast says what the rest would take at the same price.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from labeling.snapshot import query
from labeling.workspace import Workspace

LATEST = "sample_id IN (SELECT arg_max(sample_id, created_at) FROM samples GROUP BY feature_set)"
LABELS = f"""
SELECT sample_id, feature_set, explainer, explainer_model AS model, NULL AS scorer,
       count(*) FILTER (state = 'labeled') AS n, CASE WHEN count(cost_usd) = count(*) THEN sum(cost_usd) END AS cost,
       (SELECT count(*) FROM features AS f WHERE f.sample_id = e.sample_id AND f.status = 'ok'
        AND f.feature NOT IN (SELECT feature FROM explanations AS done WHERE done.sample_id = e.sample_id
            AND done.explainer = e.explainer AND done.explainer_model = e.explainer_model AND done.state = 'labeled')
       ) AS remaining
FROM explanations AS e JOIN samples USING (sample_id)
WHERE explainer_model IS NOT NULL AND explainer <> 'import' AND e.{LATEST} GROUP BY ALL ORDER BY ALL
"""
SCORES = f"""
SELECT sample_id, feature_set, explainer, judge_model AS model, scorer,
       max(n_features) FILTER (control = '') AS n,
       CASE WHEN count(cost_usd) = count(*) THEN sum(cost_usd) END AS cost,
       (SELECT count(*) FROM features AS f WHERE f.sample_id = g.sample_id AND f.status = 'ok'
        AND f.feature NOT IN (SELECT feature FROM scores AS done WHERE done.sample_id = g.sample_id
            AND coalesce(done.explainer, '') = g.explainer AND done.scorer = g.scorer AND done.judge_model = g.judge_model
            AND done.control IS NULL)) AS remaining
FROM score_groups AS g JOIN samples USING (sample_id)
WHERE judge_model <> '' AND metric = 'headline' AND tau = 0.01 AND g.{LATEST} GROUP BY ALL ORDER BY ALL
"""


@dataclass(frozen=True)
class UnitCost:
    """What one explainer's labels, or one judge's scores of them, have cost in a feature set."""

    feature_set: str
    what: str
    """`label` or `score`; a score is one feature's, with its controls. A request that two of them share counts twice."""
    name: str
    model: str
    n: int
    """Labels written, or features with a score; what those without one have cost counts too."""
    usd_each: float | None
    """None when the price of the model is not known, or nothing was made."""
    n_remaining: int
    """Features worth labeling (status `ok`) that have none yet."""
    forecast_usd: float | None
    """For these, at the same price."""

    def as_text(self) -> str:
        if not self.n:
            return f"{self.feature_set}, {self.name} ({self.model}): no {self.what} so far"
        each = "cost not known" if self.usd_each is None else f"${self.usd_each:.5f} a {self.what}"
        with_controls = ", controls included (a request they share counts in each)" if self.what == "score" else ""
        rest = ""
        if self.n_remaining and self.forecast_usd is not None:
            rest = f"; about ${self.forecast_usd:,.2f} for the {self.n_remaining:,} features without one"
        return f"{self.feature_set}, {self.name} ({self.model}): {each}{with_controls}, {self.n:,} so far{rest}"


def unit_costs(workspace: Workspace) -> list[UnitCost]:
    """Costs of everything that language models made for the latest sample of each feature set."""
    rows = [
        *query(workspace, LABELS).with_columns(pl.lit("label").alias("what")).iter_rows(named=True),
        *query(workspace, SCORES).with_columns(pl.lit("score").alias("what")).iter_rows(named=True),
    ]
    found = []
    for row in rows:
        each = row["cost"] / row["n"] if row["n"] and row["cost"] is not None else None
        name = " of ".join(filter(None, (row.get("scorer"), row["explainer"])))
        forecast = None if each is None else each * row["remaining"]
        found.append(
            UnitCost(
                row["feature_set"],
                row["what"],
                name,
                row["model"],
                row["n"] or 0,
                each,
                row["remaining"],
                forecast,
            )
        )
    return found
