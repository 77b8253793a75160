"""Judge labels on contexts: the half of stage score that asks. Writes the table `judgments`, a range of features a shard.

Every label, a feature's own or a control's, is judged on the same windows of the feature. Which labels stand in for
which is decided in `labels_to_judge.py` and handed over as a small Parquet file, so that a job stays a few plain values.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from evals import scorers
from evals.calibration import Curve
from evals.scorers import AnyScorer, Scorer, TrialScorer
from flows.llm import LLMSettings, Sent, send
from flows.stages.split_windows import split_windows
from flows.usage import Usage
from labeling import evidence
from labeling.config import ScoreConfig
from labeling.feature_evidence import read_contexts
from labeling.identity import identify
from labeling.registry import create, settings_of
from labeling.types import Contexts, Grades, IntArray, JudgeTask, Label, LLMRequest, Split, Windows
from labeling.workspace import Workspace

LABEL_KEY = ["feature", "control", "explanation_id"]
"""What tells one label that is judged from another."""


@dataclass(frozen=True)
class ScorerChoice:
    """Which scorer judges, as plain values that a job can carry."""

    name: str
    model: str | None
    windows_per_request: int
    logprobs: bool = True
    """Whether it may ask for log-probabilities."""


def chosen_scorer(name: str, score: ScoreConfig, *, model: str | None = None) -> ScorerChoice:
    """A scorer as the config sets it. `model` judges where [score] names none."""
    return ScorerChoice(name, score.model or model, score.windows_per_request, score.logprobs)


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
    """Parquet, columns as LABELS of `labels_to_judge.py`; one row a label to judge."""
    shard: int
    first: int
    last: int
    """First feature of the range, and the one after its last."""
    group: str
    """Evidence key of the judgments."""
    curve: Curve | None
    epoch: int
    llm: LLMSettings

    @property
    def n_features(self) -> int:
        return self.last - self.first


@dataclass(frozen=True)
class JudgeResult:
    n_judgments: int
    lost: dict[str, int]
    """Judgments without an answer, by reason."""
    usage: Usage
    n_reused: int
    n_sent_again: int


@dataclass(frozen=True)
class AskedLabel:
    """One label to be judged on one feature's windows, with the requests that ask."""

    row: dict[str, Any]
    task: JudgeTask
    requests: tuple[LLMRequest, ...]


@dataclass(frozen=True)
class _Judged:
    """One label with the answers about it."""

    asked: AskedLabel
    grades: Grades
    trails: Sequence[tuple[str, ...]]
    """Keys of the requests that asked; of a question that was asked twice, both, the first one first."""

    def request_keys(self) -> Iterator[str | None]:
        """The request of each judgment; None for offline scorers."""
        return (None if trail is None else trail[-1] for trail in self._trail_of_each())

    def first_request_keys(self) -> Iterator[str | None]:
        """The request of each judgment whose answer could not be used; None where there was one question."""
        return (None if trail is None or len(trail) == 1 else trail[0] for trail in self._trail_of_each())

    def _trail_of_each(self) -> Iterator[tuple[str, ...] | None]:
        if not self.grades.request:
            return repeat(None, len(self.asked.task.rows))
        return (None if request is None else self.trails[request] for request in self.grades.request)

    def places(self) -> Iterator[int | None]:
        """The place of each judgment in its request; None for offline scorers."""
        return iter(self.grades.place) if self.grades.place else repeat(None, len(self.asked.task.rows))


def make_scorer(choice: ScorerChoice) -> AnyScorer:
    """Make a scorer. It is kept, because some load a model."""
    return _scorer(choice)


@lru_cache(maxsize=16)
def _scorer(choice: ScorerChoice) -> AnyScorer:
    takes = settings_of(scorers, choice.name, kind="scorer")
    scorer: AnyScorer = create(
        scorers, choice.name, kind="scorer", **{name: value for name, value in vars(choice).items() if name in takes}
    )
    return scorer


def make_window_scorer(choice: ScorerChoice) -> Scorer:
    """Make a scorer that grades windows. Raise TypeError, a programming error, for one that asks in trials."""
    scorer = make_scorer(choice)
    if isinstance(scorer, TrialScorer):
        raise TypeError(f"{choice.name} asks in trials; see flows/stages/judge_trials.py")
    return scorer


def judge_shard(job: JudgeShard) -> JudgeResult:
    """Judge all labels of the range on `score` contexts and write the judgments."""
    scorer, workspace = make_window_scorer(job.scorer), Workspace(job.root)
    windows = split_windows(job.root, job.corpus_id, "score")
    asked, sent = _ask_all(job, scorer, windows)
    scorer.prepare([item.task for item in asked], windows)
    judged, lost, place = list[_Judged](), Counter[str](), 0
    for item in asked:
        span = slice(place, place + len(item.requests))
        place += len(item.requests)
        grades = scorer.parse(item.task, windows, sent.results[span])
        judged.append(_Judged(item, grades, sent.asked[span]))
        lost.update(reason for reason in grades.reasons if reason is not None)
    frame = pl.concat([judged_before(job), evidence.completed("judgments", _judgments(job, judged, windows))])
    evidence.write_shard(workspace, "judgments", job.group, job.shard, frame)
    once = dict(zip(sent.asked, sent.usage, strict=True))  # two controls can ask the same question
    spent = sum(once.values(), Usage())
    return JudgeResult(len(frame), dict(lost), spent, sent.n_reused, sent.n_sent_again)


def ask_ahead(job: JudgeShard) -> int:
    """Ask what `judge_shard` will ask. Return how many answers are not there yet."""
    windows = split_windows(job.root, job.corpus_id, "score")
    return _ask_all(job, make_window_scorer(job.scorer), windows)[1].n_pending


def _ask_all(job: JudgeShard, scorer: Scorer, windows: Windows) -> tuple[list[AskedLabel], Sent]:
    """Each label of the range with its requests, and what became of all of them."""
    panel = panel_rows(Workspace(job.root), job.sample_id, windows) if scorer.uses_panel else np.zeros(0, np.int64)
    asked = [
        ask_about(row, contexts, panel, scorer, windows, job.epoch)
        for row, contexts in labels_with_contexts(job, "score", windows)
    ]
    requests = [request for item in asked for request in item.requests]
    return asked, send(job.root, requests, job.llm, scorer.problem)


def judged_before(job: JudgeShard) -> pl.DataFrame:
    """Judgments of the range that earlier runs made of other labels; scores rest on them, so they stay.

    A feature has one label a control at a time: an earlier one gives way.
    """
    file = evidence.shard_file(Workspace(job.root), "judgments", job.group, job.shard)
    if not file.exists():
        return evidence.JUDGMENTS.schema.to_frame()
    now = pl.read_parquet(job.labels).select(LABEL_KEY)
    controls = now.drop_nulls("control").select("feature", "control")
    before = evidence.scan_files("judgments", [file]).collect().join(now, on=LABEL_KEY, how="anti", nulls_equal=True)
    return before.join(controls, on=["feature", "control"], how="anti")


def labels_with_contexts(job: JudgeShard, split: Split, windows: Windows) -> list[tuple[dict[str, Any], Contexts]]:
    labels = pl.read_parquet(job.labels).filter(pl.col("feature").is_between(job.first, job.last - 1))
    frame = (
        evidence.scan(Workspace(job.root), "contexts", job.sample_id)
        .filter((pl.col("split") == split) & pl.col("feature").is_between(job.first, job.last - 1))
        .collect()
    )
    contexts = read_contexts(frame, windows)
    return [(row, contexts[row["feature"]]) for row in labels.iter_rows(named=True) if row["feature"] in contexts]


def panel_rows(workspace: Workspace, sample_id: str, windows: Windows) -> IntArray:
    panel = evidence.scan(workspace, "panel", sample_id).sort("rank").select("window_id").collect()
    return windows.rows_of(panel["window_id"].to_numpy())


def judge_seed(feature: int, *, epoch: int) -> int:
    """Seed of everything that is drawn to judge a feature; it must not depend on the label."""
    return int(identify("judge order", feature=feature, epoch=epoch), 16)


def ask_about(
    row: dict[str, Any], contexts: Contexts, panel: IntArray, scorer: Scorer, windows: Windows, epoch: int
) -> AskedLabel:
    """The windows that one label is judged on, and the requests that ask about them."""
    own_panel = panel if row["control"] is None else panel[:0]  # controls are about the balanced metrics only
    rows = np.unique(np.concatenate([contexts.row, own_panel]))
    seed = judge_seed(row["feature"], epoch=epoch)
    order = np.random.default_rng(seed).permutation(len(rows))
    activations = np.zeros((len(rows), windows.width), dtype=np.float32)
    activations[np.searchsorted(rows, contexts.row)] = contexts.activations
    task = JudgeTask(row["feature"], read_label(row), rows[order], activations[order], seed % 2**32, epoch)
    return AskedLabel(row, task, tuple(replace(r, repeat=epoch) for r in scorer.requests(task, windows)))


def read_label(row: dict[str, Any]) -> Label | None:
    """The label of a row of the labels file; None for the judge that gets no label."""
    if row["text"] is None:
        return None
    return Label(row["text"], json.loads(row["pattern"]) if row["pattern"] else None)


def _judgments(job: JudgeShard, judged: Sequence[_Judged], windows: Windows) -> pl.DataFrame:
    """All judgments of the range in one frame: a frame a label takes most of the time of judging offline."""
    if not judged:
        return evidence.JUDGMENTS.schema.to_frame()
    values = np.concatenate([item.grades.values for item in judged]).astype(np.float64)
    probability = job.curve(values) if job.curve is not None else values
    rows = np.concatenate([item.asked.task.rows for item in judged])
    return _label_columns(judged).select(
        pl.lit(job.sample_id).alias("sample_id"),
        "feature",
        "explanation_id",
        pl.lit(job.explainer).alias("explainer"),
        pl.lit(job.explainer_model, pl.String).alias("explainer_model"),
        "control",
        pl.lit(job.scorer.name).alias("scorer"),
        pl.lit(make_scorer(job.scorer).model, pl.String).alias("judge_model"),
        pl.lit(job.epoch, pl.Int32).alias("epoch"),
        pl.lit("score").alias("split"),
        pl.Series("window_id", windows.window[rows]),
        pl.Series("grade", values, dtype=pl.Float32).fill_nan(None),
        pl.Series("probability", probability, dtype=pl.Float32).fill_nan(None),
        pl.Series("state", np.where(np.isnan(values), "lost", "answered"), dtype=pl.String),
        pl.Series("reason", [reason for item in judged for reason in item.grades.reasons], dtype=pl.String),
        pl.Series("request_key", [key for item in judged for key in item.request_keys()], dtype=pl.String),
        pl.Series("place", [place for item in judged for place in item.places()], dtype=pl.Int16),
        pl.Series("first_request_key", [key for item in judged for key in item.first_request_keys()], dtype=pl.String),
    )


def _label_columns(judged: Sequence[_Judged]) -> pl.DataFrame:
    """What is known of the label of each judgment: feature, explanation_id, control."""
    names = ("feature", "explanation_id", "control")
    labels = pl.DataFrame(
        {name: [item.asked.row[name] for item in judged] for name in names},
        schema={name: evidence.JUDGMENTS.schema[name] for name in names},
    )
    return labels[np.repeat(np.arange(len(judged)), [len(item.asked.task.rows) for item in judged])]


def grade_select(job: JudgeShard) -> pl.DataFrame:
    """Grade the features' own labels on the `select` split, for calibration: columns feature, window, value."""
    scorer, windows = make_window_scorer(job.scorer), split_windows(job.root, job.corpus_id, "select")
    no_panel = np.zeros(0, np.int64)
    tasks = [
        ask_about(row, contexts, no_panel, scorer, windows, job.epoch).task
        for row, contexts in labels_with_contexts(job, "select", windows)
        if row["control"] is None
    ]
    scorer.prepare(tasks, windows)
    feature, rows, values = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)], [np.zeros(0, np.float32)]
    for task in tasks:
        feature.append(np.full(len(task.rows), task.feature))
        rows.append(task.rows)
        values.append(scorer.parse(task, windows, ()).values)
    columns = {
        "feature": np.concatenate(feature),
        "window_id": windows.window[np.concatenate(rows)],
        "value": np.concatenate(values),
    }
    return pl.DataFrame(columns, schema=GRADES).with_columns(pl.col("value").fill_nan(None))


GRADES = pl.Schema({"feature": pl.Int32, "window_id": pl.Int64, "value": pl.Float32})
