"""Stage label: ask an explainer for the label of every feature worth labeling, from `explain` contexts only."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl

from flows.llm import LLMSettings, Sent, llm_settings, send, shards_at_once
from flows.session import Session
from flows.stages.sample import Sample
from flows.stages.select_features import select_features
from flows.stages.split_windows import split_windows
from flows.usage import Usage
from labeling import evidence, explainers
from labeling.errors import UsageError
from labeling.explainers import Explainer
from labeling.feature_evidence import count_background, read_contexts
from labeling.identity import identify
from labeling.registry import create
from labeling.types import Evidence, FeatureInfo, Label, LLMRequest, LLMResult, NoLabel
from labeling.workspace import Workspace

FEATURES_PER_SHARD = 256


@dataclass(frozen=True)
class ExplainerChoice:
    """Which explainer writes, as plain values that a job can carry."""

    name: str
    model: str | None
    prompt: str | None
    """Text of the user's own prompt."""


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
    work = [
        (sample, choice, repeat)
        for choice in [choose_explainer(session, name) for name in session.config.label.explainer]
        for sample in samples
        for repeat in range(session.config.label.repeats)
    ]
    asking = [item for item in work if make_explainer(item[1]).model is not None]

    def jobs() -> Iterator[LabelShard]:
        return (job for item in asking for job in _jobs(session, *item))

    answered = not asking or session.has_answers("label", jobs, ask_ahead)
    for item in work:
        if answered or item not in asking:
            _label_sample(session, *item)


def choose_explainer(session: Session, name: str) -> ExplainerChoice:
    """Check that the explainer can be made, before anything is paid for."""
    label = session.config.label
    choice = ExplainerChoice(name, label.model, _read_prompt(label.prompt))
    make_explainer(choice)
    return choice


def make_explainer(choice: ExplainerChoice) -> Explainer:
    explainer: Explainer = create(explainers, choice.name, kind="explainer", model=choice.model, prompt=choice.prompt)
    return explainer


def _read_prompt(path: str | None) -> str | None:
    if path is None:
        return None
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"[label] prompt = {path!r} can't be read: {error}. Name a UTF-8 text file.") from None


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
            f"label {sample.feature_set.name} ({choice.name})", done=done, total=total, unit="features"
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


def features_to_label(session: Session, sample: Sample, explainer: Explainer, repeat: int) -> list[FeatureInfo]:
    """Selected features that have no label yet from the same explainer, model, prompt and evidence."""
    features = select_features(session, sample, session.config.label.features)
    stored = session.store.read("explanations", sample_id=sample.sample_id, state="labeled")
    labeled = set(stored["explanation_id"].to_list())
    return [f for f in features if explanation_id(f, explainer, repeat) not in labeled]


def explanation_id(feature: FeatureInfo, explainer: Explainer, repeat: int) -> str:
    """Identity of an explanation: everything that could change its text."""
    return identify(
        "explanation",
        sample_id=feature.sample_id,
        feature=feature.feature,
        explainer=explainer.name,
        parameters=dict(explainer.parameters),
        model=explainer.model,
        prompt_version=explainer.prompt_version,
        repeat=repeat,
    )


def label_shard(job: LabelShard) -> LabelShardResult:
    """Make, send and read the requests of some features."""
    explainer = make_explainer(job.explainer)
    asked, sent = _ask(job, explainer)
    rows, total, place = [], Usage(), 0
    for item, some in asked:
        span = slice(place, place + len(some))
        place += len(some)
        spent = sum(sent.usage[span], Usage())
        total += spent
        keys = [key for keys in sent.asked[span] for key in keys]
        rows.append(_row(item, explainer, job.repeat, sent.results[span], keys, spent))
    return LabelShardResult(pl.DataFrame(rows, schema=EXPLANATION_TYPES), total, sent.n_reused, sent.n_sent_again)


def ask_ahead(job: LabelShard) -> int:
    """Ask what `label_shard` will ask. Return how many answers are not there yet."""
    return _ask(job, make_explainer(job.explainer))[1].n_pending


def _ask(job: LabelShard, explainer: Explainer) -> tuple[list[tuple[Evidence, tuple[LLMRequest, ...]]], Sent]:
    """The requests about each feature, and what became of all of them."""
    asked = [(e, explainer.requests(e)) for e in gather_evidence(job.root, job.sample_id, job.corpus_id, job.features)]
    requests = [_repeated(request, job.repeat) for _, some in asked for request in some]
    return asked, send(job.root, requests, job.llm, explainer.problem)


def gather_evidence(root: Path, sample_id: str, corpus_id: str, features: Sequence[FeatureInfo]) -> list[Evidence]:
    """Contexts of the `explain` split; no other window is even loaded."""
    workspace, windows = Workspace(root), split_windows(root, corpus_id, "explain")
    wanted = [f.feature for f in features]
    frame = (
        evidence.scan(workspace, "contexts", sample_id)
        .filter((pl.col("split") == "explain") & pl.col("feature").is_in(wanted))
        .collect()
    )
    contexts = read_contexts(frame, windows)
    background = count_background(windows)
    return [Evidence(f, contexts[f.feature], windows, background) for f in features if f.feature in contexts]


def _repeated(request: LLMRequest, repeat: int) -> LLMRequest:
    return replace(request, repeat=repeat)


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
}


def _row(
    item: Evidence,
    explainer: Explainer,
    repeat: int,
    results: Sequence[LLMResult],
    keys: Sequence[str],
    spent: Usage,
) -> dict[str, object]:
    said = explainer.parse(item, results)
    label = said if isinstance(said, Label) else None
    failure = said if isinstance(said, NoLabel) else None
    return {
        "explanation_id": explanation_id(item.feature, explainer, repeat),
        "sample_id": item.feature.sample_id,
        "feature": item.feature.feature,
        "explainer": explainer.name,
        "explainer_model": explainer.model,
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
        "request_keys": list(keys),
        "input_tokens": spent.input_tokens,
        "output_tokens": spent.output_tokens,
        "cost_usd": spent.cost_usd,
    }
