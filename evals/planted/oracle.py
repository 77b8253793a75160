"""What a label is really worth: the values that scores estimate, computed over the whole population.

The graded balanced accuracies and AUROCs use the strata of the ordinary pipeline, all of their windows, with hard
sources counting alike as they do there; F1, MCC and AP compare a label's extension with the windows that fire at the
corpus's own base rate.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

from evals.planted.extents import BoolArray
from evals.planted.population import FIRING_CODES, HARD_CODES, RANDOM_CODE, Population

ORACLE_METRICS = ("balanced_hard", "balanced_random", "auroc_hard", "auroc_random")
Grades = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Agreement:
    """How well a label's extension fits the windows that fire, at base rate. NaN where it is not defined."""

    f1: float
    mcc: float
    average_precision: float


def agreement(fires: BoolArray, covered: BoolArray) -> Agreement:
    """F1, Matthews' correlation and average precision of a yes/no label over all windows [W].

    AP of two grades: precision x recall of the covered windows, and the base rate for the rest of the recall.
    """
    n = len(fires)
    hits, said, firing = int((fires & covered).sum()), int(covered.sum()), int(fires.sum())
    if firing in (0, n):
        return Agreement(float("nan"), float("nan"), float("nan"))
    precision, recall, base = hits / said if said else 0.0, hits / firing, firing / n
    scale = np.sqrt(float(said) * (n - said) * firing * (n - firing))
    return Agreement(
        f1=2 * hits / (said + firing),
        mcc=float((hits * n - said * firing) / scale) if scale else 0.0,
        average_precision=precision * recall + base * (1 - recall),
    )


def oracle_values(population: Population, feature: int, grades: Grades) -> dict[str, float]:
    """The four values of ORACLE_METRICS from grades 0-1 of all windows [W]; NaN where a side has no window."""
    firing = grades[population.rows(feature, FIRING_CODES)]
    values = {}
    for side, codes in {"hard": HARD_CODES, "random": (RANDOM_CODE,)}.items():
        sources = [grades[rows] for code in codes if len(rows := population.rows(feature, (code,)))]
        for name, measure in {"balanced": _balanced, "auroc": auroc}.items():
            found = [measure(firing, source) for source in sources]
            values[f"{name}_{side}"] = float(np.mean(found)) if found else float("nan")
    return values


def auroc(firing: Grades, silent: Grades) -> float:
    """Chance that a firing window has the higher grade; ties count half. NaN where a side is empty."""
    if not len(firing) or not len(silent):
        return float("nan")
    ranks = rankdata(np.concatenate([firing, silent]))[: len(firing)]
    return float((ranks.mean() - (len(firing) + 1) / 2) / len(silent))


def _balanced(firing: Grades, silent: Grades) -> float:
    if not len(firing) or not len(silent):
        return float("nan")
    return float((firing.mean() + 1 - silent.mean()) / 2)
