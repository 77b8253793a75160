"""Which labels are judged: the features' own, and those that stand in for them as controls."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
import polars as pl

from evals.controls import Assignment, assign_controls
from flows.session import Session
from flows.stages.choose_contexts import decoder_neighbors
from flows.stages.judge import ScorerChoice
from flows.stages.label import ExplainerChoice, explanation_id, make_explainer
from flows.stages.sample import Sample
from flows.stages.select_features import select_features
from labeling.identity import identify
from labeling.patterns import ANYTHING

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
        )


def choose_labels(session: Session, judging: Judging) -> pl.DataFrame:
    """All labels, own and controls', with the feature they are judged on: columns as LABELS."""
    config, sample = session.config, judging.sample
    explainer = make_explainer(judging.explainer)
    selected = select_features(session, sample, config.score.features)
    wanted = [explanation_id(feature, explainer, repeat=0) for feature in selected]
    own = (
        session.store.read("explanations", sample_id=sample.sample_id, state="labeled")
        .filter(pl.col("explanation_id").is_in(wanted))
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
