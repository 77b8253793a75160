"""What `featlas compare` compares: `explainer=top_and_random,model=openai/MODEL` to the scores it stands for.

A side is a few `key=value` pairs. Everything that is not named is left open, and what stays open must then be the same
on both sides, or there is no comparison. It knows scores as a frame, and no statistics.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import polars as pl

from labeling.errors import UsageError, unknown_name

LABELER = ("explainer", "model", "prompt", "parameters")
"""Who wrote labels: explainer, its language model, its prompt and its parameters."""
JUDGED_BY = ("scorer", "scorer_parameters", "judge", "epoch")
PLACE = ("feature_set", "sample")
"""Which windows: those of the sample."""
KEYS = ("explainer", "model", "prompt", "feature_set", "sample", "scorer", "judge", "epoch", "run")
"""What a side may name."""


@dataclass(frozen=True)
class Side:
    """One side as it was written."""

    text: str
    wanted: dict[str, str]

    def rows(self, scores: pl.DataFrame) -> pl.DataFrame:
        """Its scores. Raise UsageError that lists the known values when there are none.

        What is not named is the newest sample of each feature set that is no random-weights control, in epoch 0.
        """
        rows = scores
        for key, value in self.wanted.items():
            known = rows[key].unique().sort().to_list()
            if value not in known:
                raise UsageError(f"{self.text}: no scores have {key} {value!r}. Known: {_listed(known)}.")
            rows = rows.filter(pl.col(key) == value)
        if not {"feature_set", "sample", "run"} & self.wanted.keys():
            rows = _unless_empty(rows, pl.col("control_for").is_null())
        if not {"sample", "run"} & self.wanted.keys():
            rows = _unless_empty(rows, pl.col("newest"))
        if "epoch" not in self.wanted:
            rows = _unless_empty(rows, pl.col("epoch") == "0")
        return rows


def parse_side(text: str) -> Side:
    """Read `key=value,key=value`. Raise UsageError that says how a side is written."""
    wanted: dict[str, str] = {}
    for part in text.split(","):
        key, separator, value = (piece.strip() for piece in part.partition("="))
        if not separator or not value:
            raise UsageError(
                f"{text!r} names no side of a comparison; write key=value, several with commas between, such as "
                f"explainer=token_pattern or feature_set=NAME,scorer=detection. Keys: {', '.join(KEYS)}."
            )
        if key not in KEYS:
            raise unknown_name("key of a comparison", key, KEYS)
        wanted[key] = value
    return Side(text, wanted)


@dataclass(frozen=True)
class Contrast:
    """Scores of the two sides by one judge, with all metrics asked for: on the same windows, or of different features."""

    paired: bool
    judged_by: dict[str, str]
    a: pl.DataFrame
    b: pl.DataFrame


def find_contrasts(scores: pl.DataFrame, a: Side, b: Side) -> list[Contrast]:
    """Pair up what the sides have by the same judge, on the same windows where there are any.

    Raise UsageError when there is nothing comparable (saying what differs), when a side is several things at once, or
    when both are the same labels.
    """
    rows_a, rows_b = a.rows(scores), b.rows(scores)
    same_windows = _keys(rows_a, (*PLACE, *JUDGED_BY)) & _keys(rows_b, (*PLACE, *JUDGED_BY))
    if same_windows:
        return [_contrast(a, b, rows_a, rows_b, (*PLACE, *JUDGED_BY), key, paired=True) for key in sorted(same_windows)]
    sets_a, sets_b = _keys(rows_a, ("feature_set",)), _keys(rows_b, ("feature_set",))
    same_judge = _keys(rows_a, JUDGED_BY) & _keys(rows_b, JUDGED_BY)
    if sets_a & sets_b or not same_judge:
        raise UsageError(_what_differs(a, b, rows_a, rows_b))
    return [_contrast(a, b, rows_a, rows_b, JUDGED_BY, key, paired=False) for key in sorted(same_judge)]


def _contrast(
    a: Side,
    b: Side,
    rows_a: pl.DataFrame,
    rows_b: pl.DataFrame,
    names: Sequence[str],
    key: tuple[str, ...],
    *,
    paired: bool,
) -> Contrast:
    judged_by = dict(zip(names, key, strict=True))
    chosen = pl.all_horizontal(pl.col(name) == value for name, value in judged_by.items())
    some_a, some_b = rows_a.filter(chosen), rows_b.filter(chosen)
    identity = LABELER if paired else (*PLACE, *LABELER)
    for side, rows in ((a, some_a), (b, some_b)):
        _check_one(side, rows, identity)
    if paired and some_a.select(LABELER).row(0) == some_b.select(LABELER).row(0):
        raise UsageError(
            f"{a.text} and {b.text} are the same labels on the same windows by the same judge; there is nothing to "
            f"compare. Name another {', '.join(KEYS[:4])} on one side."
        )
    return Contrast(paired, judged_by, some_a, some_b)


def _check_one(side: Side, rows: pl.DataFrame, identity: Sequence[str]) -> None:
    """Raise UsageError when a side stands for several ways of labeling at once."""
    open_keys = [name for name in identity if rows[name].n_unique() > 1]
    if open_keys:
        values = "; ".join(f"{name}: {_listed(rows[name].unique().sort().to_list())}" for name in open_keys)
        named = [name for name in open_keys if name in KEYS] or ["run"]
        raise UsageError(
            f"{side.text} is several things at once, {values}. Add one to it, such as "
            f"{side.text},{named[0]}={rows[named[0]][0]}."
        )


def _what_differs(a: Side, b: Side, rows_a: pl.DataFrame, rows_b: pl.DataFrame) -> str:
    differing = []
    for name in (*PLACE, *JUDGED_BY):
        here, there = (rows[name].unique().sort().to_list() for rows in (rows_a, rows_b))
        if not set(here) & set(there):
            differing.append(f"{name} is {_listed(here)} for {a.text}, and {_listed(there)} for {b.text}")
    said = "; ".join(differing) or "no judge has judged both on the same windows"
    return (
        f"{a.text} and {b.text} can't be compared: {said}. Scores compare only on the same windows, by the same scorer and "
        "judge, in the same epoch; dictionaries, whose features differ, by the same scorer and judge. Score both the same "
        "way first."
    )


def _keys(rows: pl.DataFrame, names: Sequence[str]) -> set[tuple[str, ...]]:
    return set(rows.select(names).unique().iter_rows())


def _unless_empty(rows: pl.DataFrame, kept: pl.Expr) -> pl.DataFrame:
    filtered = rows.filter(kept)
    return filtered if len(filtered) else rows


def _listed(values: Iterable[str]) -> str:
    return ", ".join(value or "none" for value in values)
