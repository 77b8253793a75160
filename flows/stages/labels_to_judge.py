"""Which labels are judged: the features' own, and those that stand in for them as controls."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from evals.controls import Assignment, assign_controls
from flows.session import Session
from flows.stages.choose_contexts import decoder_neighbors
from flows.stages.explainer_choice import ExplainerChoice, make_explainer
from flows.stages.judge import ScorerChoice
from flows.stages.label import explanation_id
from flows.stages.sample import Sample
from flows.stages.select_features import alive_features, select_features
from labeling.config import ScoreConfig
from labeling.identity import identify
from labeling.patterns import ANYTHING
from labeling.types import FeatureInfo

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
    judge_model: str | None
    priority: int
    """Position of the scorer in the config: the first is the one people see beside a label."""
    epoch: int = 0
    repeat: int = 0
    """Which of the explainer's labels of a feature. The first has the controls and stands in the groups' means."""

    @property
    def group(self) -> str:
        """Evidence key of the judgments: the same whenever the same labels are judged again."""
        return identify(
            "judging",
            sample_id=self.sample.sample_id,
            explainer=self.explainer.name,
            explainer_model=self.explainer_model,
            scorer=self.scorer.name,
            judge=self.judge_model,
            epoch=self.epoch,
            **({"repeat": self.repeat} if self.repeat else {}),
        )


def choose_labels(session: Session, judging: Judging) -> pl.DataFrame:
    """All labels, own and controls', with the feature they are judged on: columns as LABELS.

    When the judge is asked again, a part of the features' own labels alone; further labels of a feature have no controls.
    """
    config, sample = session.config, judging.sample
    own = _limited(
        session, judging, _own_labels(session, judging, select_features(session, sample, config.score.features))
    )
    if judging.epoch:
        return _first_by_hash(own, n_repeated(config.score, len(own)), seed=config.sample.seed)
    if judging.repeat:
        return own
    return pl.concat([own, *(_control_labels(own, a) for a in assigned_controls(session, sample, own["feature"]))])


def n_repeated(score: ScoreConfig, n_features: int) -> int:
    """Features that a judge is asked about again: none when the share is less than one feature."""
    return int(score.repeat_share * n_features) if score.repeats > 1 else 0


def calibration_labels(session: Session, judging: Judging, *, limit: int) -> pl.DataFrame:
    """At most `limit` of all labels that the explainer has written for the sample, whichever are to be scored.

    They are drawn by a hash of their features' numbers: one label more changes one label of the draw at most.
    """
    every = _own_labels(session, judging, alive_features(session, judging.sample))
    return _first_by_hash(every, limit, seed=session.config.sample.seed)


def _own_labels(session: Session, judging: Judging, selected: Sequence[FeatureInfo]) -> pl.DataFrame:
    """The labels of features by the explainer as it is now, by ascending feature."""
    explainer = make_explainer(judging.explainer)
    wanted = [explanation_id(feature, explainer, judging.repeat) for feature in selected]
    return (
        session.store.read("explanations", sample_id=judging.sample.sample_id, state="labeled")
        .filter(pl.col("explanation_id").is_in(wanted))
        .select("feature", pl.lit(None, pl.String).alias("control"), "explanation_id", "text", "pattern")
        .sort("feature")
    )


def _first_by_hash(labels: pl.DataFrame, n: int, *, seed: int) -> pl.DataFrame:
    features = labels["feature"].to_list()
    order = sorted(range(len(features)), key=lambda row: identify("drawn", feature=features[row], seed=seed))
    return labels[sorted(order[:n])]


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
    assigned = assign_controls(
        ids,
        firing_rate=features["firing_rate"].to_numpy(),
        neighbors=decoder_neighbors(session.workspace, sample.sample_id, ids),
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
