"""Ask scripted judges about labels of planted features through the scorer `detection`, and compute scores from the answers.

Contexts, tasks, prompts, parsing, items and metrics are those of a run. Only the ledger is left out: a scripted judge costs
nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from evals.items import Items
from evals.metrics import MetricTable, score_features
from evals.scorers.detection import WINDOWS_PER_REQUEST, Detection
from flows.benches._planted_workspace import Planted
from flows.stages.items import build_items
from flows.stages.judge import GRADES, AskedLabel, ask_about
from labeling import evidence
from labeling.feature_evidence import read_contexts
from labeling.llm.scripted import Script, Scripted
from labeling.types import TAU_SHARE, Contexts, FloatArray, Grades, IntArray
from labeling.workspace import Workspace

MODEL = "scripted/planted"
Labels = Sequence[Sequence[str | None]]
"""[F][S] texts to judge for each feature; None: the judge gets no label."""
SKIP = ""
"""A place in `Labels` where the feature has no label."""


@dataclass(frozen=True, eq=False)
class SampledWindows:
    """The windows that a run judges for each feature of a feature set."""

    contexts: Mapping[int, Contexts]
    items: Items
    """With no grades."""
    row: IntArray  # [F, n] row of each item's window; -1 is padding


@dataclass(frozen=True, eq=False)
class Asked:
    """What a judge made of labels, and what asking took."""

    grades: FloatArray  # [F, S, n] 0-1, of each item; NaN is padding, or there was no answer
    reasons: Mapping[str, int]
    """Judgments without an answer, by reason."""
    n_requests: int
    prompt_tokens: float
    """Characters / 4."""
    n_windows: int


def sampled_windows(planted: Planted, feature_set: str) -> SampledWindows:
    """Read what the stage sample chose in the split `score`."""
    workspace, facts = Workspace(planted.root), planted.facts[feature_set]
    frame = evidence.scan(workspace, "contexts", facts.sample_id).filter(pl.col("split") == "score").collect()
    features = list(range(len(planted.features[feature_set])))
    # A window's row in place of its grade tells which item stands for which window.
    rows = frame.select("feature", "window_id").unique()
    rows = rows.with_columns(pl.Series("value", planted.windows.rows_of(rows["window_id"].to_numpy())))
    items = build_items(
        workspace,
        facts,
        rows.cast(dict(GRADES)),  # type: ignore[arg-type]
        features=features,
        split="score",
        panel=False,
    )
    row = np.where(np.isnan(items.probability), -1, items.probability).astype(np.int64)
    empty = items.with_probability(np.full(items.probability.shape, np.nan))
    return SampledWindows(read_contexts(frame, planted.windows), empty, row)


def ask(
    planted: Planted,
    sampled: SampledWindows,
    labels: Labels,
    judges: Mapping[str, Script],
    *,
    windows_per_request: int = WINDOWS_PER_REQUEST,
) -> dict[str, Asked]:
    """Ask every judge about every label, on the windows and in the prompts of a run."""
    scorer = Detection(MODEL, windows_per_request)
    n_labels = max(map(len, labels), default=0)
    shape = (len(labels), n_labels, sampled.row.shape[1])
    grades = {name: np.full(shape, np.nan, np.float32) for name in judges}
    reasons: dict[str, dict[str, int]] = {name: {} for name in judges}
    models = {name: Scripted(judge) for name, judge in judges.items()}
    n_requests, characters, n_windows = 0, 0, 0
    places = ((feature, number) for feature in sampled.contexts for number in range(len(labels[feature])))
    with asyncio.Runner() as runner:  # one for all: there are thousands of requests, and each is answered at once
        for feature, number in places:
            text = labels[feature][number]
            if text == SKIP:
                continue
            asked = _ask_about(feature, text, sampled.contexts[feature], scorer, planted)
            n_requests += len(asked.requests)
            n_windows += len(asked.task.rows)
            characters += sum(len(request.system) + len(request.user) for request in asked.requests)
            for name, model in models.items():
                results = runner.run(model.complete(asked.requests))
                model.asked.clear()
                found = scorer.parse(asked.task, planted.windows, results)
                grades[name][feature, number] = _of_items(found, asked, sampled.row[feature])
                _count(found, reasons[name])
    return {name: Asked(grades[name], reasons[name], n_requests, characters / 4, n_windows) for name in judges}


def _ask_about(feature: int, text: str | None, contexts: Contexts, scorer: Detection, planted: Planted) -> AskedLabel:
    row = {"feature": feature, "control": None, "text": text, "pattern": None}
    return ask_about(row, contexts, np.zeros(0, np.int64), scorer, planted.windows, 0)


def _of_items(found: Grades, asked: AskedLabel, row: IntArray) -> FloatArray:
    """[n] grades in the places of a feature's items; a window that stands in two strata has its grade twice."""
    order = np.argsort(asked.task.rows)
    place = order[np.searchsorted(asked.task.rows[order], np.maximum(row, asked.task.rows.min()))]
    return np.where(row >= 0, found.values[place], np.nan).astype(np.float32)


def _count(found: Grades, reasons: dict[str, int]) -> None:
    for reason in found.reasons:
        if reason is not None:
            reasons[reason] = reasons.get(reason, 0) + 1


def score(sampled: SampledWindows, grades: FloatArray, *, intervals: bool) -> MetricTable:
    """Metrics of one label a feature, from the grades [F, n] of its items."""
    return score_features(
        sampled.items.with_probability(grades.astype(np.float64)),
        generator=np.random.default_rng(0),
        intervals=intervals,
        draws=50,  # the intervals of balanced scores and AUROCs are closed forms
        tau_shares=(TAU_SHARE,),
    )
