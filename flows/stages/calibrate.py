"""The curve from a scorer's raw grades to probabilities: taken from the store while it fits, else fitted and stored.

It is fitted on labels that do not depend on which are scored, so that a trial on a few features meets the same curve as
a run over all. It is fitted again when its inputs change: other labels, another scorer, another sample.
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from evals.calibration import Curve, fit_curve
from evals.scorers import AnyScorer
from flows.session import Session
from flows.stages.items import SampleFacts, build_items
from flows.stages.judge import JudgeShard, grade_select
from flows.stages.labels_to_judge import Judging, calibration_labels
from flows.stages.score_rows import metrics_version
from labeling.identity import identify

FEATURES = 5000
"""Features whose labels are graded for a curve, at most."""


def labels_for_curve(session: Session, judging: Judging) -> pl.DataFrame:
    """The labels a curve is fitted on, columns as LABELS: as many as the scorer may be asked about."""
    limit = session.config.score.embedding_features if judging.scorer.name == "embedding" else 0
    return calibration_labels(session, judging, limit=min(limit or FEATURES, FEATURES))


def inputs_of_curve(judging: Judging, scorer: AnyScorer, labels: pl.DataFrame) -> str:
    """Identity of all that a curve follows from."""
    return identify(
        "curve",
        group=judging.group,
        prompt_version=scorer.prompt_version,
        parameters=dict(scorer.parameters),
        labels=[list(row) for row in labels.select("feature", "explanation_id", "text").iter_rows()],
        **metrics_version(scorer),
    )


def stored_curve(session: Session, judging: Judging, inputs: str | None = None) -> Curve | None:
    """The curve of a group, if it was fitted on these inputs (on any, when none are given)."""
    rows = session.store.read("calibrations", **_key(judging))
    if rows.is_empty() or (inputs is not None and rows["inputs"][0] != inputs):
        return None
    row = rows.row(0, named=True)
    return Curve(tuple(row["thresholds"]), tuple(row["probabilities"]), row["n_items"])


def fit_and_store(
    session: Session, judging: Judging, facts: SampleFacts, *, inputs: str, jobs: Sequence[JudgeShard], parallel: bool
) -> Curve:
    """Grade windows of the `select` split and fit the curve. Raise CalibrationError when there are too few."""
    grades = pl.concat([frame for _, frame in session.runner(grade_select, jobs, name="calibrate", parallel=parallel)])
    features = grades["feature"].unique().sort().to_list()
    curve = fit_curve(build_items(session.workspace, facts, grades, features=features, split="select", panel=False))
    session.store.save(
        "calibrations",
        pl.DataFrame(
            {
                **{name: [value] for name, value in _key(judging).items()},
                "thresholds": [list(curve.thresholds)],
                "probabilities": [list(curve.values)],
                "n_items": [curve.n_items],
                "n_features": [len(features)],
                "inputs": [inputs],
                "run_id": [session.run_id],
            }
        ),
    )
    return curve


def _key(judging: Judging) -> dict[str, str]:
    """A curve is of a scorer that asks no judge."""
    return {name: value for name, value in judging.columns.items() if name != "judge_model"}
