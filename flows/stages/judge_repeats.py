"""How reliable a language model judges: what it said about the same windows and labels in every epoch, to one row.

From stored judgments and scores to the table `judge_reliability`. Which labels are judged again is decided in
`labels_to_judge.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import polars as pl

from evals.items import Float
from evals.judge_noise import Agreement, Ranged, Repeatability, agreement, repeatability
from evals.scorers import Scorer
from flows.session import Session
from flows.stages.labels_to_judge import Judging, choose_labels
from flows.stages.score_part import judgments_of
from flows.stages.score_rows import score_ids
from labeling.types import TAU_SHARE

HEADLINE = "headline"


def measure_judge(session: Session, judging: Judging, scorer: Scorer) -> Repeatability | None:
    """Compare all epochs of a judge and store how far they agree; None where it was asked only once."""
    epochs = range(session.config.score.repeats if scorer.model is not None else 1)
    if len(epochs) < 2:
        return None
    judgings = [replace(judging, epoch=epoch) for epoch in epochs]
    labels = choose_labels(session, judgings[1])
    if labels.is_empty():
        return None
    agreed = agreement(*_answers(session, judgings, labels))
    repeated = repeatability(_scores(session, judgings, scorer, labels))
    session.store.save("judge_reliability", _row(session, judging, agreed, repeated, len(epochs)))
    return repeated


def _answers(session: Session, judgings: Sequence[Judging], labels: pl.DataFrame) -> tuple[np.ndarray, Float]:
    """Feature [n] and yes (1) or no (0) [n, epochs] of each window; NaN where an answer is lost."""
    said = [
        judgments_of(session.workspace, judging.group, labels)
        .select(
            "feature",
            "window_id",
            pl.when(pl.col("probability").is_not_null()).then(pl.col("probability") >= 0.5).alias(str(judging.epoch)),
        )
        .collect()
        for judging in judgings
    ]
    joined = said[0]
    for other in said[1:]:
        joined = joined.join(other, on=["feature", "window_id"], how="inner")
    yes = joined.select(pl.col(str(judging.epoch)).cast(pl.Float64) for judging in judgings)
    return joined["feature"].to_numpy(), yes.fill_null(float("nan")).to_numpy()


def _scores(session: Session, judgings: Sequence[Judging], scorer: Scorer, labels: pl.DataFrame) -> Float:
    """[F, epochs] headline of each label, NaN where it is unscored."""
    columns = []
    for judging in judgings:
        ids = pl.DataFrame({"score_id": score_ids(judging, scorer, labels, control=None)})
        found = session.store.select(
            "SELECT score_id, value FROM scores WHERE sample_id = ? AND scorer = ? AND epoch = ? AND metric = ? "
            "AND abs(tau - ?) < 1e-9 AND control IS NULL",
            [judging.sample.sample_id, scorer.name, judging.epoch, HEADLINE, TAU_SHARE],
        )
        columns.append(
            ids.join(found, on="score_id", how="left", maintain_order="left")["value"].fill_null(float("nan"))
        )
    return np.stack([column.to_numpy() for column in columns], axis=1).astype(np.float64)


def _row(session: Session, judging: Judging, agreed: Agreement, repeated: Repeatability, n_epochs: int) -> pl.DataFrame:
    numbers: dict[str, float] = {"variance_judge": repeated.judge_variance}
    ranges: dict[str, Ranged] = {
        "flip_rate": agreed.flip_rate,
        "icc": repeated.icc,
        "kappa": agreed.kappa,
        "pabak": agreed.pabak,
    }
    for name, found in ranges.items():
        numbers |= {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high}
    return pl.DataFrame(
        {
            **{name: [value] for name, value in judging.columns.items()},
            "metric": [HEADLINE],
            "n_epochs": [n_epochs],
            "n_features": [repeated.n_features],
            "n_windows": [agreed.n_windows],
            "run_id": [session.run_id],
            **{name: pl.Series([value], dtype=pl.Float64).fill_nan(None) for name, value in numbers.items()},
        }
    )
