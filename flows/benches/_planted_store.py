"""Keep what a bench of planted features measured in the workspace that it measured in, for questions in SQL."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

import numpy as np
import polars as pl

from evals.planted.ranking import KINDS
from flows.benches import Row
from flows.benches._planted_judged import METHODS, JudgedSet
from flows.benches._planted_workspace import Planted
from labeling.store import Store
from labeling.workspace import Workspace

WORDINGS = np.array([KINDS[:i].count(kind) for i, kind in enumerate(KINDS)])
WORTH = ("f1", "mcc", "average_precision", "balanced_hard", "balanced_random")


def save_rows(planted: Planted, bench: str, rows: Sequence[Row]) -> None:
    """Save a bench's numbers, and publish the workspace."""
    with Store(Workspace(planted.root)) as store:
        run_id = store.read("runs")["run_id"][0]
        frame = pl.DataFrame([asdict(row) for row in rows], schema_overrides={"value": pl.Float64, "target": pl.String})
        store.save("bench_rows", frame.with_columns(pl.lit(bench).alias("bench"), pl.lit(run_id).alias("run_id")))
        store.publish()


def save_judged(planted: Planted, sets: Sequence[JudgedSet]) -> None:
    """Save every label with its worth, and its scores by every judge and method."""
    with Store(Workspace(planted.root)) as store:
        for judged in sets:
            labels = _labels(planted, judged)
            store.save("planted_labels", labels)
            key = labels.select("sample_id", "feature", "kind", "wording")
            exists = np.array(judged.labels).ravel() != ""
            frames = [
                key.with_columns(
                    pl.lit(judge).alias("judge"),
                    pl.lit(method).alias("method"),
                    pl.Series("value", judged.scores[judge, method].ravel()[exists]).fill_nan(None),
                )
                for judge in judged.asked
                for method in METHODS
            ]
            store.save("planted_scores", pl.concat(frames))


def _labels(planted: Planted, judged: JudgedSet) -> pl.DataFrame:
    n = len(judged.features)
    columns = {
        "feature": np.repeat(np.arange(n), len(KINDS)),
        "kind": list(KINDS) * n,
        "wording": np.tile(WORDINGS, n),
        "family": [f.concept.family for f in judged.features for _ in KINDS],
        "concept": [f.concept.name for f in judged.features for _ in KINDS],
        "shape": [f.shape for f in judged.features for _ in KINDS],
        "label": [text for texts in judged.labels for text in texts],
        "compared": judged.worth.compared.ravel(),
        **{name: getattr(judged.worth, name).ravel() for name in WORTH},
    }
    frame = pl.DataFrame(columns).filter(pl.col("label") != "").with_columns(pl.col(WORTH).fill_nan(None))
    return frame.with_columns(pl.lit(planted.samples[judged.name].sample_id).alias("sample_id"))
