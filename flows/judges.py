"""Compare two judges that scored the same labels on the same windows: how far do they agree?

    from flows.judges import compare_judges
    compare_judges("workspace", "judge=openai/MODEL", "judge=anthropic/MODEL")

From a published snapshot to a polars frame; it judges nothing and writes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from evals.judge_noise import agreement, concordance
from flows.compare import read_scores
from flows.sides import LABELER, PLACE, Side, parse_side
from labeling.errors import UsageError
from labeling.snapshot import open_snapshot, select
from labeling.types import TAU_SHARE
from labeling.workspace import Workspace

Select = Callable[[str, list[Any]], pl.DataFrame]
"""Ask the snapshot: a statement and its parameters."""

HEADLINE = "headline"
SAME = (*PLACE, *LABELER, "scorer", "scorer_parameters", "epoch")
"""What must not differ between the judges: windows, labels, and how they were asked."""
ANSWERS = """
SELECT a.feature, a.probability >= 0.5 AS yes_a, b.probability >= 0.5 AS yes_b
FROM judgments AS a
JOIN judgments AS b USING (sample_id, feature, explanation_id, scorer, epoch, split, window_id)
JOIN explanations AS e USING (explanation_id)
WHERE a.sample_id = $1 AND a.scorer = $2 AND a.epoch = $3 AND a.explainer = $4 AND coalesce(a.explainer_model, '') = $5
    AND e.prompt_version IS NOT DISTINCT FROM nullif($6, '') AND e.repeat = 0
    AND a.judge_model = $7 AND b.judge_model = $8 AND a.control IS NULL AND b.control IS NULL AND a.trial IS NULL
ORDER BY a.feature, window_id
"""
RELIABILITY = """
SELECT icc FROM judge_reliability
WHERE sample_id = ? AND scorer = ? AND explainer = ? AND explainer_model = ? AND judge_model = ? AND metric = 'headline'
"""


def between_judges(a: str, b: str) -> bool:
    """Whether the two sides of a comparison are told apart by their judges."""
    first, second = parse_side(a).wanted, parse_side(b).wanted
    return "judge" in first and "judge" in second and first["judge"] != second["judge"]


def compare_judges(workspace: str | Path, a: str, b: str, *, tau: float = TAU_SHARE) -> pl.DataFrame:
    """One row for each explainer and scorer whose labels both judges scored on the same windows.

    Columns: `n_features` with a headline by both, `mean_a`, `mean_b`; `correlation` of the headlines with its 95 % interval,
    and `disattenuated` by each judge's own repeats (NULL without them); `n_windows` that both graded, and of their yes/no
    answers `flip_rate`, `kappa`, `pabak` with intervals (NULL for scorers that ask in trials). Raise UsageError for sides
    that name no judge, or have no label in common.
    """
    sides = parse_side(a), parse_side(b)
    scores = read_scores(workspace, (HEADLINE,), tau)
    pairs = _pairs(scores, *sides)
    connection = open_snapshot(Workspace(Path(workspace)))
    try:
        rows = [
            _row(
                partial(select, connection),
                dict(zip(SAME, key, strict=True)),
                pair,
                *(side.wanted["judge"] for side in sides),
            )
            for key, pair in pairs.group_by(SAME, maintain_order=True)
        ]
    finally:
        connection.close()
    return pl.DataFrame(rows, infer_schema_length=None).with_columns(pl.selectors.float().fill_nan(None))


def _pairs(scores: pl.DataFrame, a: Side, b: Side) -> pl.DataFrame:
    """Columns SAME, feature, value and value_b: headlines of the same labels by both judges."""
    for side in (a, b):
        if "judge" not in side.wanted:
            raise UsageError(f"{side.text} names no judge; write judge=provider/model on both sides.")
    first, second = (side.rows(scores).select(*SAME, "feature", "value") for side in (a, b))
    both = first.join(second, on=[*SAME, "feature"], how="inner", suffix="_b").sort(*SAME, "feature")
    if both.is_empty():
        raise UsageError(
            f"{a.text} and {b.text} have no label in common that both judges scored on the same windows with the same "
            "scorer and settings. Score the same labels by both: featlas score --model with one, then with the other."
        )
    return both


def _row(ask: Select, same: Mapping[str, Any], pair: pl.DataFrame, judge_a: str, judge_b: str) -> dict[str, Any]:
    group = [same["sample"], same["scorer"], same["explainer"], same["model"]]
    of = [*group[:2], int(same["epoch"]), *group[2:], same["prompt"], judge_a, judge_b]
    said = ask(ANSWERS, of)
    yes = said.select(pl.col("yes_a", "yes_b").cast(pl.Float64).fill_null(float("nan"))).to_numpy()
    windows = agreement(said["feature"].to_numpy(), yes)
    icc = [_icc(ask, [*group, judge]) for judge in (judge_a, judge_b)]
    a, b = (pair[name].cast(pl.Float64).fill_null(float("nan")).to_numpy() for name in ("value", "value_b"))
    headlines = concordance(a, b, icc_a=icc[0], icc_b=icc[1])
    scored = ~(np.isnan(a) | np.isnan(b))
    ranges = {
        "correlation": headlines.correlation,
        "flip_rate": windows.flip_rate,
        "kappa": windows.kappa,
        "pabak": windows.pabak,
    }
    return {
        **{name: same[name] for name in ("scorer", "explainer", "model", "feature_set", "epoch")},
        "judge_a": judge_a,
        "judge_b": judge_b,
        "n_features": headlines.n_features,
        "mean_a": float(a[scored].mean()) if scored.any() else float("nan"),
        "mean_b": float(b[scored].mean()) if scored.any() else float("nan"),
        "disattenuated": headlines.disattenuated,
        "n_windows": windows.n_windows,
        **{f"{name}{end}": limit for name, of in ranges.items() for end, limit in zip(_ENDS, of, strict=True)},
    }


_ENDS = ("", "_low", "_high")


def _icc(ask: Select, group: list[str]) -> float:
    """Reliability of one headline of a judge, from its own repeats; NaN where it was asked once."""
    found = ask(RELIABILITY, list(group))["icc"].drop_nulls()
    return float(found[0]) if len(found) else float("nan")
