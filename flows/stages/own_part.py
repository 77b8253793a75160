"""The job that looks at the judgments of features' own labels again: the judge's reliability curve, and scores of the
control `permuted`, whose grades are dealt out again. Nobody is asked anything.

It reads evidence files and what it is handed; it writes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from evals.calibration import ReliabilitySums, reliability_sums
from evals.controls import permute_grades
from evals.metrics import MetricTable, score_features
from flows.stages.items import SampleFacts, build_items
from flows.stages.judge import GRADES
from flows.stages.score_part import judgments_of
from labeling.workspace import Workspace


@dataclass(frozen=True, eq=False)
class OwnPart:
    """Some features of one sample with their own labels, judged by one scorer."""

    root: Path
    labels: pl.DataFrame
    """Columns as LABELS; one row a feature, in ascending order."""
    facts: SampleFacts
    """Of these features alone."""
    group: str
    """Evidence key of the judgments."""
    permuted: tuple[int, ...]
    """Features among them that get the control `permuted`, ascending."""
    seed: int


@dataclass(frozen=True)
class OwnResult:
    reliability: ReliabilitySums
    permuted: MetricTable | None
    """None where no feature gets the control."""


def own_part(job: OwnPart) -> OwnResult:
    """Build the items of own labels once, for both."""
    grades = (
        judgments_of(Workspace(job.root), job.group, job.labels)
        .select("feature", "window_id", pl.col("probability").alias("value"))
        .collect()
        .cast(dict(GRADES))  # type: ignore[arg-type]
    )
    features = job.labels["feature"].to_list()
    # without the panel: other controls are judged without it too, and features would weigh unalike
    items = build_items(Workspace(job.root), job.facts, grades, features=features, split="score", panel=False)
    table = None
    if job.permuted:
        chosen = np.flatnonzero(np.isin(features, job.permuted))
        dealt = permute_grades(items.take(chosen), np.random.default_rng([job.seed, features[0]]))
        table = score_features(dealt, generator=np.random.default_rng(job.seed), intervals=False)
    return OwnResult(reliability_sums(items), table)
