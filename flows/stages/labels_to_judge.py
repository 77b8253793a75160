"""Which labels are judged: the features' own, and those that stand in for them as controls."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from evals.controls import Assignment, assign_controls
from evals.rivals import choose_rivals, same_text
from evals.scorers import TrialScorer
from flows.session import Session
from flows.stages.choose_contexts import decoder_neighbors
from flows.stages.explainer_choice import ExplainerChoice, make_explainer
from flows.stages.judge import ScorerChoice, make_scorer
from flows.stages.label import explanation_id
from flows.stages.sample import Sample
from flows.stages.select_features import alive_features, select_features
from labeling.config import ScoreConfig
from labeling.identity import identify
from labeling.patterns import ANYTHING
from labeling.types import FeatureInfo

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
    repeat: int = 0
    """Which of the explainer's labels of a feature. The first has the controls and stands in the groups' means."""

    @property
    def explainer_name(self) -> str:
        """Empty for scorers that judge features, not labels."""
        return self.explainer.name if self.explainer else ""

    @property
    def columns(self) -> dict[str, str]:
        """The group in tables whose key columns hold empty text for what there is not."""
        return {
            "sample_id": self.sample.sample_id,
            "explainer": self.explainer_name,
            "explainer_model": self.explainer_model or "",
            "scorer": self.scorer.name,
            "judge_model": self.judge_model or "",
        }

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
            **({"repeat": self.repeat} if self.repeat else {}),
        )


def choose_labels(session: Session, judging: Judging) -> pl.DataFrame:
    """All labels, own and controls', with the feature they are judged on: columns as LABELS.

    When the judge is asked again, a part of the features' own labels alone; further labels of a feature have no controls.
    A scorer that judges features gets the features alone.
    """
    config, sample = session.config, judging.sample
    selected = select_features(session, sample, config.score.features)
    if judging.explainer is None:
        return _completed(pl.DataFrame({"feature": [feature.feature for feature in selected]}, {"feature": pl.Int32}))
    own = _limited(session, judging, _own_labels(session, judging, selected))
    if judging.epoch:
        return _first_by_hash(own, n_repeated(config.score, len(own)), seed=config.sample.seed)
    controls = [] if judging.repeat else assigned_controls(session, sample, own["feature"])
    labels = pl.concat([own, *(_completed(_control_labels(own, assignment)) for assignment in controls)])
    scorer = make_scorer(judging.scorer)
    if isinstance(scorer, TrialScorer) and scorer.rivals:
        labels = _with_rivals(session, sample, labels, _texts_of(session, judging), wanted=scorer.rivals)
    return _completed(labels)


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
    """The labels of features by the explainer as it is now, by ascending feature; none without an explainer."""
    if judging.explainer is None:
        return LABELS.to_frame()
    explainer = make_explainer(judging.explainer)
    wanted = [explanation_id(feature, explainer, judging.repeat) for feature in selected]
    return _completed(
        session.store.read("explanations", sample_id=judging.sample.sample_id, state="labeled")
        .filter(pl.col("explanation_id").is_in(wanted))
        .select("feature", "explanation_id", "text", "pattern")
        .sort("feature")
    )


def _first_by_hash(labels: pl.DataFrame, n: int, *, seed: int) -> pl.DataFrame:
    features = labels["feature"].to_list()
    order = sorted(range(len(features)), key=lambda row: identify("drawn", feature=features[row], seed=seed))
    return labels[sorted(order[:n])]


def _completed(labels: pl.DataFrame) -> pl.DataFrame:
    """The columns of LABELS; those that are missing say that there is nothing."""
    empty = {"rivals": pl.lit([], pl.List(pl.String)), "sharing": pl.lit(0)}
    return labels.with_columns(
        empty.get(name, pl.lit(None)).cast(dtype).alias(name)
        for name, dtype in LABELS.items()
        if name not in labels.columns
    ).select(LABELS.names())


def _texts_of(session: Session, judging: Judging) -> dict[int, str]:
    """The first label of each feature by the explainer as it is now, whether the feature is judged or not."""
    every = _own_labels(session, replace(judging, repeat=0), alive_features(session, judging.sample))
    return dict(every.select("feature", "text").iter_rows())


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
