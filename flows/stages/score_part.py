"""The job that turns judgments into metrics: some features' labels, own or one control's, to a metric table.

It reads evidence files and what it is handed; it writes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from evals.metrics import MetricTable, score_features
from evals.trial_measures import Measured
from flows.stages.items import SampleFacts, build_items
from flows.stages.judge import GRADES, LABEL_KEY
from labeling import evidence
from labeling.workspace import Workspace

FEATURES_TOGETHER = 1024
"""Features whose metrics are computed in one call; bounds memory."""


@dataclass(frozen=True, eq=False)
class ScorePart:
    """Some features of one sample with one label each, judged by one scorer."""

    root: Path
    labels: pl.DataFrame
    """Columns as LABELS; one row a feature, in ascending order."""
    facts: SampleFacts
    """Of these features alone."""
    group: str
    """Evidence key of the judgments."""
    panel: bool
    """Whether the panel was judged as well."""
    intervals: bool
    draws: int
    seed: int


CHANCE = {
    **dict.fromkeys(("headline", "balanced_hard", "balanced_random", "auroc_hard", "auroc_random"), 0.5),
    "balanced_accuracy": 0.5,
    "average_precision_lift": 1.0,
    "weighted_correlation": 0.0,
    "spearman_firing": 0.0,
}
"""What a guess gets in the metrics of graded windows, where it is the same for all features."""


def score_part(job: ScorePart) -> Measured:
    """Compute all metrics of a part."""
    workspace = Workspace(job.root)
    grades = (
        judgments_of(workspace, job.group, job.labels)
        .select("feature", "window_id", pl.col("probability").alias("value"))
        .collect()
    )
    items = build_items(
        workspace,
        job.facts,
        grades.cast(dict(GRADES)),  # type: ignore[arg-type]
        features=job.labels["feature"].to_list(),
        split="score",
        panel=job.panel,
    )
    generator = np.random.default_rng(job.seed)
    table = score_features(items, generator=generator, intervals=job.intervals, draws=job.draws)
    return beside_chance(table)


def beside_chance(table: MetricTable) -> Measured:
    """A table of graded windows with what a guess gets in each of its metrics."""
    guess = np.array([CHANCE.get(metric, np.nan) for metric in table.metric])
    return Measured(table, np.repeat(guess[:, None], table.value.shape[1], axis=1))


def judgments_of(workspace: Workspace, group: str, labels: pl.DataFrame) -> pl.LazyFrame:
    """Judgments of exactly these labels; the same file may hold those of labels that earlier runs chose."""
    key = {name: evidence.JUDGMENTS.schema[name] for name in LABEL_KEY}
    judged = evidence.scan(workspace, "judgments", group)
    return judged.join(labels.select(LABEL_KEY).cast(key).lazy(), on=LABEL_KEY, how="semi", nulls_equal=True)  # type: ignore[arg-type]
