"""Which labels are judged: the features' own, and those that stand in for them as controls."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass

import numpy as np
import polars as pl

from evals.controls import Assignment, assign_controls
from evals.scorers import TrialScorer
from evals.scorers._rivals import choose_rivals, same_text
from flows.session import Session
from flows.stages.choose_contexts import decoder_neighbors
from flows.stages.judge import ScorerChoice, make_scorer
from flows.stages.label import ExplainerChoice, explanation_id, make_explainer
from flows.stages.sample import Sample
from flows.stages.select_features import select_features
from labeling.explainers import Explainer
from labeling.identity import identify
from labeling.patterns import ANYTHING

LABELS = pl.Schema(
    {
        "feature": pl.Int32(),
        "control": pl.String(),
        "explanation_id": pl.String(),
        "text": pl.String(),
        "pattern": pl.String(),
        "rivals": pl.List(pl.String),  # other features' labels, the nearest first; empty unless the scorer wants some
        "sharing": pl.Int32(),  # other features with the same text as their label; 0 unless the scorer wants rivals
    }
)


@dataclass(frozen=True)
class Judging:
    """One explainer's labels on one sample, judged by one scorer."""

    sample: Sample
    explainer: ExplainerChoice | None
    """None for scorers that judge features, not labels."""
    explainer_model: str | None
    scorer: ScorerChoice
    judge_model: str | None
    priority: int
    """Position of the scorer in the config: the first is the one people see beside a label."""
    epoch: int = 0

    @property
    def explainer_name(self) -> str:
        """Empty for scorers that judge features, not labels."""
        return self.explainer.name if self.explainer else ""

    @property
    def group(self) -> str:
        """Evidence key of the judgments: the same whenever the same labels are judged again."""
        return identify(
            "judging",
            sample_id=self.sample.sample_id,
            explainer=self.explainer_name,
            explainer_model=self.explainer_model,
            scorer=self.scorer.name,
            judge=self.judge_model,
            epoch=self.epoch,
        )


def choose_labels(session: Session, judging: Judging) -> pl.DataFrame:
    """All labels, own and controls', with the feature they are judged on: columns as LABELS."""
    selected = select_features(session, judging.sample, session.config.score.features)
    if judging.explainer is None:
        return _completed(pl.DataFrame({"feature": [feature.feature for feature in selected]}, {"feature": pl.Int32}))
    explainer = make_explainer(judging.explainer)
    wanted = [explanation_id(feature, explainer, repeat=0) for feature in selected]
    stored = session.store.read("explanations", sample_id=judging.sample.sample_id, state="labeled")
    own = (
        stored.filter(pl.col("explanation_id").is_in(wanted))
        .select("feature", pl.lit(None, pl.String).alias("control"), "explanation_id", "text", "pattern")
        .sort("feature")
    )
    own = _limited(session, judging, own)
    controls = assigned_controls(session, judging.sample, own["feature"])
    labels = pl.concat([own, *(_control_labels(own, assignment) for assignment in controls)])
    scorer = make_scorer(judging.scorer)
    if isinstance(scorer, TrialScorer) and scorer.rivals:
        texts = _texts_of(stored, explainer)
        labels = _with_rivals(session, judging.sample, labels, texts, wanted=scorer.rivals)
    return _completed(labels)


def _completed(labels: pl.DataFrame) -> pl.DataFrame:
    """The columns of LABELS; those that are missing say that there is nothing."""
    empty = {"rivals": pl.lit([], pl.List(pl.String)), "sharing": pl.lit(0)}
    return labels.with_columns(
        empty.get(name, pl.lit(None)).cast(dtype).alias(name)
        for name, dtype in LABELS.items()
        if name not in labels.columns
    ).select(LABELS.names())


def _texts_of(explanations: pl.DataFrame, explainer: Explainer) -> dict[int, str]:
    """The newest label of each feature by the explainer, whether the feature is judged or not."""
    own = explanations.filter(
        (pl.col("explainer") == explainer.name)
        & pl.col("explainer_model").eq_missing(pl.lit(explainer.model, pl.String))
    ).sort("created_at", "explanation_id", nulls_last=False)
    return dict(own.select("feature", "text").iter_rows())


def _with_rivals(
    session: Session, sample: Sample, labels: pl.DataFrame, texts: dict[int, str], *, wanted: int
) -> pl.DataFrame:
    features = np.unique(labels["feature"].to_numpy()).astype(np.int64)
    near = decoder_neighbors(session.workspace, sample.sample_id, features)
    neighbors = dict(zip(features.tolist(), near, strict=True))
    counts = Counter(same_text(text) for text in texts.values())
    rows = list(labels.select("feature", "text").iter_rows())
    rivals = [
        choose_rivals(
            feature,
            text,
            texts=texts,
            neighbors=neighbors[feature],
            wanted=wanted,
            generator=np.random.default_rng([session.config.sample.seed, feature]),
        )
        for feature, text in rows
    ]
    sharing = [max(counts[same_text(text)] - 1, 0) if text is not None else 0 for _, text in rows]
    return labels.with_columns(
        pl.Series("rivals", rivals, dtype=LABELS["rivals"]), pl.Series("sharing", sharing, dtype=LABELS["sharing"])
    )


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
