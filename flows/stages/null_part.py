"""The job that judges wrong labels for the null of p-values: labels of other features, offline, to their scores.

It reads evidence files and what it is handed; it writes nothing. Judgments are not kept, as they would be ten times what
the labels' own are: pairs, curve and windows are stored, and the same scores follow from them again.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from evals.calibration import Curve
from evals.metrics import MetricTable, score_features
from flows.stages.items import SampleFacts, build_items_of_pairs
from flows.stages.judge import AskedLabel, ScorerChoice, ask_about, make_window_scorer
from flows.stages.split_windows import split_windows
from labeling import evidence
from labeling.feature_evidence import read_contexts
from labeling.types import Windows
from labeling.workspace import Workspace

GRADES = pl.Schema({"position": pl.Int64, "window_id": pl.Int64, "value": pl.Float64})


@dataclass(frozen=True, eq=False)
class NullPart:
    """Some features, each to be judged by some other features' labels."""

    root: Path
    corpus_id: str
    scorer: ScorerChoice
    pairs: pl.DataFrame
    """Columns as LABELS, one row a judging: the feature's windows, the other feature's label."""
    facts: SampleFacts
    """Of these features alone."""
    curve: Curve | None
    metrics: tuple[str, ...]


def null_part(job: NullPart) -> pl.DataFrame:
    """Score the pairs: columns feature, explanation_id, metric, tau, value, reason."""
    windows = split_windows(job.root, job.corpus_id, "score")
    items = build_items_of_pairs(
        Workspace(job.root),
        job.facts,
        _grades(job, windows),
        features=job.pairs["feature"].to_list(),
        split="score",
    )
    table = score_features(items, generator=np.random.default_rng(0), intervals=False)
    return pl.concat([_rows(job.pairs, table, row) for row, name in enumerate(table.metric) if name in job.metrics])


def _grades(job: NullPart, windows: Windows) -> pl.DataFrame:
    """Probabilities of each pair's windows, with the pair's position."""
    scorer, asked = make_window_scorer(job.scorer), _ask(job, windows)
    scorer.prepare([item.task for _, item in asked], windows)
    frames = [GRADES.to_frame()]
    for position, item in asked:
        raw = scorer.parse(item.task, windows, ()).values.astype(np.float64)
        value = raw if job.curve is None else job.curve(raw)
        # stored probabilities are single precision, and so is what they are compared with
        columns = {"window_id": windows.window[item.task.rows], "value": value.astype(np.float32).astype(np.float64)}
        frames.append(pl.DataFrame(columns).select(pl.lit(position, pl.Int64).alias("position"), "window_id", "value"))
    return pl.concat(frames).with_columns(pl.col("value").fill_nan(None))


def _ask(job: NullPart, windows: Windows) -> list[tuple[int, AskedLabel]]:
    features, no_panel = job.pairs["feature"].unique().to_list(), np.zeros(0, np.int64)
    frame = (
        evidence.scan(Workspace(job.root), "contexts", job.facts.sample_id)
        .filter((pl.col("split") == "score") & pl.col("feature").is_in(features))
        .collect()
    )
    contexts, scorer = read_contexts(frame, windows), make_window_scorer(job.scorer)
    return [
        (position, ask_about(row, contexts[row["feature"]], no_panel, scorer, windows, epoch=0))
        for position, row in enumerate(job.pairs.iter_rows(named=True))
        if row["feature"] in contexts
    ]


def _rows(pairs: pl.DataFrame, table: MetricTable, row: int) -> pl.DataFrame:
    return pairs.select(
        "feature",
        "explanation_id",
        pl.lit(table.metric[row]).alias("metric"),
        pl.lit(table.tau_share[row]).alias("tau"),
        pl.Series("value", table.value[row]).fill_nan(None),
        pl.Series("reason", table.reason[row].tolist(), dtype=pl.String),
    )
