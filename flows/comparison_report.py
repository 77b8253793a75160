"""What `featlas report comparison` shows: the result of a comparison with both scores of every feature, ready for a report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from dashboards.reports.comparison import Compared, Labeler, Pairing
from flows.compare import DIFFERENCE, compare_contrasts, contrasts_of, score_pairs
from flows.sides import Contrast
from labeling.types import TAU_SHARE


def compared(
    workspace: str | Path,
    a: str,
    b: str,
    *,
    metrics: Sequence[str] = ("headline",),
    tau: float = TAU_SHARE,
    difference: float = DIFFERENCE,
    seed: int = 0,
) -> Compared:
    """Compare the two sides like `compare`, and keep what each feature got. Raise UsageError like `compare`."""
    contrasts = contrasts_of(workspace, a, b, metrics, tau)
    rows = compare_contrasts(contrasts, metrics, tau, difference=difference, seed=seed)
    pairings = tuple(_pairing(contrast, metrics[0]) for contrast in contrasts)
    return Compared(a, b, tuple(rows.to_dicts()), pairings, metrics[0], tau, difference, seed)


def _pairing(contrast: Contrast, metric: str) -> Pairing:
    scores = score_pairs(contrast, metric) if contrast.paired else None
    judged = contrast.judged_by
    return Pairing(judged["scorer"], judged["judge"], _labeler(contrast.a), _labeler(contrast.b), scores)


def _labeler(rows: pl.DataFrame) -> Labeler:
    names = ("feature_set", "sample", "explainer", "model", "prompt", "parameters")
    return Labeler(*rows.select(names).row(0))
