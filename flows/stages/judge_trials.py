"""Judge labels in trials: the counterpart of `judge.py` for scorers that choose their own questions.

From labels, contexts and the panel to rows of the table `judgments`, one a trial, with everything that metrics need.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl

from evals.scorers import TrialScorer
from evals.trials import Answer, Asked, Panel, Subject, Trial, deal_labels
from flows.llm import Sent, send
from flows.stages.judge import (
    JudgeResult,
    JudgeShard,
    ask_ahead,
    judge_seed,
    judged_before,
    labels_with_contexts,
    make_scorer,
    panel_rows,
    read_label,
)
from flows.stages.split_windows import split_windows
from flows.usage import Usage
from labeling import evidence
from labeling.identity import identify
from labeling.types import Contexts, LLMRequest, Windows
from labeling.workspace import Workspace


@dataclass(frozen=True)
class _Block:
    """Labels that share requests."""

    places: Sequence[int]
    """Positions of the labels among those of the shard."""
    asked: Sequence[Asked]
    requests: tuple[LLMRequest, ...]


def judge_trials(job: JudgeShard) -> JudgeResult:
    """Ask all trials of all labels of the range and write the judgments."""
    scorer, windows = trial_scorer(job), split_windows(job.root, job.corpus_id, "score")
    rows, asked = _choose_trials(job, scorer, windows)
    blocks, sent = _ask_all(job, scorer, asked, windows)
    frames, lost, place = [judged_before(job)], Counter[str](), 0
    for block in blocks:
        span = slice(place, place + len(block.requests))
        place += len(block.requests)
        answers = scorer.parse(block.asked, windows, sent.results[span])
        for label, of, given in zip(block.places, block.asked, answers, strict=True):
            frames.append(_judgments(job, rows[label], of.trials, given, sent.asked[span], windows))
            lost.update(answer.reason for answer in given if answer.reason is not None)
    frame = pl.concat(frames, how="vertical_relaxed")
    evidence.write_shard(Workspace(job.root), "judgments", job.group, job.shard, frame)
    once = dict(zip(sent.asked, sent.usage, strict=True))  # two controls can ask the same question
    spent = sum(once.values(), Usage())
    return JudgeResult(len(frame), dict(lost), spent, sent.n_reused, sent.n_sent_again)


def ask_any_ahead(job: JudgeShard) -> int:
    """Ask what the job will ask, whatever its scorer. Return how many answers are not there yet."""
    scorer = make_scorer(job.scorer)
    if not isinstance(scorer, TrialScorer):
        return ask_ahead(job)
    windows = split_windows(job.root, job.corpus_id, "score")
    return _ask_all(job, scorer, _choose_trials(job, scorer, windows)[1], windows)[1].n_pending


def trial_scorer(job: JudgeShard) -> TrialScorer:
    scorer = make_scorer(job.scorer)
    if not isinstance(scorer, TrialScorer):
        raise TypeError(f"{job.scorer.name} grades windows; see flows/stages/judge.py")
    return scorer


def subject_of(row: dict[str, Any], contexts: Contexts, panel: Panel, *, epoch: int) -> Subject:
    """One row of the labels file as a scorer sees it."""
    return Subject(
        feature=row["feature"],
        label=read_label(row),
        contexts=contexts,
        panel=panel,
        rivals=tuple(row["rivals"]),
        seed=judge_seed(row["feature"], epoch=epoch) % 2**32,
        epoch=epoch,
    )


def write_requests(scorer: TrialScorer, asked: Sequence[Asked], windows: Windows, epoch: int) -> tuple[LLMRequest, ...]:
    """The requests of labels that share them, marked with the epoch; none where there is no trial."""
    if not any(of.trials for of in asked):
        return ()
    return tuple(replace(request, repeat=epoch) for request in scorer.requests(asked, windows))


def _choose_trials(job: JudgeShard, scorer: TrialScorer, windows: Windows) -> tuple[list[dict[str, Any]], list[Asked]]:
    """The labels of the range and their trials."""
    panels = Panels(Workspace(job.root), job.sample_id, windows, features=range(job.first, job.last))
    rows, asked = [], []
    known: dict[int, tuple[Trial, ...]] = {}
    for row, contexts in labels_with_contexts(job, "score", windows):
        subject = subject_of(row, contexts, panels.of(row["feature"]), epoch=job.epoch)
        trials = known.get(row["feature"])
        if trials is None or scorer.rivals:  # else trials don't depend on the label
            trials = known[row["feature"]] = scorer.trials(subject, windows)
        rows.append(row)
        asked.append(Asked(subject, trials))
    return rows, asked


class Panels:
    """The panel as each of some features sees it, read once for all of them."""

    def __init__(self, workspace: Workspace, sample_id: str, windows: Windows, *, features: Sequence[int]) -> None:
        self._row = panel_rows(workspace, sample_id, windows)
        activity = (
            evidence.scan(workspace, "panel_activity", sample_id)
            .filter(pl.col("feature").is_in(list(features)))
            .select("feature", "window_id", "stratum")
            .collect()
        )
        place = {window: place for place, window in enumerate(windows.window[self._row].tolist())}
        self._active: dict[int, list[tuple[int, str]]] = {}
        for feature, window, stratum in activity.iter_rows():
            if window in place:
                self._active.setdefault(feature, []).append((place[window], stratum))

    def of(self, feature: int) -> Panel:
        stratum = np.full(len(self._row), "random", dtype="<U16")
        for place, name in self._active.get(feature, ()):
            stratum[place] = name
        return Panel(self._row, stratum)


def _ask_all(
    job: JudgeShard, scorer: TrialScorer, asked: Sequence[Asked], windows: Windows
) -> tuple[list[_Block], Sent]:
    seed = int(identify("labels together", sample=job.sample_id, shard=job.shard, epoch=job.epoch), 16) % 2**32
    blocks = []
    for places in deal_labels([of.subject for of in asked], together=scorer.labels_together, seed=seed):
        some = [asked[place] for place in places]
        blocks.append(_Block(places, some, write_requests(scorer, some, windows, job.epoch)))
    every = [request for block in blocks for request in block.requests]
    return blocks, send(job.root, every, job.llm, scorer.problem)


def _judgments(
    job: JudgeShard,
    row: dict[str, Any],
    trials: Sequence[Trial],
    answers: Sequence[Answer],
    trails: Sequence[tuple[str, ...]],
    windows: Windows,
) -> pl.DataFrame:
    """Rows of one label. A trail is the keys of the requests behind one answer, the first question first."""
    lost = [bool(np.isnan(answer.grade)) for answer in answers]
    keys = [trails[answer.request] for answer in answers] if trails else [()] * len(answers)
    columns: dict[str, list[Any]] = {
        "window_id": [int(windows.window[trial.rows[0]]) for trial in trials],
        "grade": [None if gone else answer.grade for gone, answer in zip(lost, answers, strict=True)],
        "state": ["lost" if gone else "answered" for gone in lost],
        "reason": [answer.reason for answer in answers],
        "request_key": [key[-1] if key else None for key in keys],
        "place": [answer.place if trails else None for answer in answers],
        "first_request_key": [key[0] if len(key) > 1 else None for key in keys],
        "trial": list(range(len(trials))),
        "variant": [trial.variant for trial in trials],
        "truth": [trial.truth for trial in trials],
        "options": [trial.options for trial in trials],
        "weight": [trial.weight for trial in trials],
        "shown": [windows.window[list(trial.rows)].tolist() for trial in trials],
        "token_levels": [list(answer.levels) for answer in answers],
        "token_expected_levels": [list(answer.expected) for answer in answers],
        "token_activations": [list(trial.activations) for trial in trials],
    }
    schema = evidence.JUDGMENTS.schema
    same = {
        "sample_id": job.sample_id,
        "feature": row["feature"],
        "explanation_id": row["explanation_id"],
        "explainer": job.explainer,
        "explainer_model": job.explainer_model,
        "control": row["control"],
        "scorer": job.scorer.name,
        "judge_model": make_scorer(job.scorer).model,
        "epoch": job.epoch,
        "split": "score",
        "probability": None,
    }
    frame = pl.DataFrame(columns, schema={name: schema[name] for name in columns})
    return frame.select(*(pl.lit(value, schema[name]).alias(name) for name, value in same.items()), *columns).select(
        schema.names()
    )
