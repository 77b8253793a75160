"""What a run would ask language models, and what that would cost: renders a sample of the real prompts, sends nothing.

Up to 20 features are drawn at random for each thing that is asked, and their requests written exactly as a run would
write them; what need not be asked any more is left out. What follows for all features, and how sure it is, is
`extrapolate.py`'s. It needs no key and connects to nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import polars as pl

from evals.scorers import Scorer
from flows.budgets import prices
from flows.llm import is_asked_twice_for
from flows.session import Session
from flows.stages.billed import Billed, billed_before
from flows.stages.extrapolate import Figure, Question, extrapolate
from flows.stages.judge import ScorerChoice, ask_about, make_scorer
from flows.stages.label import choose_explainer, explanation_id, features_to_label, gather_evidence, make_explainer
from flows.stages.labels_to_judge import assigned_controls
from flows.stages.sample import Sample
from flows.stages.select_features import select_features
from flows.stages.split_windows import split_windows
from labeling import evidence
from labeling.explainers import Explainer
from labeling.feature_evidence import read_contexts
from labeling.ledger import Ledger, request_key
from labeling.llm._prices import Prices
from labeling.types import Completion, Contexts, FeatureInfo, LLMRequest, Windows

FEATURES_RENDERED = 20
LABEL_CHARACTERS, LABEL_CHARACTERS_ERROR = 60.0, 25.0
"""Of a label that is not written yet, where no labels of the explainer are known: 12 words are asked for."""
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
    guessed_label: Figure | None
    """Characters of a label that is not written yet; None where all are."""
    billed: Billed
    """Earlier answers of the model to requests of the stage, by which tokens are corrected."""


@dataclass(frozen=True)
class _Asking:
    """Requests of one feature, and how many more like them would be asked."""

    requests: Sequence[LLMRequest]
    times: int = 1
    label_guessed: bool = False
    """Whether they hold a label that stands for others: their keys say nothing."""


@dataclass(frozen=True)
class _Unwritten:
    """Length of a label that is not written yet, in characters."""

    characters: float = LABEL_CHARACTERS
    error: float = LABEL_CHARACTERS_ERROR


def estimate(session: Session, samples: Sequence[Sample], stages: Sequence[str]) -> list[Estimate]:
    """One entry for each explainer and scorer that asks a language model, and each feature set."""
    found, counted = list[Estimate](), set[str]()
    for sample in samples:
        for name in session.config.label.explainer:
            explainer = make_explainer(choose_explainer(session, name))
            if "label" in stages and explainer.model is not None:
                found.append(_labels(session, sample, explainer, explainer.model, counted))
            for scorer in _asking_scorers(session) if "score" in stages else []:
                found.append(_scores(session, sample, explainer, scorer, counted))
    return found


def _asking_scorers(session: Session) -> list[Scorer]:
    score = session.config.score
    scorers = [make_scorer(ScorerChoice(name, score.model, score.windows_per_request)) for name in score.scorers]
    return [scorer for scorer in scorers if scorer.model is not None]


def _labels(session: Session, sample: Sample, explainer: Explainer, model: str, counted: set[str]) -> Estimate:
    repeats = session.config.label.repeats
    wanted = [features_to_label(session, sample, explainer, repeat) for repeat in range(repeats)]
    features = {feature.feature: feature for some in wanted for feature in some}
    missing = [{feature.feature for feature in some} for some in wanted]

    def render(some: Sequence[FeatureInfo]) -> list[list[_Asking]]:
        gathered = gather_evidence(session.workspace.root, sample.sample_id, sample.corpus.corpus_id, some)
        return [
            [
                _Asking([replace(request, repeat=repeat) for request in explainer.requests(item)])
                for repeat in range(repeats)
                if item.feature.feature in missing[repeat]
            ]
            for item in gathered
        ]

    drawn = _Drawn(session, sample, [features[feature] for feature in sorted(features)], counted)
    return drawn.estimate(render, None, stage="label", name=explainer.name, model=model)


def _scores(session: Session, sample: Sample, explainer: Explainer, scorer: Scorer, counted: set[str]) -> Estimate:
    selected = select_features(session, sample, session.config.score.features)
    wanted = [explanation_id(feature, explainer, repeat=0) for feature in selected]
    stored = session.store.read("explanations", sample_id=sample.sample_id, state="labeled")
    labels = stored.filter(pl.col("explanation_id").is_in(wanted))
    texts: dict[int, str] = dict(labels.select("feature", "text").iter_rows())
    judged, unwritten = _labels_judged(session, sample, selected), _unwritten(list(texts.values()))

    def render(features: Sequence[FeatureInfo]) -> list[list[_Asking]]:
        windows = split_windows(session.workspace.root, sample.corpus.corpus_id, "score")
        frame = (
            evidence.scan(session.workspace, "contexts", sample.sample_id)
            .filter((pl.col("split") == "score") & pl.col("feature").is_in([f.feature for f in features]))
            .collect()
        )
        return [
            _asked_about(partial(_judge, scorer, windows, feature, contexts), judged[feature], texts, unwritten)
            for feature, contexts in read_contexts(frame, windows).items()
        ]

    drawn = _Drawn(session, sample, selected, counted)
    guess = None if all(f.feature in texts for f in selected) else unwritten
    name = f"{scorer.name} of {explainer.name}"
    return drawn.estimate(render, guess, stage="score", name=name, model=scorer.model or "")


def _judge(
    scorer: Scorer, windows: Windows, feature: int, contexts: Contexts, text: str | None
) -> Sequence[LLMRequest]:
    """Requests that ask about one label on one feature's windows."""
    row = {"feature": feature, "control": None, "explanation_id": None, "text": text, "pattern": None}
    return ask_about(row, contexts, np.zeros(0, np.int64), scorer, windows, epoch=0).requests


def _asked_about(
    judge: Callable[[str | None], Sequence[LLMRequest]],
    labels: _JudgedLabels,
    texts: Mapping[int, str],
    unwritten: _Unwritten,
) -> list[_Asking]:
    """Every label that is judged on a feature's windows once; those that are not written yet together."""
    known = {*labels.texts, *(texts[source] for source in labels.sources if source in texts)}
    asked = [_Asking(judge(text)) for text in sorted(known, key=str)]
    if guessed := sum(source not in texts for source in labels.sources):
        asked.append(_Asking(judge("x" * round(unwritten.characters)), guessed, label_guessed=True))
    return asked


@dataclass(frozen=True)
class _JudgedLabels:
    """Which labels are judged on a feature's windows."""

    sources: set[int]
    """Features whose labels they are: its own, and those that stand in for it as controls."""
    texts: set[str | None]
    """Labels that are the same for every feature; None is no label."""


def _labels_judged(session: Session, sample: Sample, features: Sequence[FeatureInfo]) -> dict[int, _JudgedLabels]:
    judged = {f.feature: _JudgedLabels({f.feature}, set()) for f in features}
    for assignment in assigned_controls(session, sample, pl.Series([f.feature for f in features], dtype=pl.Int32)):
        if assignment.source is None:
            text = assignment.label.text if assignment.label else None
            for feature in assignment.feature:
                judged[int(feature)].texts.add(text)
            continue
        for feature, source in zip(assignment.feature, assignment.source, strict=True):
            judged[int(feature)].sources.add(int(source))
    return judged


def _unwritten(known: Sequence[str]) -> _Unwritten:
    """As long as those that are written."""
    if len(known) < 2:
        return _Unwritten()
    lengths = np.array([len(text) for text in known], dtype=float)
    return _Unwritten(float(lengths.mean()), float(lengths.std(ddof=1)) / math.sqrt(len(lengths)))


@dataclass(frozen=True)
class _Drawn:
    """Features of one sample, some of which are drawn to be rendered."""

    session: Session
    sample: Sample
    features: Sequence[FeatureInfo]
    counted: set[str]
    """Keys of the questions that are in an estimate already: two explainers' controls can ask the same."""

    def estimate(
        self,
        render: Callable[[Sequence[FeatureInfo]], list[list[_Asking]]],
        unwritten: _Unwritten | None,
        *,
        stage: str,
        name: str,
        model: str,
    ) -> Estimate:
        n, config = len(self.features), self.session.config
        order = np.random.default_rng(config.sample.seed).permutation(n)[:FEATURES_RENDERED]
        chosen = [self.features[place] for place in np.sort(order)]
        rendered = self._new_questions(render(chosen)) if chosen else []
        seen, table = billed_before(self.session.workspace, model, stage), prices(config.llm.prices)
        price = _price_of_tokens(table, model, seen.cached_share, in_batch=config.llm.mode == "batch")
        totals = extrapolate(
            rendered,
            n_features=n,
            seen=seen,
            label_error_characters=0.0 if unwritten is None else unwritten.error,
            cost_usd=price,
        )
        return Estimate(
            stage=stage,
            feature_set=self.sample.feature_set.name,
            name=name,
            model=model,
            features=n,
            rendered=len(rendered),
            requests=totals.requests,
            prompt_tokens=totals.prompt_tokens,
            output_tokens=totals.output_tokens,
            cost_usd=None if table.price_of(model) is None else totals.cost_usd,
            guessed_label=None if unwritten is None else Figure(unwritten.characters, unwritten.error, unwritten.error),
            billed=seen,
        )

    def _new_questions(self, asked: Sequence[Sequence[_Asking]]) -> list[list[Question]]:
        """Leave out what need not be asked: it is answered, under way in a batch, given up on, or counted already."""
        keys = {request_key(r) for some in asked for item in some if not item.label_guessed for r in item.requests}
        needless = self.counted | _settled(self.session, keys)
        self.counted.update(keys)
        return [
            [
                _question(request, item)
                for item in some
                for request in item.requests
                if item.label_guessed or request_key(request) not in needless
            ]
            for some in asked
        ]


def _settled(session: Session, keys: set[str]) -> set[str]:
    """Those that a run would not send."""
    if not session.workspace.ledger.exists():
        return set()
    with Ledger(session.workspace.ledger, read_only=True) as ledger:
        failed = {} if session.config.llm.retry_failed else ledger.failures(keys)
        given_up = {key for key, failure in failed.items() if is_asked_twice_for(failure)}
        return {*ledger.answers(keys), *ledger.in_batches(keys), *given_up}


def _question(request: LLMRequest, item: _Asking) -> Question:
    guess = (
        LABEL_OUTPUT_TOKENS if request.purpose == "label" else GRADE_OUTPUT_TOKENS * len(request.schema["properties"])
    )
    return Question(len(request.system) + len(request.user), guess, item.times, item.label_guessed)


def _price_of_tokens(
    table: Prices, model: str, cached_share: float, *, in_batch: bool
) -> Callable[[float, float], float]:
    """US dollars of prompt and output tokens; 0 where the price is not known."""

    def one_token(read: int, cached: int, written: int) -> float:
        million = Completion("", "", 10**6 * read, 10**6 * cached, 10**6 * written, latency_seconds=0.0, batch=in_batch)
        return (table.cost_usd(model, million) or 0.0) / 10**6

    plain, from_cache, output = one_token(1, 0, 0), one_token(1, 1, 0), one_token(0, 0, 1)
    prompt = plain * (1 - cached_share) + from_cache * cached_share
    return lambda read, written: prompt * read + output * written
