"""What scores mean, once they are there: p- and q-values, shrunk scores, reliability of judge and group, a control.

From the tables `scores` and `judgments` to `score_statistics`, `group_statistics`, `null_scores`, `judge_reliability`
and `reliability_curves`. It asks no language model. What a group holds is computed again whenever it is scored again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from evals.calibration import ReliabilitySums
from evals.controls import PERMUTED, density_terciles
from evals.groups import LARGEST, SMALLEST
from evals.items import Float, Int
from evals.joined import join_tables
from evals.metrics import METRICS, MetricTable
from evals.scorers import AnyScorer, TrialScorer, repeated_by_headline
from evals.shrinkage import Shrunk, shrink
from evals.significance import NULL_DRAWS, Significance, against_null, null_pairs
from flows.session import Session
from flows.stages.calibrate import stored_curve
from flows.stages.items import SampleFacts
from flows.stages.judge_repeats import measure_judge
from flows.stages.labels_to_judge import Judging, choose_labels
from flows.stages.null_part import NullPart, null_part
from flows.stages.own_part import OwnPart, own_part
from flows.stages.score_part import FEATURES_TOGETHER, beside_chance
from flows.stages.score_rows import group_rows, remove_earlier_controls, score_ids, score_rows
from flows.usage import Usage

PARTS_OF_HEADLINE = ("headline", "balanced_hard", "balanced_random")
"""The metrics of graded windows that are tested and shrunk; of other scorers, all metrics are."""


@dataclass(frozen=True)
class _Own:
    """The features' own labels of a group, what is known of the features, and their scores."""

    labels: pl.DataFrame
    facts: SampleFacts
    tercile: Int  # [F] third by firing rate
    scores: pl.DataFrame
    """Columns score_id, metric, tau, feature, value, low, high."""

    def of(self, metric: str, tau: float) -> pl.DataFrame:
        """One row a label, in their order; NULL where there is no score."""
        chosen = self.scores.filter((pl.col("metric") == metric) & (pl.col("tau") == tau))
        return self.labels.select("feature").join(chosen, on="feature", how="left", maintain_order="left")


def forget_statistics(session: Session, judging: Judging) -> None:
    """Take back that the statistics of a group are complete: its scores are about to be replaced."""
    session.store.forget_shards("statistics", _first(judging).group, but="", shards=[0])


def save_statistics(session: Session, judging: Judging, scorer: AnyScorer) -> None:
    """Compute and store the statistics of a group, unless they are complete or it has no scores."""
    if session.store.shard_done("statistics", judging.group, 0):
        return
    labels = choose_labels(session, judging)
    own = _own(session, judging, scorer, labels.filter(pl.col("control").is_null()))
    if own.scores.is_empty():
        return
    repeated = None if isinstance(scorer, TrialScorer) else measure_judge(session, judging, scorer)
    judge_variance = 0.0 if scorer.model is None else None if repeated is None else repeated.judge_variance
    graded_windows = repeated_by_headline(scorer) is None
    if graded_windows:
        _save_own_parts(session, judging, scorer, own, labels)
    null = _null_scores(session, judging, scorer, own, labels, judge=graded_windows)
    _save_meaning(session, judging, scorer, own, null, judge_variance)
    session.store.finish_shard("statistics", judging.group, 0, rows=len(own.labels))


def share_of_same_labels(texts: pl.Series) -> float | None:
    """Share of labels that stand for another feature as well, word for word. Each may fit its windows perfectly: scores
    that look at windows alone can't see that two features are not told apart. None where there is no label."""
    known = texts.drop_nulls()
    return int(known.is_duplicated().sum()) / len(known) if len(known) else None


def _first(judging: Judging) -> Judging:
    """The group whose judge is asked again in later epochs."""
    return replace(judging, epoch=0)


def _own(session: Session, judging: Judging, scorer: AnyScorer, labels: pl.DataFrame) -> _Own:
    sample = judging.sample.sample_id
    scored = session.store.select(
        "SELECT score_id, metric, tau, feature, value, low, high FROM scores "
        "WHERE sample_id = ? AND scorer = ? AND epoch = ? AND control IS NULL",
        [sample, scorer.name, judging.epoch],
    )
    ids = pl.DataFrame({"score_id": score_ids(judging, scorer, labels, control=None)}, schema={"score_id": pl.String})
    scored = scored.join(ids, on="score_id", how="semi")
    judged = labels.join(scored.select("feature").unique(), on="feature", how="semi").sort("feature")
    corpus = judging.sample.corpus.corpus_id
    facts = SampleFacts.read(session.store, sample_id=sample, corpus_id=corpus).of(judged["feature"])
    rate = judged.select("feature").join(facts.features, on="feature", how="left", maintain_order="left")["firing_rate"]
    return _Own(judged, facts, density_terciles(rate.to_numpy()), scored)


def _save_own_parts(session: Session, judging: Judging, scorer: AnyScorer, own: _Own, labels: pl.DataFrame) -> None:
    """The reliability curve, and scores and means of the control `permuted`."""
    controlled = labels.filter(pl.col("control") == "generic")["feature"].to_list()
    jobs = [
        OwnPart(
            root=session.workspace.root,
            labels=part,
            facts=own.facts.of(part["feature"]),
            group=judging.group,
            permuted=tuple(sorted(set(part["feature"].to_list()) & set(controlled))),
            seed=session.config.sample.seed,
        )
        for part in own.labels.iter_slices(FEATURES_TOGETHER)
    ]
    sums: ReliabilitySums | None = None
    tables: list[MetricTable] = []
    for job, found in session.runner(own_part, jobs, name="statistics", parallel=True):
        sums = found.reliability if sums is None else sums + found.reliability
        if found.permuted is not None:
            chosen = job.labels.filter(pl.col("feature").is_in(list(job.permuted)))
            rows = score_rows(
                judging, scorer, chosen, beside_chance(found.permuted), control=PERMUTED, run_id=session.run_id
            )
            remove_earlier_controls(session, rows)
            session.store.save("scores", rows)
            tables.append(found.permuted)
    if tables:
        means = group_rows(
            judging, scorer, beside_chance(join_tables(tables)), Usage(), control=PERMUTED, run_id=session.run_id
        )
        session.store.save("score_groups", means)
    if sums is not None and sums.weight.sum() > 0:
        session.store.save("reliability_curves", _curve_rows(session, judging, sums))


def _curve_rows(session: Session, judging: Judging, sums: ReliabilitySums) -> pl.DataFrame:
    curve = sums.curve()
    numbers = {
        "probability": curve.probability,
        "observed": curve.observed,
        "low": curve.interval.low,
        "high": curve.interval.high,
    }
    return pl.DataFrame(
        {
            **judging.columns,
            "epoch": judging.epoch,
            "bin": range(len(curve.weight)),
            "bin_low": curve.edges[:-1],
            "bin_high": curve.edges[1:],
            **numbers,
            "weight": curve.weight,
            "n_items": curve.n_items,
            "brier_skill": curve.brier_skill,
            "run_id": session.run_id,
        }
    ).with_columns(pl.col(*numbers).fill_nan(None))


def _null_scores(
    session: Session, judging: Judging, scorer: AnyScorer, own: _Own, labels: pl.DataFrame, *, judge: bool
) -> pl.DataFrame:
    """What wrong labels score: columns feature, metric, tau, value. Empty without controls.

    Scorers that grade windows offline judge as many as it takes; a language model's null is the control `shuffled`.
    """
    shuffled = _wrong(own, labels.filter(pl.col("control") == "shuffled"))
    if scorer.model is None and judge and len(shuffled):
        return _judge_null(session, judging, own, parallel=scorer.parallel)
    found = session.store.select(
        "SELECT score_id, feature, metric, tau, value FROM scores "
        "WHERE sample_id = ? AND scorer = ? AND epoch = ? AND control = 'shuffled'",
        [judging.sample.sample_id, scorer.name, judging.epoch],
    )
    ids = score_ids(judging, scorer, shuffled, control="shuffled")
    return found.join(pl.DataFrame({"score_id": ids}, schema={"score_id": pl.String}), on="score_id", how="semi")


def _wrong(own: _Own, labels: pl.DataFrame) -> pl.DataFrame:
    """Without labels that say the same, word for word, as the feature's own: a null is made of wrong labels."""
    texts = own.labels.select("feature", pl.col("text").alias("own"))
    return labels.join(texts, on="feature", how="inner", maintain_order="left").filter(pl.col("text") != pl.col("own"))


def _judge_null(session: Session, judging: Judging, own: _Own, *, parallel: bool) -> pl.DataFrame:
    """Judge labels of other features of the same third by firing rate, and store their scores."""
    generator = np.random.default_rng([session.config.sample.seed, 1])
    feature, source = null_pairs(own.tercile, draws=NULL_DRAWS, generator=generator)
    label = own.labels.select("explanation_id", "text", "pattern")[source]
    pairs = _wrong(own, own.labels.select("feature", pl.lit("shuffled").alias("control"))[feature].hstack(label))
    curve = stored_curve(session, judging)
    jobs = [
        NullPart(
            root=session.workspace.root,
            corpus_id=judging.sample.corpus.corpus_id,
            scorer=judging.scorer,
            pairs=part,
            facts=own.facts.of(part["feature"].unique()),
            curve=curve,
            metrics=PARTS_OF_HEADLINE,
        )
        for part in pairs.iter_slices(FEATURES_TOGETHER)
    ]
    found = [frame for _, frame in session.runner(null_part, jobs, name="null", parallel=parallel)]
    if not found:
        return pl.DataFrame(schema={"feature": pl.Int32, "metric": pl.String, "tau": pl.Float64, "value": pl.Float64})
    scores = pl.concat(found)
    session.store.remove("null_scores", "group_id", [judging.group])
    named = {name: value for name, value in judging.columns.items() if name != "judge_model"}
    columns = {**named, "group_id": judging.group, "run_id": session.run_id}
    session.store.save("null_scores", scores.with_columns(pl.lit(v).alias(name) for name, v in columns.items()))
    return scores


def _save_meaning(
    session: Session,
    judging: Judging,
    scorer: AnyScorer,
    own: _Own,
    null: pl.DataFrame,
    judge_variance: float | None,
) -> None:
    """p, q and shrunk scores of every label, and their summary, for each tested metric and threshold."""
    tercile = dict(zip(own.labels["feature"].to_list(), own.tercile.tolist(), strict=True))
    same_label = share_of_same_labels(own.labels["text"])
    for metric, tau in _tested(own.scores):
        rows = own.of(metric, tau)
        value, low, high = (rows[name].fill_null(float("nan")).to_numpy() for name in ("value", "low", "high"))
        wrong = null.filter((pl.col("metric") == metric) & (pl.col("tau") == tau)).drop_nulls("value")
        groups = np.array([tercile.get(feature, -1) for feature in wrong["feature"].to_list()], dtype=np.int64)
        meant = against_null(value, own.tercile, wrong["value"].to_numpy().astype(np.float64), groups)
        repeated = (repeated_by_headline(scorer) if metric == "headline" else None) or metric
        least = SMALLEST.get(repeated, 0.0)
        shrunk = shrink(value, low, high, judge_variance=_known(judge_variance), least=least, largest=LARGEST)
        session.store.save("score_statistics", _statistics_rows(session, judging, rows, meant, shrunk))
        summary = _summary(meant, shrunk, n_null=len(wrong))
        row = {**judging.columns, "metric": metric, "tau": tau, "epoch": judging.epoch, **summary}
        row |= {"share_same_label": same_label, "run_id": session.run_id}
        session.store.save("group_statistics", _one_row(row))


def _tested(scores: pl.DataFrame) -> list[tuple[str, float]]:
    """Metric and threshold of what is tested, in a fixed order."""
    known = scores.select("metric", "tau").unique().sort("metric", "tau").iter_rows()
    return [(metric, tau) for metric, tau in known if metric in PARTS_OF_HEADLINE or metric not in METRICS]


def _known(value: float | None) -> float | None:
    return None if value is None or np.isnan(value) else value


def _statistics_rows(
    session: Session, judging: Judging, rows: pl.DataFrame, meant: Significance, shrunk: Shrunk | None
) -> pl.DataFrame:
    nothing: Float = np.full(len(rows), np.nan)
    numbers = {
        "p": meant.p,
        "q": meant.q,
        "null_95": meant.null_95,
        "shrunk": nothing if shrunk is None else shrunk.value,
        "shrunk_low": nothing if shrunk is None else shrunk.interval.low,
        "shrunk_high": nothing if shrunk is None else shrunk.interval.high,
    }
    return (
        rows.select("score_id", "metric", "tau", "feature")
        .with_columns(
            pl.lit(judging.sample.sample_id).alias("sample_id"),
            pl.Series("n_null", meant.n_null),
            pl.Series("null_pool", np.where(meant.pooled, "all", "tercile"), dtype=pl.String),
            *(pl.Series(name, values).fill_nan(None) for name, values in numbers.items()),
            pl.lit(session.run_id).alias("run_id"),
        )
        .filter(pl.col("score_id").is_not_null())
    )


def _summary(meant: Significance, shrunk: Shrunk | None, *, n_null: int) -> dict[str, float | int | None]:
    tested = ~np.isnan(meant.p)
    n = int(tested.sum())
    split = None if shrunk is None else shrunk.variances
    return {
        "n_tested": n,
        "n_null": n_null,
        "share_significant": float(meant.significant[tested].mean()) if n else None,
        "share_above_null": float(meant.above_null[tested].mean()) if n else None,
        "variance_feature": None if split is None else split.feature,
        "variance_item": None if split is None else split.item,
        "variance_judge": None if split is None else split.judge,
        "reliability": None if split is None else split.reliability,
    }


def _one_row(row: Mapping[str, object]) -> pl.DataFrame:
    numbers = ("share", "variance", "reliability")
    return pl.DataFrame(
        {
            name: pl.Series([value], dtype=pl.Float64) if name.startswith(numbers) else pl.Series([value])
            for name, value in row.items()
        }
    )
