"""The job that turns stored trials into metrics: some features' labels, own or one control's, to a metric table.

The counterpart of `score_part.py` for scorers that ask in trials. It reads evidence files and what it is handed; it
writes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from evals.scorers import TrialScorer
from evals.trial_measures import Measured, with_headline
from evals.trials import Judged
from flows.stages.items import SampleFacts, document_code
from flows.stages.judge import ScorerChoice, make_scorer
from flows.stages.score_part import judgments_of
from labeling import evidence
from labeling.workspace import Workspace

EXACT = ("firing_windows", "grey_windows", "silent_windows")


@dataclass(frozen=True, eq=False)
class TrialPart:
    """Some features of one sample with one label each, judged by one scorer in trials."""

    root: Path
    scorer: ScorerChoice
    labels: pl.DataFrame
    """Columns as LABELS; one row a feature, in ascending order."""
    facts: SampleFacts
    """Of these features alone."""
    group: str
    """Evidence key of the judgments."""


def trial_part(job: TrialPart) -> Measured:
    """Compute all metrics of a part, the headline first."""
    scorer = make_scorer(job.scorer)
    if not isinstance(scorer, TrialScorer):
        raise TypeError(f"{job.scorer.name} grades windows; see flows/stages/score_part.py")
    return with_headline(scorer.measure(read_trials(job)), scorer.headline)


def read_trials(job: TrialPart) -> list[Judged]:
    """The trials of each label, in the order of the labels; none where the label has no trial."""
    found = _with_documents(job, judgments_of(Workspace(job.root), job.group, job.labels).collect())
    by_label = {key[0]: frame for key, frame in found.sort("feature", "trial").group_by("feature")}
    exact = dict.fromkeys(job.labels["feature"].to_list(), dict.fromkeys(EXACT, 0))
    splits = job.facts.splits.filter(pl.col("split") == "score").select("feature", *EXACT)
    exact |= {row.pop("feature"): row for row in splits.to_dicts()}
    return [
        _judged(by_label.get(feature, found.clear()), exact[feature], sharing)
        for feature, sharing in job.labels.select("feature", "sharing").iter_rows()
    ]


def _with_documents(job: TrialPart, found: pl.DataFrame) -> pl.DataFrame:
    windows = (
        evidence.scan(Workspace(job.root), "windows", job.facts.corpus_id)
        .filter(pl.col("split") == "score")
        .select("window_id", document_code().alias("document"))
        .collect()
    )
    return found.join(windows, on="window_id", how="left")


def _judged(frame: pl.DataFrame, exact: dict[str, Any], sharing: int) -> Judged:
    def numbers(name: str) -> np.ndarray:
        return frame[name].cast(pl.Float64).fill_null(float("nan")).to_numpy()

    return Judged(
        variant=np.array(frame["variant"].to_list(), dtype=np.str_),
        truth=numbers("truth"),
        grade=numbers("grade"),
        weight=numbers("weight"),
        options=frame["options"].fill_null(0).cast(pl.Int64).to_numpy(),
        document=frame["document"].cast(pl.Int64).to_numpy(),
        reason=tuple(frame["reason"].to_list()),
        levels=tuple(tuple(levels or ()) for levels in frame["token_levels"].to_list()),
        activations=tuple(tuple(values or ()) for values in frame["token_activations"].to_list()),
        expected=tuple(tuple(levels or ()) for levels in frame["token_expected_levels"].to_list()),
        sharing=sharing,
        **exact,
    )
