"""What a run would ask language models, and what that would cost: renders a sample of the real prompts, sends nothing.

Up to 20 features are drawn at random for each thing that is asked, and their requests written exactly as a run would
write them; what the ledger has answered already is left out. Tokens are characters / 4, corrected by what earlier
answers of the same model were billed. It needs no key and connects to nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

import numpy as np
import polars as pl

from evals.scorers import AnyScorer, TrialScorer, reads_labels
from evals.scorers._trials import Asked, Subject
from flows.budgets import prices
from flows.session import Session
from flows.stages.billed import Billed, billed_before
from flows.stages.judge import ScorerChoice, ask_about, make_scorer
from flows.stages.judge_trials import Panels, subject_of, write_requests
from flows.stages.label import choose_explainer, explanation_id, features_to_label, gather_evidence, make_explainer
from flows.stages.labels_to_judge import assigned_controls
from flows.stages.sample import Sample
from flows.stages.select_features import select_features
from flows.stages.split_windows import split_windows
from labeling import evidence
from labeling.explainers import Explainer
from labeling.feature_evidence import read_contexts
from labeling.ledger import Ledger, request_key
from labeling.types import Completion, FeatureInfo, Label, LLMRequest, Windows

FEATURES_RENDERED = 20
TYPICAL_RIVALS = 10
TYPICAL_LABEL = "x" * 60
"""Stands for a label that is not written yet, where no label of the explainer is known."""
LABEL_OUTPUT_TOKENS = 80
GRADE_OUTPUT_TOKENS = 6
"""Of an answer, where the ledger has seen none; a grade is one window's."""


@dataclass(frozen=True)
class Figure:
    """A total over all features, with the standard error of having rendered only some of them."""

    value: float
    error: float


@dataclass(frozen=True)
class Estimate:
    """What one explainer or scorer would ask about one feature set."""

    stage: str
    """`label` or `score`."""
    feature_set: str
    name: str
    """Explainer, or scorer with the explainer whose labels it judges."""
    model: str
    features: int
    rendered: int
    requests: Figure
    prompt_tokens: Figure
    output_tokens: Figure
    cost_usd: Figure | None
    """None when the price of the model is not known."""
    billed_per_estimated: float | None
    """Billed prompt tokens over characters / 4 in earlier answers, by which tokens are corrected; None without any."""
    n_billed: int
    """Earlier answers behind it."""


@dataclass(frozen=True)
class _Asking:
    """Requests of one feature that are not answered yet, times how often they would be asked."""

    requests: Sequence[LLMRequest]
    times: float


def estimate(session: Session, samples: Sequence[Sample], stages: Sequence[str]) -> list[Estimate]:
    """One entry for each explainer and scorer that asks a language model, and each feature set."""
    found: list[Estimate] = []
    for sample in samples:
        for name in session.config.label.explainer:
            explainer = make_explainer(choose_explainer(session, name))
            if "label" in stages and explainer.model is not None:
                found.append(_labels(session, sample, explainer, explainer.model))
            for scorer in _asking_scorers(session) if "score" in stages else []:
                if reads_labels(scorer):
                    found.append(_scores(session, sample, explainer, scorer))
        for scorer in _asking_scorers(session) if "score" in stages else []:
            if not reads_labels(scorer):
                found.append(_scores(session, sample, None, scorer))
    return found


def _asking_scorers(session: Session) -> list[AnyScorer]:
    score = session.config.score
    scorers = [make_scorer(ScorerChoice(name, score.model, score.windows_per_request)) for name in score.scorers]
    return [scorer for scorer in scorers if scorer.model is not None]


def _labels(session: Session, sample: Sample, explainer: Explainer, model: str) -> Estimate:
    wanted = features_to_label(session, sample, explainer, repeat=0)

    def render(features: Sequence[FeatureInfo]) -> list[_Asking]:
        gathered = gather_evidence(session.workspace.root, sample.sample_id, sample.corpus.corpus_id, features)
        return [_Asking(explainer.requests(item), session.config.label.repeats) for item in gathered]

    return _extrapolate(session, sample, wanted, render, stage="label", name=explainer.name, model=model)


def _scores(session: Session, sample: Sample, explainer: Explainer | None, scorer: AnyScorer) -> Estimate:
    """`explainer` is None for scorers that judge features, not labels."""
    selected = select_features(session, sample, session.config.score.features)
    texts = {} if explainer is None else _known_labels(session, sample, explainer, selected)
    times = _labels_judged(session, sample, selected) if explainer else {f.feature: 1 for f in selected}

    def render(features: Sequence[FeatureInfo]) -> list[_Asking]:
        windows = split_windows(session.workspace.root, sample.corpus.corpus_id, "score")
        numbers = [f.feature for f in features]
        frame = (
            evidence.scan(session.workspace, "contexts", sample.sample_id)
            .filter((pl.col("split") == "score") & pl.col("feature").is_in(numbers))
            .collect()
        )
        panels = Panels(session.workspace, sample.sample_id, windows, features=numbers)
        asked = []
        for feature, contexts in read_contexts(frame, windows).items():
            row = _stand_in(feature, texts, explainer)
            if isinstance(scorer, TrialScorer):
                subject = subject_of(row, contexts, panels.of(feature), epoch=0)
                asked.append(_trials_about(scorer, subject, windows, times[feature]))
            else:
                panel = np.zeros(0, np.int64)
                requests = ask_about(row, contexts, panel, scorer, windows, epoch=0).requests
                asked.append(_Asking(requests, times[feature]))
        return asked

    name = f"{scorer.name} of {explainer.name}" if explainer else scorer.name
    return _extrapolate(session, sample, selected, render, stage="score", name=name, model=scorer.model or "")


def _known_labels(
    session: Session, sample: Sample, explainer: Explainer, features: Sequence[FeatureInfo]
) -> dict[int, str]:
    wanted = [explanation_id(feature, explainer, repeat=0) for feature in features]
    stored = session.store.read("explanations", sample_id=sample.sample_id, state="labeled")
    return dict(stored.filter(pl.col("explanation_id").is_in(wanted)).select("feature", "text").iter_rows())


def _stand_in(feature: int, texts: dict[int, str], explainer: Explainer | None) -> dict[str, Any]:
    """A row of the labels file, with typical labels where there is none yet."""
    typical = _typical_label(texts)
    text = texts.get(feature, typical) if explainer else None
    rivals = [f"{place}{typical}" for place in range(TYPICAL_RIVALS)]
    return {
        "feature": feature,
        "control": None,
        "explanation_id": None,
        "text": text,
        "pattern": None,
        "rivals": rivals,
    }


def _trials_about(scorer: TrialScorer, subject: Subject, windows: Windows, times: float) -> _Asking:
    """The requests about one label; where labels share requests, those of as many as share them, divided by their number."""
    trials = scorer.trials(subject, windows)
    together = scorer.labels_together
    text = subject.label.text if subject.label else ""
    company = [
        Asked(subject if place == 0 else replace(subject, label=Label(f"{place}{text}")), trials)
        for place in range(together)
    ]
    return _Asking(write_requests(scorer, company, windows, 0), times / together)


def _labels_judged(session: Session, sample: Sample, features: Sequence[FeatureInfo]) -> dict[int, int]:
    """How many different labels are judged on each feature's windows: its own, and those of its controls."""
    asked: dict[int, set[object]] = {f.feature: {f.feature} for f in features}
    for assignment in assigned_controls(session, sample, pl.Series([f.feature for f in features], dtype=pl.Int32)):
        sources = assignment.source if assignment.source is not None else [assignment.control] * len(assignment.feature)
        for feature, source in zip(assignment.feature, sources, strict=True):
            asked[int(feature)].add(source if isinstance(source, str) else int(source))
    return {feature: len(labels) for feature, labels in asked.items()}


def _typical_label(known: dict[int, str]) -> str:
    return "x" * round(median(len(text) for text in known.values())) if known else TYPICAL_LABEL


def _extrapolate(
    session: Session,
    sample: Sample,
    features: Sequence[FeatureInfo],
    render: Callable[[Sequence[FeatureInfo]], list[_Asking]],
    *,
    stage: str,
    name: str,
    model: str,
) -> Estimate:
    order = np.random.default_rng(session.config.sample.seed).permutation(len(features))[:FEATURES_RENDERED]
    chosen = [features[place] for place in np.sort(order)]
    asked = _unanswered(session, render(chosen)) if chosen else []
    seen = billed_before(session.workspace, model, stage)
    rows = np.array([_row(item, seen, session, model) for item in asked], dtype=float).reshape(-1, 4)
    requests, read, written, cost = (_total(rows[:, column], len(features)) for column in range(4))
    known = prices(session.config.llm.prices).price_of(model) is not None
    return Estimate(
        stage=stage,
        feature_set=sample.feature_set.name,
        name=name,
        model=model,
        features=len(features),
        rendered=len(asked),
        requests=requests,
        prompt_tokens=read,
        output_tokens=written,
        cost_usd=cost if known else None,
        billed_per_estimated=seen.ratio,
        n_billed=seen.n_answers,
    )


def _unanswered(session: Session, asked: Sequence[_Asking]) -> list[_Asking]:
    """Leave out what the ledger has an answer to."""
    if not session.workspace.ledger.exists():
        return list(asked)
    with Ledger(session.workspace.ledger) as ledger:
        answered = ledger.answers([request_key(request) for item in asked for request in item.requests])
    return [
        _Asking([request for request in item.requests if request_key(request) not in answered], item.times)
        for item in asked
    ]


def _row(item: _Asking, seen: Billed, session: Session, model: str) -> tuple[float, float, float, float]:
    """Requests, prompt tokens, output tokens and US dollars of one feature."""
    read = sum((len(request.system) + len(request.user)) / 4 for request in item.requests) * (seen.ratio or 1.0)
    written = sum(seen.output_tokens or _typical_output(request) for request in item.requests)
    cached, in_batch = round(read * seen.cached_share), session.config.llm.mode == "batch"
    cost = prices(session.config.llm.prices).cost_usd(
        model, Completion("", "", round(read), cached, round(written), latency_seconds=0.0, batch=in_batch)
    )
    return tuple(item.times * value for value in (len(item.requests), read, written, cost or 0.0))  # type: ignore[return-value]


def _typical_output(request: LLMRequest) -> int:
    if request.purpose == "label":
        return LABEL_OUTPUT_TOKENS
    return GRADE_OUTPUT_TOKENS * len(request.schema["properties"])


def _total(values: np.ndarray, n_features: int) -> Figure:
    """Mean times features; the error is that of a simple random sample without replacement."""
    n = len(values)
    if n == 0:
        return Figure(0.0, 0.0)
    error = 0.0 if n < 2 else float(values.std(ddof=1)) * math.sqrt(max(0.0, 1 - n / n_features) / n)
    return Figure(float(values.mean()) * n_features, error * n_features)
