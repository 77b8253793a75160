"""Stage score: judge every label and its controls, then compute scores from the stored judgments."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from evals.calibration import CalibrationError, Curve, fit_curve
from evals.controls import Assignment, assign_controls
from evals.groups import score_groups
from evals.joined import join_tables
from evals.metrics import MetricTable
from evals.scorers import Scorer
from flows.budgets import prices
from flows.llm import Usage, llm_settings, usage_of
from flows.session import Session
from flows.stages.items import SampleFacts, build_items
from flows.stages.judge import JudgeShard, ScorerChoice, grade_select, judge_shard, make_scorer
from flows.stages.label import ExplainerChoice, choose_explainer, make_explainer
from flows.stages.sample import Sample, decoder_neighbors
from flows.stages.score_part import ScorePart, judgments_of, score_part
from flows.stages.select_features import select_features
from labeling import evidence
from labeling.allocator import give_back_freed_memory
from labeling.identity import identify
from labeling.patterns import ANYTHING

FEATURES_PER_SHARD = 256
FEATURES_TOGETHER = 1024
"""Features whose metrics are computed in one call; bounds memory."""
CALIBRATION_FEATURES = 5000
LABELS = pl.Schema(
    {
        "feature": pl.Int32,
        "control": pl.String,
        "explanation_id": pl.String,
        "text": pl.String,
        "pattern": pl.String,
    }
)


@dataclass(frozen=True)
class Judging:
    """One explainer's labels on one sample, judged by one scorer."""

    sample: Sample
    explainer: ExplainerChoice
    explainer_model: str | None
    scorer: ScorerChoice
    priority: int
    """Position of the scorer in the config: the first is the one people see beside a label."""
    epoch: int = 0

    @property
    def group(self) -> str:
        """Evidence key of the judgments: the same whenever the same labels are judged again."""
        return identify(
            "judging",
            sample_id=self.sample.sample_id,
            explainer=self.explainer.name,
            explainer_model=self.explainer_model,
            scorer=self.scorer.name,
            judge=make_scorer(self.scorer).model,
            epoch=self.epoch,
        )


def score_all(session: Session, samples: Sequence[Sample]) -> None:
    """Score the labels of every explainer of the config with every scorer, controls included."""
    config = session.config
    for priority, name in enumerate(config.score.scorers):
        scorer = make_scorer(ScorerChoice(name, config.score.model))  # a wrong name or model stops here
        for explainer in config.label.explainer:
            choice = choose_explainer(session, explainer)
            for sample in samples:
                judging = Judging(
                    sample, choice, _explainer_model(choice), ScorerChoice(name, config.score.model), priority
                )
                _score_sample(session, judging, scorer)


def _explainer_model(choice: ExplainerChoice) -> str | None:
    return make_explainer(choice).model


def _score_sample(session: Session, judging: Judging, scorer: Scorer) -> None:
    labels = _labels_to_judge(session, judging)
    name = f"{judging.sample.feature_set.name} ({judging.explainer.name}, {judging.scorer.name})"
    if labels.is_empty():
        session.progress.say(f"score {name}: there is no label to judge; skipped")
        return
    path = _write_labels(session, judging, labels, scorer)
    key = path.stem
    if session.store.shard_done("score", key, 0):
        return
    facts = _facts(session, judging.sample)
    try:
        curve = None if scorer.calibrated else _fit(session, judging, path, facts)
    except CalibrationError as error:
        session.progress.say(f"score {name}: unscored. {error}")
        session.count_failures("score", {"no calibration": len(labels)})
        return
    jobs = _jobs(session, judging, path, curve)
    complete = True
    jobs = [job for job in jobs if not _judged(session, key, job)]
    for job, result in session.runner(judge_shard, jobs, name="judge", parallel=scorer.parallel):
        session.count_requests(result.usage, result.n_reused, result.n_sent_again)
        session.count_failures("score", result.lost)
        complete = complete and not result.lost  # lost answers are asked for again by the next run
        session.record_evidence("judgments", judging.group, job.shard)
        if not result.lost:
            session.store.finish_shard("judge", key, job.shard, rows=result.n_judgments)
        session.progress.advance(
            f"judge {name}", done=job.last, total=judging.sample.feature_set.n_features, unit="features"
        )
    give_back_freed_memory()
    _save_scores(session, judging, scorer, labels, facts)
    if complete:
        session.store.finish_shard("score", key, 0, rows=len(labels))


def _judged(session: Session, key: str, job: JudgeShard) -> bool:
    return session.store.shard_done("judge", key, job.shard)


def _facts(session: Session, sample: Sample) -> SampleFacts:
    return SampleFacts(
        sample_id=sample.sample_id,
        corpus_id=sample.corpus.corpus_id,
        features=session.store.read("features", sample_id=sample.sample_id),
        splits=session.store.read("feature_splits", sample_id=sample.sample_id),
    )


def _labels_to_judge(session: Session, judging: Judging) -> pl.DataFrame:
    """All labels, own and controls', with the feature they are judged on: columns as LABELS."""
    config, sample = session.config, judging.sample
    explainer = make_explainer(judging.explainer)
    selected = [f.feature for f in select_features(session, sample, config.score.features)]
    own = (
        session.store.read(
            "explanations",
            sample_id=sample.sample_id,
            explainer=explainer.name,
            explainer_model=explainer.model,
            prompt_version=explainer.prompt_version,
            repeat=0,
            state="labeled",
        )
        .filter(pl.col("feature").is_in(selected))
        .select("feature", pl.lit(None, pl.String).alias("control"), "explanation_id", "text", "pattern")
        .sort("feature")
    )
    own = _limited(session, judging, own)
    return pl.concat([own, *(_control_labels(own, a) for a in assigned_controls(session, sample, own["feature"]))])


def _limited(session: Session, judging: Judging, own: pl.DataFrame) -> pl.DataFrame:
    """At most `embedding_features` features, drawn at random, for the embedding scorer."""
    limit = session.config.score.embedding_features
    if judging.scorer.name != "embedding" or not limit or len(own) <= limit:
        return own
    chosen = np.random.default_rng(session.config.sample.seed).permutation(len(own))[:limit]
    return own[np.sort(chosen)]


def assigned_controls(session: Session, sample: Sample, labeled: pl.Series) -> list[Assignment]:
    """Whose label stands in for which of the labeled features, one entry a control; none for a control feature set."""
    if not session.config.score.controls or sample.feature_set.control_for is not None or labeled.is_empty():
        return []
    features = session.store.read("features", sample_id=sample.sample_id).filter(
        pl.col("feature").is_in(labeled.to_list())
    )
    ids = features["feature"].to_numpy().astype(np.int64)
    neighbors = decoder_neighbors(session.workspace, sample.sample_id, sample.feature_set.n_features)
    assigned = assign_controls(
        ids,
        firing_rate=features["firing_rate"].to_numpy(),
        neighbors=neighbors[ids],
        labeled=np.ones(len(ids), dtype=np.bool_),
        limit=session.config.score.control_features,
        generator=np.random.default_rng(session.config.sample.seed),
    )
    return list(assigned.values())


def _control_labels(own: pl.DataFrame, assignment: Assignment) -> pl.DataFrame:
    feature = pl.Series("feature", assignment.feature, dtype=pl.Int32)
    control = pl.lit(assignment.control).alias("control")
    if assignment.source is None:
        label = assignment.label
        return pl.DataFrame([feature]).select(
            "feature",
            control,
            pl.lit(None, pl.String).alias("explanation_id"),
            pl.lit(label.text if label else None, pl.String).alias("text"),
            pl.lit(json.dumps(ANYTHING.as_json()) if label else None, pl.String).alias("pattern"),
        )
    source = pl.Series("source", assignment.source, dtype=pl.Int32)
    return (
        pl.DataFrame([feature, source])
        .join(own.drop("control").rename({"feature": "source"}), on="source", how="left", maintain_order="left")
        .select("feature", control, "explanation_id", "text", "pattern")
    )


def _write_labels(session: Session, judging: Judging, labels: pl.DataFrame, scorer: Scorer) -> Path:
    """Put the labels where jobs can read them; the name changes whenever what is judged, or how, does."""
    key = identify(
        "labels to judge",
        group=judging.group,
        prompt_version=scorer.prompt_version,
        parameters=dict(scorer.parameters),
        labels=[list(row) for row in labels.select("feature", "control", "explanation_id", "text").iter_rows()],
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
            explainer=judging.explainer.name,
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
    done = session.runner(grade_select, jobs, name="calibrate", parallel=make_scorer(judging.scorer).parallel)
    grades = pl.concat([frame for _, frame in done])
    features = grades["feature"].unique().sort().to_list()
    curve = fit_curve(build_items(session.workspace, facts, grades, features=features, split="select", panel=False))
    session.store.save(
        "calibrations",
        pl.DataFrame(
            {
                "sample_id": [judging.sample.sample_id],
                "explainer": [judging.explainer.name],
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


def _save_scores(session: Session, judging: Judging, scorer: Scorer, labels: pl.DataFrame, facts: SampleFacts) -> None:
    """Compute scores from the stored judgments, for each feature and for each group."""
    tables: dict[str | None, list[MetricTable]] = {}
    jobs = _score_parts(session, judging, scorer, labels, facts)
    for job, table in session.runner(score_part, jobs, name="metrics", parallel=True):
        control = job.labels["control"][0]
        rows = _score_rows(session, judging, scorer, job.labels, table, control)
        if control is not None:
            _remove_earlier_controls(session, rows)
        session.store.save("scores", rows)
        tables.setdefault(control, []).append(table)
    for control, parts in tables.items():
        own = labels.filter(pl.col("control").eq_missing(control))
        used = usage_of(session.workspace, _request_keys(session, judging, own), prices(session.config.llm.prices))
        session.store.save("score_groups", _group_rows(session, judging, join_tables(parts), used, control))


def _score_parts(
    session: Session, judging: Judging, scorer: Scorer, labels: pl.DataFrame, facts: SampleFacts
) -> list[ScorePart]:
    """Parts of FEATURES_TOGETHER labels, all own or of one control."""
    jobs: list[ScorePart] = []
    for control in labels["control"].unique(maintain_order=True).to_list():
        own = labels.filter(pl.col("control").eq_missing(control)).sort("feature")
        for part in own.iter_slices(FEATURES_TOGETHER):
            jobs.append(
                ScorePart(
                    root=session.workspace.root,
                    labels=part,
                    facts=facts.of(part["feature"]),
                    group=judging.group,
                    panel=scorer.uses_panel and control is None,
                    intervals=control is None,
                    draws=session.config.score.bootstrap,
                    seed=session.config.sample.seed,
                )
            )
    return jobs


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
    asked = judgments_of(session.workspace, judging.group, labels).select(pl.col("request_key").drop_nulls().unique())
    return asked.collect()["request_key"].to_list()


def _score_rows(
    session: Session, judging: Judging, scorer: Scorer, labels: pl.DataFrame, table: MetricTable, control: str | None
) -> pl.DataFrame:
    n_metrics, n_features = table.value.shape
    parameters = json.dumps(dict(scorer.parameters), sort_keys=True)
    ids = [
        identify(
            "score",
            feature=feature,
            explanation_id=explanation,
            scorer=scorer.name,
            parameters=parameters,
            prompt_version=scorer.prompt_version,
            judge=scorer.model,
            items=judging.sample.sample_id,
            epoch=judging.epoch,
            control=control,
            explainer=judging.explainer.name,
        )
        for feature, explanation in labels.select("feature", "explanation_id").iter_rows()
    ]

    def each_feature(values: Sequence[object]) -> list[object]:
        return [value for _ in range(n_metrics) for value in values]

    return pl.DataFrame(
        {
            "score_id": each_feature(ids),
            "metric": np.repeat(np.array(table.metric), n_features),
            "tau": np.repeat(np.array(table.tau_share), n_features),
            "sample_id": judging.sample.sample_id,
            "feature": each_feature(labels["feature"].to_list()),
            "explanation_id": pl.Series(each_feature(labels["explanation_id"].to_list()), dtype=pl.String),
            "explainer": judging.explainer.name,
            "scorer": scorer.name,
            "scorer_parameters": parameters,
            "epoch": judging.epoch,
            "value": table.value.ravel(),
            "low": table.low.ravel(),
            "high": table.high.ravel(),
            "n_items": table.n_items.ravel(),
            "n_lost": table.n_lost.ravel(),
            "reason": pl.Series(np.asarray(table.reason, dtype=object).ravel().tolist(), dtype=pl.String),
            "run_id": session.run_id,
        }
    ).with_columns(
        pl.col("value", "low", "high").fill_nan(None),
        pl.lit(judging.explainer_model, pl.String).alias("explainer_model"),
        pl.lit(scorer.model, pl.String).alias("judge_model"),
        pl.lit(control, pl.String).alias("control"),
    )


def _group_rows(
    session: Session, judging: Judging, table: MetricTable, used: Usage, control: str | None
) -> pl.DataFrame:
    group = score_groups(table)
    return pl.DataFrame(
        {
            "sample_id": judging.sample.sample_id,
            "explainer": judging.explainer.name,
            "explainer_model": judging.explainer_model or "",
            "scorer": judging.scorer.name,
            "judge_model": make_scorer(judging.scorer).model or "",
            "metric": list(group.metric),
            "tau": list(group.tau_share),
            "control": control or "",
            "epoch": judging.epoch,
            "n_features": group.n_features,
            "n_unscored": group.n_unscored,
            "mean": group.mean,
            "low": group.low,
            "high": group.high,
            "requests": used.requests,
            "input_tokens": used.input_tokens,
            "output_tokens": used.output_tokens,
            "priority": judging.priority,
            "run_id": session.run_id,
        }
    ).with_columns(pl.col("mean", "low", "high").fill_nan(None), pl.lit(used.cost_usd, pl.Float64).alias("cost_usd"))
