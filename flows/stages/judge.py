"""Judge labels on contexts: the half of stage score that asks. Writes the table `judgments`, a range of features a shard.

Every label, a feature's own or a control's, is judged on the same windows of the feature. Which labels stand in for
which is decided in `score.py` and handed over as a small Parquet file, so that a job stays a few plain values.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from evals import scorers
from evals.calibration import Curve
from evals.scorers import Scorer
from flows.llm import LLMSettings, Usage, send, usage
from labeling import evidence
from labeling.feature_evidence import read_contexts
from labeling.identity import identify
from labeling.registry import create
from labeling.types import Contexts, Grades, IntArray, JudgeTask, Label, LLMRequest, Split, Windows
from labeling.windows import load_windows
from labeling.workspace import Workspace

LABEL_KEY = ["feature", "control", "explanation_id"]
"""What tells one label that is judged from another."""


@dataclass(frozen=True)
class ScorerChoice:
    """Which scorer judges, as plain values that a job can carry."""

    name: str
    model: str | None


@dataclass(frozen=True)
class JudgeShard:
    """A range of features of one sample, for one scorer."""

    root: Path
    sample_id: str
    corpus_id: str
    scorer: ScorerChoice
    explainer: str
    explainer_model: str | None
    labels: Path
    """Parquet: feature, control, explanation_id, text, pattern; one row a label to judge."""
    shard: int
    first: int
    last: int
    """First feature of the range, and the one after its last."""
    group: str
    """Evidence key of the judgments."""
    curve: Curve | None
    epoch: int
    llm: LLMSettings


@dataclass(frozen=True)
class JudgeResult:
    n_judgments: int
    lost: dict[str, int]
    """Judgments without an answer, by reason."""
    usage: Usage
    n_reused: int
    n_sent_again: int


@dataclass(frozen=True)
class _Asked:
    """One label to be judged on one feature's windows, with the requests that ask."""

    row: dict[str, Any]
    task: JudgeTask
    requests: tuple[LLMRequest, ...]


def make_scorer(choice: ScorerChoice) -> Scorer:
    """Make a scorer; offline ones are kept, because some load a model."""
    return _scorer(choice)


@lru_cache(maxsize=4)
def _scorer(choice: ScorerChoice) -> Scorer:
    scorer: Scorer = create(scorers, choice.name, kind="scorer", model=choice.model)
    return scorer


def judge_shard(job: JudgeShard) -> JudgeResult:
    """Judge all labels of the range on `score` contexts and write the judgments."""
    scorer, workspace = make_scorer(job.scorer), Workspace(job.root)
    windows = split_windows(job.root, job.corpus_id, "score")
    panel = _panel(workspace, job.sample_id, windows) if scorer.uses_panel else np.zeros(0, np.int64)
    asked = [
        _ask(row, contexts, panel, scorer, windows, job.epoch)
        for row, contexts in _labels_with_contexts(job, "score", windows)
    ]
    sent = send(job.root, [request for item in asked for request in item.requests], job.llm)
    frames, lost, place = [_judged_before(job)], Counter[str](), 0
    for item in asked:
        span = slice(place, place + len(item.requests))
        place += len(item.requests)
        grades = scorer.parse(item.task, windows, sent.results[span])
        frames.append(_judgments(job, item, grades, windows, sent.keys[span]))
        lost.update(reason for reason in grades.reasons if reason is not None)
    frame = pl.concat(frames)
    evidence.write_shard(workspace, "judgments", job.group, job.shard, frame)
    spent = usage([request for item in asked for request in item.requests], sent.results)
    return JudgeResult(len(frame), dict(lost), spent, sent.n_reused, sent.n_sent_again)


def _judged_before(job: JudgeShard) -> pl.DataFrame:
    """Judgments of the range that earlier runs made of other labels; scores rest on them, so they stay."""
    file = evidence.shard_file(Workspace(job.root), "judgments", job.group, job.shard)
    if not file.exists():
        return evidence.JUDGMENTS.schema.to_frame()
    now = pl.read_parquet(job.labels).select(LABEL_KEY)
    return pl.read_parquet(file, glob=False).join(now, on=LABEL_KEY, how="anti", nulls_equal=True)


def _labels_with_contexts(job: JudgeShard, split: Split, windows: Windows) -> list[tuple[dict[str, Any], Contexts]]:
    labels = pl.read_parquet(job.labels).filter(pl.col("feature").is_between(job.first, job.last - 1))
    frame = (
        evidence.scan(Workspace(job.root), "contexts", job.sample_id)
        .filter((pl.col("split") == split) & pl.col("feature").is_between(job.first, job.last - 1))
        .collect()
    )
    contexts = read_contexts(frame, windows)
    return [(row, contexts[row["feature"]]) for row in labels.iter_rows(named=True) if row["feature"] in contexts]


@lru_cache(maxsize=2)
def split_windows(root: Path, corpus_id: str, split: Split) -> Windows:
    """Windows of one split, loaded once a process."""
    frame = evidence.scan(Workspace(root), "windows", corpus_id).filter(pl.col("split") == split)
    return load_windows(frame.collect())


def _panel(workspace: Workspace, sample_id: str, windows: Windows) -> IntArray:
    panel = evidence.scan(workspace, "panel", sample_id).select("window_id").collect()
    return windows.rows_of(panel["window_id"].to_numpy())


def _ask(
    row: dict[str, Any], contexts: Contexts, panel: IntArray, scorer: Scorer, windows: Windows, epoch: int
) -> _Asked:
    own_panel = panel if row["control"] is None else panel[:0]  # controls are about the balanced metrics only
    rows = np.unique(np.concatenate([contexts.row, own_panel]))
    seed = int(identify("judge order", feature=row["feature"], epoch=epoch), 16)
    order = np.random.default_rng(seed).permutation(len(rows))
    activations = np.zeros((len(rows), windows.width), dtype=np.float32)
    activations[np.searchsorted(rows, contexts.row)] = contexts.activations
    task = JudgeTask(row["feature"], read_label(row), rows[order], activations[order], seed % 2**32, epoch)
    if scorer.accepts(task) is not None:
        return _Asked(row, task, ())
    return _Asked(row, task, tuple(replace(r, repeat=epoch) for r in scorer.requests(task, windows)))


def read_label(row: dict[str, Any]) -> Label | None:
    """The label of a row of the labels file; None for the judge that gets no label."""
    if row["text"] is None:
        return None
    return Label(row["text"], json.loads(row["pattern"]) if row["pattern"] else None)


def _judgments(job: JudgeShard, item: _Asked, grades: Grades, windows: Windows, keys: Sequence[str]) -> pl.DataFrame:
    n = len(item.task.rows)
    values = grades.values.astype(np.float64)
    probability = job.curve(values) if job.curve is not None else values
    request = [None if not grades.request or (r := grades.request[i]) is None else keys[r] for i in range(n)]
    answered = ~np.isnan(values)
    return pl.DataFrame(
        {
            "sample_id": [job.sample_id] * n,
            "feature": np.full(n, item.task.feature, np.int32),
            "explanation_id": pl.Series([item.row["explanation_id"]] * n, dtype=pl.String),
            "explainer": [job.explainer] * n,
            "explainer_model": pl.Series([job.explainer_model] * n, dtype=pl.String),
            "control": pl.Series([item.row["control"]] * n, dtype=pl.String),
            "scorer": [job.scorer.name] * n,
            "judge_model": pl.Series([make_scorer(job.scorer).model] * n, dtype=pl.String),
            "epoch": np.full(n, job.epoch, np.int32),
            "split": ["score"] * n,
            "window_id": windows.window[item.task.rows],
            "grade": pl.Series(values, dtype=pl.Float32).fill_nan(None),
            "probability": pl.Series(probability, dtype=pl.Float32).fill_nan(None),
            "state": np.where(answered, "answered", "lost"),
            "reason": pl.Series(list(grades.reasons), dtype=pl.String),
            "request_key": pl.Series(request, dtype=pl.String),
        },
        schema=evidence.JUDGMENTS.schema,
    )


def grade_select(job: JudgeShard) -> pl.DataFrame:
    """Grade the features' own labels on the `select` split, for calibration: columns feature, window, value."""
    scorer, windows = make_scorer(job.scorer), split_windows(job.root, job.corpus_id, "select")
    parts = [pl.DataFrame(schema=GRADES)]
    for row, contexts in _labels_with_contexts(job, "select", windows):
        item = _ask(row, contexts, np.zeros(0, np.int64), scorer, windows, job.epoch)
        if row["control"] is None and scorer.accepts(item.task) is None:
            grades = scorer.parse(item.task, windows, ())
            feature = np.full(len(item.task.rows), row["feature"], np.int32)
            columns = {"feature": feature, "window_id": windows.window[item.task.rows], "value": grades.values}
            parts.append(pl.DataFrame(columns, schema=GRADES).with_columns(pl.col("value").fill_nan(None)))
    return pl.concat(parts)


GRADES = pl.Schema({"feature": pl.Int32, "window_id": pl.Int64, "value": pl.Float32})
