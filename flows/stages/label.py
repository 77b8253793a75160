"""Stage label: ask an explainer for the label of every feature worth labeling, from `explain` contexts only."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import polars as pl

from flows.llm import LLMSettings, llm_settings, shards_at_once
from flows.session import Session
from flows.stages.explainer_choice import ExplainerChoice, choose_explainers, make_explainer
from flows.stages.label_file_problems import report_label_file
from flows.stages.rounds import Course, Rounds, run_rounds
from flows.stages.sample import Sample
from flows.stages.select_features import select_features
from flows.stages.split_windows import split_windows
from flows.usage import Usage
from labeling import evidence
from labeling.config import Config
from labeling.explainers import AnyExplainer, HoldsLabels, SteppedExplainer, author_of, steps_of
from labeling.feature_evidence import count_background, no_contexts, read_contexts
from labeling.identity import identify
from labeling.types import Contexts, Evidence, FeatureInfo, Label, NoLabel, Split, Trial, Windows
from labeling.workspace import Workspace

FEATURES_PER_SHARD = 256


@dataclass(frozen=True)
class LabelShard:
    """Some features of one sample for one explainer."""

    root: Path
    sample_id: str
    corpus_id: str
    explainer: ExplainerChoice
    features: tuple[FeatureInfo, ...]
    repeat: int
    llm: LLMSettings


@dataclass(frozen=True)
class LabelShardResult:
    explanations: pl.DataFrame
    usage: Usage
    n_reused: int
    n_sent_again: int


def label_all(session: Session, samples: Sequence[Sample]) -> None:
    """Label every selected feature of every sample with every explainer of the config.

    Features that have a label from the same explainer, model, prompt and evidence are skipped; failed ones are tried
    again. What fails is counted in the session.
    """
    choices = choose_explainers(session)
    report_label_file(session, samples, choices)
    work = [
        (sample, choice, repeat)
        for choice in choices
        for sample in samples
        for repeat in range(repeats_of(choice, session.config))
    ]
    asking = [item for item in work if make_explainer(item[1]).model is not None]

    def jobs() -> Iterator[LabelShard]:
        return (job for item in asking for job in _jobs(session, *item))

    answered = not asking or session.has_answers("label", jobs, ask_ahead)
    for item in work:
        if answered or item not in asking:
            _label_sample(session, *item)


def repeats_of(choice: ExplainerChoice, config: Config) -> int:
    """How many labels of a feature are asked for. Those who ask nobody would say the same again."""
    return config.label.repeats if make_explainer(choice).model is not None else 1


def _label_sample(session: Session, sample: Sample, choice: ExplainerChoice, repeat: int) -> None:
    store, explainer = session.store, make_explainer(choice)
    jobs = _jobs(session, sample, choice, repeat)
    done, total = 0, sum(len(job.features) for job in jobs)
    overlap = shards_at_once(explainer.model, session.config.llm)
    for job, result in session.runner(
        label_shard, jobs, name="label", parallel=explainer.model is None, overlap=overlap
    ):
        rows = result.explanations.with_columns(
            pl.lit(session.run_id).alias("run_id"), pl.lit(session.now()).alias("created_at")
        )
        store.save("explanations", rows)
        session.count_requests(result.usage, result.n_reused, result.n_sent_again)
        failed = rows.filter(pl.col("state") == "failed")
        session.count_failures("label", Counter(failed["reason"].to_list()))
        done += len(job.features)
        session.progress.advance(
            f"label {sample.feature_set.name} ({choice.shown})", done=done, total=total, unit="features"
        )


def _jobs(session: Session, sample: Sample, choice: ExplainerChoice, repeat: int) -> list[LabelShard]:
    wanted = features_to_label(session, sample, make_explainer(choice), repeat)
    return [
        LabelShard(
            root=session.workspace.root,
            sample_id=sample.sample_id,
            corpus_id=sample.corpus.corpus_id,
            explainer=choice,
            features=tuple(wanted[first : first + FEATURES_PER_SHARD]),
            repeat=repeat,
            llm=llm_settings(session.config),
        )
        for first in range(0, len(wanted), FEATURES_PER_SHARD)
    ]


def features_to_label(session: Session, sample: Sample, explainer: AnyExplainer, repeat: int) -> list[FeatureInfo]:
    """Selected features that have no label yet from the same explainer, model, prompt and evidence."""
    features = select_features(session, sample, session.config.label.features)
    if isinstance(explainer, HoldsLabels):
        features = [feature for feature in features if explainer.has(feature)]
    stored = session.store.read("explanations", sample_id=sample.sample_id, state="labeled")
    labeled = set(stored["explanation_id"].to_list())
    return [f for f in features if explanation_id(f, explainer, repeat) not in labeled]


def explanation_id(feature: FeatureInfo, explainer: AnyExplainer, repeat: int) -> str:
    """Identity of an explanation: everything that could change its text."""
    return identify(
        "explanation",
        sample_id=feature.sample_id,
        feature=feature.feature,
        explainer=explainer.name,
        parameters=dict(explainer.parameters),
        model=author_of(explainer),
        prompt_version=explainer.prompt_version,
        repeat=repeat,
    )


def label_shard(job: LabelShard) -> LabelShardResult:
    """Make, send and read the requests of some features, round after round."""
    explainer = make_explainer(job.explainer)
    items = gather_evidence(job.root, job.sample_id, job.corpus_id, job.features)
    rounds = _run(job, explainer, items)
    rows = [_row(item, explainer, job.repeat, course) for item, course in zip(items, rounds.courses, strict=True)]
    frame = pl.DataFrame(rows, schema=EXPLANATION_TYPES)
    return LabelShardResult(frame, rounds.usage, rounds.n_reused, rounds.n_sent_again)


def ask_ahead(job: LabelShard) -> int:
    """Ask what `label_shard` will ask, as far as the answers at hand lead. Return how many are not there yet."""
    items = gather_evidence(job.root, job.sample_id, job.corpus_id, job.features)
    return _run(job, make_explainer(job.explainer), items).n_pending


def _run(job: LabelShard, explainer: AnyExplainer, items: Sequence[Evidence]) -> Rounds:
    stepped = isinstance(explainer, SteppedExplainer)
    trials = gather_trials(job.root, job.sample_id, job.corpus_id, items) if stepped else {}
    steps = [steps_of(explainer, item, trials.get(item.feature.feature)) for item in items]
    return run_rounds(job.root, steps, job.llm, explainer.problem, repeat=job.repeat)


def gather_evidence(root: Path, sample_id: str, corpus_id: str, features: Sequence[FeatureInfo]) -> list[Evidence]:
    """Contexts of the `explain` split; no other window is even loaded."""
    windows = split_windows(root, corpus_id, "explain")
    contexts = _contexts_of(root, sample_id, "explain", [f.feature for f in features], windows)
    background = count_background(windows)
    return [Evidence(f, contexts[f.feature], windows, background) for f in features if f.feature in contexts]


def gather_trials(root: Path, sample_id: str, corpus_id: str, items: Sequence[Evidence]) -> dict[int, Trial]:
    """Contexts of the `select` split, on which labels of these features may be tried; those of `score` never are."""
    windows = split_windows(root, corpus_id, "select")
    contexts = _contexts_of(root, sample_id, "select", [item.feature.feature for item in items], windows)
    none = no_contexts(windows)
    features = [item.feature for item in items]
    return {feature.feature: Trial(feature, contexts.get(feature.feature, none), windows) for feature in features}


def _contexts_of(
    root: Path, sample_id: str, split: Split, features: Sequence[int], windows: Windows
) -> dict[int, Contexts]:
    frame = (
        evidence.scan(Workspace(root), "contexts", sample_id)
        .filter((pl.col("split") == split) & pl.col("feature").is_in(features))
        .collect()
    )
    return read_contexts(frame, windows)


EXPLANATION_TYPES: Mapping[str, Any] = {
    "explanation_id": pl.String,
    "sample_id": pl.String,
    "feature": pl.Int32,
    "explainer": pl.String,
    "explainer_model": pl.String,
    "parameters": pl.String,
    "prompt_version": pl.String,
    "repeat": pl.Int32,
    "state": pl.String,
    "reason": pl.String,
    "text": pl.String,
    "pattern": pl.String,
    "rationale": pl.String,
    "raw": pl.String,
    "evidence": pl.List(pl.Int64),
    "request_keys": pl.List(pl.String),
    "input_tokens": pl.Int64,
    "output_tokens": pl.Int64,
    "cost_usd": pl.Float64,
    "select_score": pl.Float64,
    "candidates": pl.String,
}


def _row(item: Evidence, explainer: AnyExplainer, repeat: int, course: Course) -> dict[str, object]:
    said = course.said
    if said is None:
        raise ValueError(f"feature {item.feature.feature}: an answer is not there yet, so there is nothing to store")
    label = said if isinstance(said, Label) else None
    failure = said if isinstance(said, NoLabel) else None
    spent = course.usage
    return {
        "explanation_id": explanation_id(item.feature, explainer, repeat),
        "sample_id": item.feature.sample_id,
        "feature": item.feature.feature,
        "explainer": explainer.name,
        "explainer_model": author_of(explainer),
        "parameters": json.dumps(dict(explainer.parameters), sort_keys=True),
        "prompt_version": explainer.prompt_version,
        "repeat": repeat,
        "state": "labeled" if label else "failed",
        "reason": failure.reason if failure else None,
        "text": label.text if label else None,
        "pattern": json.dumps(label.pattern) if label and label.pattern is not None else None,
        "rationale": label.rationale if label else None,
        "raw": failure.raw if failure else None,
        "evidence": explainer.evidence_windows(item).tolist(),
        "request_keys": course.keys,
        "input_tokens": spent.input_tokens,
        "output_tokens": spent.output_tokens,
        "cost_usd": spent.cost_usd,
        "select_score": label.select_score if label else None,
        "candidates": json.dumps([asdict(one) for one in said.candidates]) if said.candidates else None,
    }
