"""Two rows of the scoreboard against each other: which features they share, and what a comparison of them says.

The mathematics comes from outside, as functions that the program hands to the application: this package reads what was
measured and computes no statistics of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import polars as pl

from dashboards.score_tables import labels_by
from dashboards.wording import control
from labeling.errors import UsageError

Numbers = np.ndarray[Any, np.dtype[np.float64]]
Row = Mapping[str, Any]
NAMED = ("explainer", "explainer_model", "scorer", "judge_model", "control")
"""What tells one row of the scoreboard from another."""
OTHER_FEATURES = ("random_weights", "random_directions")
"""Controls that are features of another dictionary: nothing pairs them with the true ones."""
LEAST = 2


class NothingToCompare(Exception):
    """Why two rows can't be compared, for the page that offered them."""


class Difference(Protocol):
    """A minus B over features, in units of the metric."""

    @property
    def n_a(self) -> int: ...
    @property
    def n_b(self) -> int: ...
    @property
    def mean_a(self) -> float: ...
    @property
    def mean_b(self) -> float: ...
    @property
    def difference(self) -> float: ...
    @property
    def low(self) -> float: ...
    @property
    def high(self) -> float: ...
    @property
    def p(self) -> float: ...
    @property
    def win_rate(self) -> float: ...


@dataclass(frozen=True)
class Comparer:
    """How scores are compared: of the same features, and of different ones."""

    paired: Callable[[Numbers, Numbers], Difference]
    unpaired: Callable[[Numbers, Numbers], Difference]


@dataclass(frozen=True)
class Compared:
    """Two rows by one metric. `only_a` and `only_b` are features that only one of them has a value for."""

    metric: str
    a: Row
    b: Row
    paired: bool
    found: Difference
    only_a: int
    only_b: int

    @property
    def warning(self) -> str | None:
        """What makes the difference one of something else than the labels."""
        if not same_judge(self.a, self.b):
            return "Graded by different judges: this compares the judges as well as the labels."
        return None


def row_key(row: Row) -> str:
    """A row's name in an address."""
    return "~".join(str(row[name] or "") for name in NAMED)


def row_title(row: Row) -> str:
    """A row's name for people."""
    made = f"{labels_by(row)} / {row['scorer']}"
    models = ", ".join(row[name] for name in ("explainer_model", "judge_model") if row[name])
    return f"{made}{f' ({models})' if models else ''}: {control(row['control']).title.lower()}"


def find_row(rows: Mapping[str, Row], key: str, name: str) -> Row:
    """The row with a key. Raise UsageError for an unknown one."""
    if key not in rows:
        raise UsageError(
            f"{name} must name a row of the scoreboard, such as {next(iter(rows), 'none')!r}, not {key!r}."
        )
    return rows[key]


def same_judge(a: Row, b: Row) -> bool:
    return (a["scorer"], a["judge_model"]) == (b["scorer"], b["judge_model"])


def compare_rows(comparer: Comparer, metric: str, a: tuple[Row, pl.DataFrame], b: tuple[Row, pl.DataFrame]) -> Compared:
    """Compare two rows with their features' values (columns sample_id, feature, value) by one metric.

    Paired where the features are the same ones. Raise NothingToCompare where there is nothing to compare.
    """
    (row_a, values_a), (row_b, values_b) = a, b
    _check(row_a, row_b, metric)
    paired = (row_a["control"] in OTHER_FEATURES) == (row_b["control"] in OTHER_FEATURES)
    both = values_a.join(values_b, on=("sample_id", "feature"), suffix="_b") if paired else None
    first, second = (values_a["value"], values_b["value"]) if both is None else (both["value"], both["value_b"])
    if min(len(first), len(second)) < LEAST:
        raise NothingToCompare(
            f"{len(first)} and {len(second)} features have a value of {metric} to compare; at least {LEAST} are needed on "
            "each side."
        )
    compare = comparer.unpaired if both is None else comparer.paired
    alone = (0, 0) if both is None else (len(values_a) - len(both), len(values_b) - len(both))
    found = compare(first.to_numpy(), second.to_numpy())
    return Compared(metric, row_a, row_b, paired, found, *alone)


def _check(a: Row, b: Row, metric: str) -> None:
    """Raise NothingToCompare for two times the same row, and for headlines that are different metrics."""
    if row_key(a) == row_key(b):
        raise NothingToCompare("Both sides of the comparison are the same row. Choose two.")
    if metric == "headline" and a.get("headline_of") != b.get("headline_of"):
        raise NothingToCompare(
            f"The headline of {a['scorer']} and that of {b['scorer']} are different metrics, and compare with nothing else. "
            "Choose a metric that both have."
        )
