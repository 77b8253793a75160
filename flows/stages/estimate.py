"""What a run would ask language models, and what that would cost: renders a sample of the real prompts, sends nothing.

Up to 20 features are drawn at random for each thing that is asked, and their requests written exactly as a run would
write them; what need not be asked any more is left out. What follows for all features, and how sure it is, is
`extrapolate.py`'s. It needs no key and connects to nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import polars as pl

from evals.scorers import AnyScorer, TrialScorer, reads_labels
from evals.trials import Asked, Subject
from flows.budgets import prices
from flows.llm import is_asked_twice_for
from flows.session import Session
from flows.stages.billed import Billed, billed_before
from flows.stages.explainer_choice import ExplainerChoice, choose_explainers, make_explainer
from flows.stages.extrapolate import Figure, LabelLength, Question, extrapolate, label_length, price_of_tokens
from flows.stages.judge import ask_about, chosen_scorer, make_scorer
from flows.stages.judge_trials import Panels, subject_of, write_requests
from flows.stages.label import explanation_id, features_to_label, gather_evidence, gather_trials, repeats_of
from flows.stages.labels_to_judge import assigned_controls, n_repeated
from flows.stages.rehearsal import Answers, nothing_known, rehearse
from flows.stages.sample import Sample, silence_is_known
from flows.stages.select_features import select_features
from flows.stages.split_windows import split_windows
from labeling import evidence
from labeling.explainers import AnyExplainer, SteppedExplainer, steps_of
from labeling.feature_evidence import read_contexts
from labeling.ledger import Ledger, request_key
from labeling.types import FeatureInfo, Label, LLMRequest, LLMResult, Windows

FEATURES_RENDERED = 20
LABEL_OUTPUT_TOKENS = 80
GRADE_OUTPUT_TOKENS = 6
"""Of an answer, where the ledger has seen none; a grade is one window's."""


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
    label: LabelLength | None
    """Of labels that are not written yet; None where all are."""
    billed: Billed
    """Earlier answers of the model to requests of the stage, by which tokens are corrected."""


@dataclass(frozen=True)
class _Asking:
    """Requests of one feature that are not answered yet, times how often they would be asked."""

    requests: Sequence[LLMRequest]
    times: float
    label_guessed: bool = False
    """Whether a label of typical length stands in them."""


def estimate(session: Session, samples: Sequence[Sample], stages: Sequence[str]) -> list[Estimate]:
    """One entry for each explainer and scorer that asks a language model, and each feature set."""
    found, counted = list[Estimate](), set[tuple[str, ...]]()
    for sample in samples:
        scorers = _asking_scorers(session) if "score" in stages and silence_is_known(sample) else []
        for choice in choose_explainers(session):
            explainer = make_explainer(choice)
            if "label" in stages and explainer.model is not None:
                found += _labels(session, sample, choice, explainer)
            further = repeats_of(choice, session.config) - 1
            for scorer in scorers:
                if reads_labels(scorer):
                    found.append(_scores(session, sample, explainer, scorer, counted, further_labels=further))
        for scorer in scorers:
            if not reads_labels(scorer):
                found.append(_scores(session, sample, None, scorer, counted, further_labels=0))
    return found


def _asking_scorers(session: Session) -> list[AnyScorer]:
    score = session.config.score
    scorers = [make_scorer(chosen_scorer(name, score)) for name in score.scorers]
    return [scorer for scorer in scorers if scorer.model is not None]


def _labels(session: Session, sample: Sample, choice: ExplainerChoice, explainer: AnyExplainer) -> list[Estimate]:
    """What is asked for labels, and of the judge by which they are chosen."""
    wanted, root = features_to_label(session, sample, explainer, repeat=0), session.workspace.root
    times = repeats_of(choice, session.config)

    def render(features: Sequence[FeatureInfo], purpose: str) -> list[_Asking]:
        items = gather_evidence(root, sample.sample_id, sample.corpus.corpus_id, features)
        stepped = isinstance(explainer, SteppedExplainer)
        trials = gather_trials(root, sample.sample_id, sample.corpus.corpus_id, items) if stepped else {}
        asked = []
        with _answers_at_hand(session) as answers:
            for item in items:
                rounds = rehearse(steps_of(explainer, item, trials.get(item.feature.feature)), answers)
                asked.append(_Asking([r for some in rounds for r in some if r.purpose == purpose], times))
        return asked

    def of(purpose: str, name: str, model: str | None) -> Estimate:
        chosen = partial(render, purpose=purpose)
        return _extrapolate(session, sample, wanted, chosen, stage=purpose, name=name, model=model or "")

    found = [of("label", explainer.name, explainer.model)]
    if choice.judge is not None:
        found.append(of("select", f"{choice.judge.name} for {explainer.name}", choice.judge.model))
    return found


@contextmanager
def _answers_at_hand(session: Session) -> Iterator[Answers]:
    """Looks up what the ledger has answered."""
    if not session.workspace.ledger.exists():
        yield nothing_known
        return
    with Ledger(session.workspace.ledger, read_only=True) as ledger:

        def find(requests: Sequence[LLMRequest]) -> list[LLMResult | None]:
            keys = [request_key(request) for request in requests]
            known = ledger.answers(keys)
            return [known.get(key) for key in keys]

        yield find


def _scores(
    session: Session,
    sample: Sample,
    explainer: AnyExplainer | None,
    scorer: AnyScorer,
    counted: set[tuple[str, ...]],
    *,
    further_labels: int,
) -> Estimate:
    """`further_labels` of each feature are judged as well, without controls. `counted` holds the controls whose questions
    are in an estimate already, because all explainers share them. `explainer` is None for scorers that judge features.
    """
    selected = select_features(session, sample, session.config.score.features)
    texts = {} if explainer is None else _known_labels(session, sample, explainer, selected)
    judged = (
        _labels_judged(session, sample, selected, scorer, counted) if explainer else {f.feature: 1.0 for f in selected}
    )
    times, length = {f: n + further_labels for f, n in judged.items()}, label_length(list(texts.values()))

    def render(features: Sequence[FeatureInfo]) -> list[_Asking]:
        windows = split_windows(session.workspace.root, sample.corpus.corpus_id, "score")
        frame = (
            evidence.scan(session.workspace, "contexts", sample.sample_id)
            .filter((pl.col("split") == "score") & pl.col("feature").is_in([f.feature for f in features]))
            .collect()
        )
        panels = Panels(session.workspace, sample.sample_id, windows, features=[f.feature for f in features])
        asked = []
        for feature, contexts in read_contexts(frame, windows).items():
            typical = "x" * round(length.characters)
            text = texts.get(feature, typical) if explainer else None
            row: dict[str, Any] = {
                "feature": feature,
                "control": None,
                "explanation_id": None,
                "text": text,
                "pattern": None,
            }
            guessed = explainer is not None and feature not in texts
            if isinstance(scorer, TrialScorer):
                row["rivals"] = [f"{place}{typical}" for place in range(scorer.rivals)]
                subject = subject_of(row, contexts, panels.of(feature), epoch=0)
                requests = _trials_about(scorer, subject, windows)
                asked.append(_Asking(requests, times[feature] / scorer.labels_together, guessed))
            else:
                panel = np.zeros(0, np.int64)
                requests = ask_about(row, contexts, panel, scorer, windows, epoch=0).requests
                asked.append(_Asking(requests, times[feature], guessed))
        return asked

    name = f"{scorer.name} of {explainer.name}" if explainer else scorer.name
    label = None if explainer is None or all(f.feature in texts for f in selected) else length
    model = scorer.model or ""
    return _extrapolate(session, sample, selected, render, stage="score", name=name, model=model, label=label)


def _known_labels(
    session: Session, sample: Sample, explainer: AnyExplainer, features: Sequence[FeatureInfo]
) -> dict[int, str]:
    wanted = [explanation_id(feature, explainer, repeat=0) for feature in features]
    stored = session.store.read("explanations", sample_id=sample.sample_id, state="labeled")
    return dict(stored.filter(pl.col("explanation_id").is_in(wanted)).select("feature", "text").iter_rows())


def _trials_about(scorer: TrialScorer, subject: Subject, windows: Windows) -> tuple[LLMRequest, ...]:
    """The requests about one label; where labels share requests, those of as many stand-ins as share them."""
    trials = scorer.trials(subject, windows)
    text = subject.label.text if subject.label else ""
    others = [replace(subject, label=Label(f"{place}{text}")) for place in range(1, scorer.labels_together)]
    return write_requests(scorer, [Asked(of, trials) for of in (subject, *others)], windows, 0)


def _labels_judged(
    session: Session,
    sample: Sample,
    features: Sequence[FeatureInfo],
    scorer: AnyScorer,
    counted: set[tuple[str, ...]],
) -> dict[int, float]:
    """How many different labels are judged on each feature's windows: its own, those of its controls, and its own again in
    as many cases as it is, on the average, among those that are judged again.

    Controls that are the same for all explainers are asked once, so they count when they are not `counted` yet.
    """
    asked: dict[int, set[object]] = {f.feature: {f.feature} for f in features}
    for assignment in assigned_controls(session, sample, pl.Series([f.feature for f in features], dtype=pl.Int32)):
        if assignment.source is None:
            shared = (sample.sample_id, scorer.name, assignment.control)
            if shared in counted:
                continue
            if not _shows_other_labels(scorer):
                counted.add(shared)
        sources = assignment.source if assignment.source is not None else [assignment.control] * len(assignment.feature)
        for feature, source in zip(assignment.feature, sources, strict=True):
            asked[int(feature)].add(source if isinstance(source, str) else int(source))
    score = session.config.score
    times = 0 if isinstance(scorer, TrialScorer) else score.repeats - 1
    again = times * n_repeated(score, len(features)) / max(len(features), 1)
    return {feature: len(labels) + again for feature, labels in asked.items()}


def _shows_other_labels(scorer: AnyScorer) -> bool:
    """Whether an explainer's other labels stand in its prompts, so that nothing is shared between explainers."""
    return isinstance(scorer, TrialScorer) and (scorer.rivals > 0 or scorer.labels_together > 1)


def _extrapolate(
    session: Session,
    sample: Sample,
    features: Sequence[FeatureInfo],
    render: Callable[[Sequence[FeatureInfo]], list[_Asking]],
    *,
    stage: str,
    name: str,
    model: str,
    label: LabelLength | None = None,
) -> Estimate:
    """`label` is the length of the labels that are not written yet; None where there are none in the prompts."""
    order = np.random.default_rng(session.config.sample.seed).permutation(len(features))[:FEATURES_RENDERED]
    chosen = [features[place] for place in np.sort(order)]
    asked = _not_settled(session, render(chosen)) if chosen else []
    seen, table = billed_before(session.workspace, model, stage), prices(session.config.llm.prices)
    totals = extrapolate(
        [[_question(request, item) for request in item.requests] for item in asked],
        n_features=len(features),
        seen=seen,
        label=label,
        cost_usd=price_of_tokens(table, model, seen.cached_share, in_batch=session.config.llm.mode == "batch"),
    )
    return Estimate(
        stage=stage,
        feature_set=sample.feature_set.name,
        name=name,
        model=model,
        features=len(features),
        rendered=len(asked),
        requests=totals.requests,
        prompt_tokens=totals.prompt_tokens,
        output_tokens=totals.output_tokens,
        cost_usd=None if table.price_of(model) is None else totals.cost_usd,
        label=label,
        billed=seen,
    )


def _not_settled(session: Session, asked: Sequence[_Asking]) -> list[_Asking]:
    """Leave out what a run would not send: what is answered, under way in a batch, or given up on."""
    if not session.workspace.ledger.exists():
        return list(asked)
    keys = {request_key(request) for item in asked for request in item.requests}
    with Ledger(session.workspace.ledger, read_only=True) as ledger:
        failed = {} if session.config.llm.retry_failed else ledger.failures(keys)
        given_up = {key for key, failure in failed.items() if is_asked_twice_for(failure)}
        settled = {*ledger.answers(keys), *ledger.in_batches(keys), *given_up}
    return [
        replace(item, requests=[request for request in item.requests if request_key(request) not in settled])
        for item in asked
    ]


def _question(request: LLMRequest, item: _Asking) -> Question:
    characters = len(request.system) + len(request.user)
    return Question(characters, _typical_output(request), item.times, item.label_guessed)


def _typical_output(request: LLMRequest) -> int:
    if request.purpose == "label":
        return LABEL_OUTPUT_TOKENS
    return GRADE_OUTPUT_TOKENS * len(request.schema["properties"])
