"""Small frames of the tables, complete and typed, of which a test names only the columns it is about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from labeling import evidence
from labeling.store import Store

Rows = Sequence[Mapping[str, Any]]


def small(store: Store, table: str, *rows: Mapping[str, Any]) -> None:
    """Save rows to a small table; columns that are not named are NULL."""
    names = store.read(table).schema
    store.save(table, pl.DataFrame([{name: row.get(name) for name in names} for row in rows], schema=names))


def large(table: str, *rows: Mapping[str, Any]) -> pl.DataFrame:
    """Rows of a large table; columns that are not named are NULL."""
    schema = evidence.TABLES[table].schema
    return pl.DataFrame([{name: row.get(name) for name in schema} for row in rows], schema=schema)


def run(run_id: str, **columns: Any) -> dict[str, Any]:
    return {"run_id": run_id, "state": "running", **columns}


def score(score_id: str, feature: int, value: float | None, **columns: Any) -> dict[str, Any]:
    """A headline score of an offline scorer on the sample `s`."""
    given = {"sample_id": "s", "metric": "headline", "tau": 0.01, "epoch": 0, "scorer": "pattern"}
    return {"score_id": score_id, "feature": feature, "value": value, **given, **columns}


def group(explainer: str, mean: float | None, **columns: Any) -> dict[str, Any]:
    """A group of headline scores of an offline scorer on the sample `s`."""
    given = {"sample_id": "s", "metric": "headline", "tau": 0.01, "epoch": 0, "scorer": "pattern", "control": ""}
    models = {"explainer_model": "", "judge_model": "", "n_features": 2, "n_unscored": 0, "priority": 0}
    return {"explainer": explainer, "mean": mean, **given, **models, **columns}


def explanation(explanation_id: str, feature: int, explainer: str, text: str | None, **columns: Any) -> dict[str, Any]:
    """An explanation on the sample `s`; without a text it is a failed one."""
    state = "failed" if text is None else "labeled"
    given = {"sample_id": "s", "feature": feature, "explainer": explainer, "text": text, "state": state}
    return {"explanation_id": explanation_id, **given, **columns}
