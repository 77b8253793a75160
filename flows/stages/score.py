"""Stage score: judge every label and its controls, then compute scores from the stored judgments."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import polars as pl

from evals.calibration import CalibrationError, Curve, fit_curve
from evals.joined import join_tables
from evals.scorers import AnyScorer, TrialScorer, needs_calibration, reads_labels
from evals.scorers._measures import Measured
from flows.budgets import prices
from flows.llm import llm_settings, shards_at_once
from flows.session import Session
from flows.stages.items import SampleFacts, build_items
from flows.stages.judge import (
    JudgeShard,
    ScorerChoice,
    grade_select,
    judge_shard,
    make_scorer,
    make_window_scorer,
    read_label,
)
from flows.stages.judge_trials import ask_any_ahead, judge_trials
from flows.stages.label import ExplainerChoice, choose_explainer, make_explainer
from flows.stages.labels_to_judge import LABELS, Judging, choose_labels
from flows.stages.sample import Sample
from flows.stages.score_part import ScorePart, judgments_of, score_part
from flows.stages.score_rows import group_rows, score_rows
from flows.stages.trial_part import TrialPart, trial_part
from flows.usage import usage_of
from labeling import evidence
from labeling.allocator import give_back_freed_memory
from labeling.identity import identify

FEATURES_PER_SHARD = 256
FEATURES_TOGETHER = 1024
"""Features whose metrics are computed in one call; bounds memory."""
CALIBRATION_FEATURES = 5000


def score_all(session: Session, samples: Sequence[Sample]) -> None:
    """Score the labels of every explainer of the config with every scorer, controls included."""
    config = session.config
    samples = [sample for sample in samples if _silence_is_known(session, sample)]
    work: list[tuple[Judging, AnyScorer]] = []
    for priority, name in enumerate(config.score.scorers):
        judge = ScorerChoice(name, config.score.model, config.score.windows_per_request)
        scorer = make_scorer(judge)  # a wrong name or model stops here
        for choice in _explainers_of(session, scorer):
            for sample in samples:
                judging = Judging(
                    sample=sample,
                    explainer=choice,
                    explainer_model=make_explainer(choice).model if choice else None,
                    scorer=judge,
                    judge_model=scorer.model,
                    priority=priority,
                )
                work.append((judging, scorer))
    asking = [(judging, scorer) for judging, scorer in work if scorer.model is not None]

    def jobs() -> Iterator[JudgeShard]:
        return (job for judging, scorer in asking for job in _jobs_to_ask(session, judging, scorer))

    answered = not asking or session.has_answers("score", jobs, ask_any_ahead)
    for judging, scorer in work:
        if answered or scorer.model is None:
            _score_sample(session, judging, scorer)


def _explainers_of(session: Session, scorer: AnyScorer) -> list[ExplainerChoice | None]:
    """Whose labels a scorer judges; None once for a scorer that judges features."""
    if not reads_labels(scorer):
        return [None]
    return [choose_explainer(session, name) for name in session.config.label.explainer]


def _silence_is_known(session: Session, sample: Sample) -> bool:
    """Whether windows without an activation are known to have none; without that every score would be a guess."""
    if sample.feature_set.extent == "all":
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
    who = [judging.explainer_name, judging.scorer.name]
    name = f"{judging.sample.feature_set.name} ({', '.join(filter(None, who))})"
    if labels.is_empty():
        what = "label" if judging.explainer else "feature"
        session.progress.say(f"score {name}: there is no {what} to judge; skipped")
        return
    labels = _accepted(session, scorer, labels, name)
    if labels.is_empty():
        return
    path = _write_labels(session, judging, labels, scorer)
    key = f"{judging.group}.{path.stem}"
    if session.store.shard_done("score", key, 0):
        return
    facts = _facts(session, judging.sample)
    try:
        curve = _fit(session, judging, path, facts) if needs_calibration(scorer) else None
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


def _facts(session: Session, sample: Sample) -> SampleFacts:
    return SampleFacts(
        sample_id=sample.sample_id,
        corpus_id=sample.corpus.corpus_id,
        features=session.store.read("features", sample_id=sample.sample_id),
        splits=session.store.read("feature_splits", sample_id=sample.sample_id),
    )


def _write_labels(session: Session, judging: Judging, labels: pl.DataFrame, scorer: AnyScorer) -> Path:
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


def _fit(session: Session, judging: Judging, path: Path, facts: SampleFacts) -> Curve:
    """Fit the curve from raw grades to probabilities on the `select` split, and store it."""
    jobs = _jobs(session, judging, path, None)[: CALIBRATION_FEATURES // FEATURES_PER_SHARD + 1]
    done = session.runner(grade_select, jobs, name="calibrate", parallel=make_window_scorer(judging.scorer).parallel)
    grades = pl.concat([frame for _, frame in done])
    features = grades["feature"].unique().sort().to_list()
    curve = fit_curve(build_items(session.workspace, facts, grades, features=features, split="select", panel=False))
    session.store.save(
        "calibrations",
        pl.DataFrame(
            {
                "sample_id": [judging.sample.sample_id],
                "explainer": [judging.explainer_name],
                "explainer_model": [judging.explainer_model or ""],
                "scorer": [judging.scorer.name],
                "thresholds": [list(curve.thresholds)],
                "probabilities": [list(curve.values)],
                "n_items": [curve.n_items],
                "run_id": [session.run_id],
            }
        ),
    )
    return curve


def _save_scores(
    session: Session, judging: Judging, scorer: AnyScorer, labels: pl.DataFrame, facts: SampleFacts
) -> None:
    """Compute scores from the stored judgments, for each feature and for each group."""
    tables: dict[str | None, list[Measured]] = {}
    for part, measured in _measure(session, judging, scorer, labels, facts):
        control = part["control"][0]
        rows = score_rows(judging, scorer, part, measured, control=control, run_id=session.run_id)
        if control is not None:
            _remove_earlier_controls(session, rows)
        session.store.save("scores", rows)
        tables.setdefault(control, []).append(measured)
    for control, parts in tables.items():
        own = labels.filter(pl.col("control").eq_missing(control))
        used = usage_of(session.workspace, _request_keys(session, judging, own), prices(session.config.llm.prices))
        joined = Measured(
            join_tables([part.table for part in parts]), np.concatenate([part.chance for part in parts], axis=1)
        )
        groups = group_rows(judging, scorer, joined, used, control=control, run_id=session.run_id)
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


def _remove_earlier_controls(session: Session, rows: pl.DataFrame) -> None:
    """Delete scores that the features of `rows` got from labels that stood for the same control in earlier runs."""
    same = ("sample_id", "explainer", "explainer_model", "scorer", "judge_model", "epoch", "control")
    stored = session.store.read("scores", **rows.select(same).row(0, named=True))
    earlier = stored.filter(
        pl.col("feature").is_in(rows["feature"].to_list()) & ~pl.col("score_id").is_in(rows["score_id"].to_list())
    )
    if len(earlier):
        session.store.remove("scores", "score_id", earlier["score_id"].unique().to_list())


def _request_keys(session: Session, judging: Judging, labels: pl.DataFrame) -> list[str]:
    """Every request behind the judgments of these labels, also those whose answers could not be used."""
    names = ("request_key", "first_request_key")
    asked = judgments_of(session.workspace, judging.group, labels).select(names).unique().collect()
    return pl.concat([asked[name] for name in names]).drop_nulls().unique().to_list()
