"""Stage score: judge every label and its controls, then compute scores from the stored judgments."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import polars as pl

from evals.calibration import CalibrationError, Curve
from evals.joined import join_tables
from evals.scorers import AnyScorer, TrialScorer, needs_calibration, reads_labels
from evals.trial_measures import Measured
from flows.budgets import prices
from flows.llm import llm_settings, shards_at_once
from flows.session import Session
from flows.stages.calibrate import fit_and_store, inputs_of_curve, labels_for_curve, stored_curve
from flows.stages.explainer_choice import author_named, choose_explainers
from flows.stages.items import SampleFacts
from flows.stages.judge import JudgeShard, chosen_scorer, judge_shard, make_scorer, read_label
from flows.stages.judge_trials import ask_any_ahead, judge_trials
from flows.stages.label import repeats_of
from flows.stages.labels_to_judge import LABELS, Judging, choose_labels
from flows.stages.sample import Sample, silence_is_known
from flows.stages.score_part import FEATURES_TOGETHER, ScorePart, judgments_of, score_part
from flows.stages.score_rows import group_rows, metrics_version, remove_earlier_controls, score_rows
from flows.stages.score_statistics import forget_statistics, save_statistics
from flows.stages.trial_part import TrialPart, trial_part
from flows.usage import usage_of
from labeling import evidence
from labeling.allocator import give_back_freed_memory
from labeling.config import ScoreConfig
from labeling.identity import identify

FEATURES_PER_SHARD = 256


def score_all(session: Session, samples: Sequence[Sample]) -> None:
    """Score the labels of every explainer of the config with every scorer, controls included."""
    config = session.config
    samples = [sample for sample in samples if _can_be_scored(session, sample)]
    work: list[tuple[Judging, AnyScorer]] = []
    for priority, name in enumerate(config.score.scorers):
        judge = chosen_scorer(name, config.score)
        scorer = make_scorer(judge)  # a wrong name or model stops here
        for choice in choose_explainers(session) if reads_labels(scorer) else [None]:
            for sample, repeat in product(samples, range(repeats_of(choice, config) if choice else 1)):
                judging = Judging(
                    sample=sample,
                    explainer=choice,
                    explainer_model=author_named(choice) if choice else None,
                    scorer=judge,
                    judge_model=scorer.model,
                    priority=priority,
                    repeat=repeat,
                )
                work.append((judging, scorer))
                work += [
                    (replace(judging, epoch=epoch), scorer)
                    for epoch in range(1, _epochs(judging, scorer, config.score))
                ]
    asking = [(judging, scorer) for judging, scorer in work if scorer.model is not None]

    def jobs() -> Iterator[JudgeShard]:
        return (job for judging, scorer in asking for job in _jobs_to_ask(session, judging, scorer))

    answered = not asking or session.has_answers("score", jobs, ask_any_ahead)
    for judging, scorer in work:
        if answered or scorer.model is None:
            _score_sample(session, judging, scorer)
    for judging, scorer in work:
        if judging.epoch == judging.repeat == 0 and (answered or scorer.model is None):
            save_statistics(session, judging, scorer)


def _epochs(judging: Judging, scorer: AnyScorer, score: ScoreConfig) -> int:
    """How often a judge is asked: again only about windows, and only about the first label of a feature."""
    again = scorer.model is not None and not isinstance(scorer, TrialScorer) and judging.repeat == 0
    return score.repeats if again else 1


def _can_be_scored(session: Session, sample: Sample) -> bool:
    """Whether silent windows are known; of a sample where they are not, people are told."""
    if silence_is_known(sample):
        return True
    session.progress.say(
        f"score {sample.feature_set.name}: skipped. Only each feature's strongest texts are known, not where it is silent"
    )
    return False


def _jobs_to_ask(session: Session, judging: Judging, scorer: AnyScorer) -> list[JudgeShard]:
    """Jobs of a scorer that asks a language model, except those that are done."""
    labels = _accepted(session, scorer, choose_labels(session, judging), None)
    if labels.is_empty():
        return []
    path = _write_labels(session, judging, labels, scorer)
    key = f"{judging.group}.{path.stem}"
    if session.store.shard_done("score", key, 0):
        return []
    jobs = _jobs(session, judging, path, None)
    return [job for job in jobs if not session.store.shard_done("judge", key, job.shard)]


def _score_sample(session: Session, judging: Judging, scorer: AnyScorer) -> None:
    labels = choose_labels(session, judging)
    again = f", repeat {judging.repeat}" if judging.repeat else ""
    who = [f"{judging.explainer.shown}{again}" if judging.explainer else "", judging.scorer.name]
    name = f"{judging.sample.feature_set.name} ({', '.join(filter(None, who))})"
    if labels.is_empty():
        if judging.epoch == 0:
            what = "label" if judging.explainer else "feature"
            session.progress.say(f"score {name}: there is no {what} to judge; skipped")
        return
    labels = _accepted(session, scorer, labels, name)
    if labels.is_empty():
        return
    first = replace(judging, repeat=0)  # further labels meet the curve of the first ones
    raw = needs_calibration(scorer)
    for_curve = _accepted(session, scorer, labels_for_curve(session, first), None) if raw else labels
    inputs = inputs_of_curve(first, scorer, for_curve) if raw else None
    path = _write_labels(session, judging, labels, scorer, curve=inputs)
    key = f"{judging.group}.{path.stem}"
    if session.store.shard_done("score", key, 0):
        return
    forget_statistics(session, judging)
    sample = judging.sample
    facts = SampleFacts.read(session.store, sample_id=sample.sample_id, corpus_id=sample.corpus.corpus_id)
    try:
        curve = None if inputs is None else _curve(session, first, scorer, for_curve, facts, inputs)
    except CalibrationError as error:
        session.progress.say(f"score {name}: unscored. {error}")
        session.count_failures("score", {"no calibration": len(labels)})
        return
    jobs = _jobs(session, judging, path, curve)
    complete, total = True, sum(job.n_features for job in jobs)
    jobs = [job for job in jobs if not session.store.shard_done("judge", key, job.shard)]
    _reopen_others(session, judging, key, jobs)
    done, overlap = total - sum(job.n_features for job in jobs), shards_at_once(scorer.model, session.config.llm)
    judge = judge_trials if isinstance(scorer, TrialScorer) else judge_shard
    for job, result in session.runner(judge, jobs, name="judge", parallel=scorer.parallel, overlap=overlap):
        session.count_requests(result.usage, result.n_reused, result.n_sent_again)
        session.count_failures("score", result.lost)
        complete = complete and not result.lost  # lost answers are asked for again by the next run
        session.record_evidence("judgments", judging.group, job.shard)
        if not result.lost:
            session.store.finish_shard("judge", key, job.shard, rows=result.n_judgments)
        done += job.n_features
        session.progress.advance(f"judge {name}", done=done, total=total, unit="features")
    give_back_freed_memory()
    _save_scores(session, judging, scorer, labels, facts)
    if complete:
        session.store.finish_shard("score", key, 0, rows=len(labels))


def _accepted(session: Session, scorer: AnyScorer, labels: pl.DataFrame, name: str | None) -> pl.DataFrame:
    """The labels that the scorer can judge; of the others people are told why not, under the name."""
    if not reads_labels(scorer):
        return labels
    wording = ["text", "pattern"]  # a label stands in for several features: each wording is read once
    each = labels.select(wording).unique(maintain_order=True)
    reasons = pl.Series(
        "reason", [scorer.accepts(read_label(row)) for row in each.iter_rows(named=True)], dtype=pl.String
    )
    told = labels.join(each.with_columns(reasons), on=wording, how="left", nulls_equal=True, maintain_order="left")
    if name is not None:
        for reason, count in Counter(told["reason"].drop_nulls()).items():
            session.progress.say(f"score {name}: {count} labels can't be judged: {reason}")
    accepted = told.filter(pl.col("reason").is_null()).drop("reason")
    return accepted if accepted["control"].null_count() else accepted.clear()


def _reopen_others(session: Session, judging: Judging, key: str, jobs: Sequence[JudgeShard]) -> None:
    """Other labels of the group that were judged in these shards, and its scores, will have to be looked at again: their
    controls' judgments and the group's means are about to be replaced."""
    session.store.forget_shards("judge", f"{judging.group}.", but=key, shards=[job.shard for job in jobs])
    session.store.forget_shards("score", f"{judging.group}.", but=key, shards=[0])


def _write_labels(
    session: Session, judging: Judging, labels: pl.DataFrame, scorer: AnyScorer, *, curve: str | None = None
) -> Path:
    """Put the labels where jobs can read them; the name changes whenever what is judged, or how, does."""
    columns = ["feature", "control", "explanation_id", "text"]
    if isinstance(scorer, TrialScorer) and scorer.rivals:
        columns += ["rivals", "sharing"]
    key = identify(
        "labels to judge",
        group=judging.group,
        prompt_version=scorer.prompt_version,
        parameters=dict(scorer.parameters),
        labels=[list(row) for row in labels.select(columns).iter_rows()],
        bootstrap=session.config.score.bootstrap,
        curve=curve,
        **metrics_version(scorer),
    )
    path = session.workspace.root / "jobs" / f"{key}.parquet"
    temporary, content = path.with_suffix(".partial"), io.BytesIO()
    labels.cast(dict(LABELS)).write_parquet(content)  # type: ignore[arg-type]
    try:
        path.parent.mkdir(exist_ok=True)
        temporary.write_bytes(content.getbuffer())
        temporary.replace(path)
    except OSError as error:
        raise evidence.disk_error(path, error) from error
    return path


def _jobs(session: Session, judging: Judging, path: Path, curve: Curve | None) -> list[JudgeShard]:
    features = pl.read_parquet(path)["feature"].unique()
    shards = sorted({feature // FEATURES_PER_SHARD for feature in features.to_list()})
    return [
        JudgeShard(
            root=session.workspace.root,
            sample_id=judging.sample.sample_id,
            corpus_id=judging.sample.corpus.corpus_id,
            scorer=judging.scorer,
            explainer=judging.explainer_name,
            explainer_model=judging.explainer_model,
            labels=path,
            shard=shard,
            first=shard * FEATURES_PER_SHARD,
            last=min((shard + 1) * FEATURES_PER_SHARD, judging.sample.feature_set.n_features),
            group=judging.group,
            curve=curve,
            epoch=judging.epoch,
            llm=llm_settings(session.config),
        )
        for shard in shards
    ]


def _curve(
    session: Session, judging: Judging, scorer: AnyScorer, labels: pl.DataFrame, facts: SampleFacts, inputs: str
) -> Curve:
    """The stored curve from raw grades to probabilities; a new one when it was fitted on something else."""
    stored = stored_curve(session, judging, inputs)
    if stored is not None:
        return stored
    jobs = _jobs(session, judging, _write_labels(session, judging, labels, scorer), None)
    return fit_and_store(session, judging, facts, inputs=inputs, jobs=jobs, parallel=scorer.parallel)


def _save_scores(
    session: Session, judging: Judging, scorer: AnyScorer, labels: pl.DataFrame, facts: SampleFacts
) -> None:
    """Compute scores from the stored judgments, for each feature and for each group."""
    tables: dict[str | None, list[Measured]] = {}
    for part, measured in _measure(session, judging, scorer, labels, facts):
        control = part["control"][0]
        rows = score_rows(judging, scorer, part, measured, control=control, run_id=session.run_id)
        if control is not None:
            remove_earlier_controls(session, rows)
        session.store.save("scores", rows)
        tables.setdefault(control, []).append(measured)
    for control, parts in tables.items():
        own = labels.filter(pl.col("control").eq_missing(control))
        used = usage_of(session.workspace, _request_keys(session, judging, own), prices(session.config.llm.prices))
        joined = Measured(
            join_tables([part.table for part in parts]), np.concatenate([part.chance for part in parts], axis=1)
        )
        groups = group_rows(judging, scorer, joined, used, control=control, run_id=session.run_id)
        if judging.repeat == 0:
            session.store.save("score_groups", groups)


def _measure(
    session: Session, judging: Judging, scorer: AnyScorer, labels: pl.DataFrame, facts: SampleFacts
) -> Iterator[tuple[pl.DataFrame, Measured]]:
    """Metrics of parts of FEATURES_TOGETHER labels, all own or of one control, with their labels."""
    parts = [
        part
        for control in labels["control"].unique(maintain_order=True).to_list()
        for part in labels.filter(pl.col("control").eq_missing(control)).sort("feature").iter_slices(FEATURES_TOGETHER)
    ]
    root, group = session.workspace.root, judging.group
    if isinstance(scorer, TrialScorer):
        trials = [TrialPart(root, judging.scorer, part, facts.of(part["feature"]), group) for part in parts]
        for job, measured in session.runner(trial_part, trials, name="metrics", parallel=True):
            yield job.labels, measured
        return
    jobs = [
        ScorePart(
            root=root,
            labels=part,
            facts=facts.of(part["feature"]),
            group=group,
            panel=scorer.uses_panel and part["control"][0] is None,
            intervals=part["control"][0] is None,
            draws=session.config.score.bootstrap,
            seed=session.config.sample.seed,
        )
        for part in parts
    ]
    for window_job, measured in session.runner(score_part, jobs, name="metrics", parallel=True):
        yield window_job.labels, measured


def _request_keys(session: Session, judging: Judging, labels: pl.DataFrame) -> list[str]:
    """Every request behind the judgments of these labels, also those whose answers could not be used."""
    names = ("request_key", "first_request_key")
    asked = judgments_of(session.workspace, judging.group, labels).select(names).unique().collect()
    return pl.concat([asked[name] for name in names]).drop_nulls().unique().to_list()
