"""Metrics at the true base rate of the corpus, and their intervals: precision, F1, IoU, weighted correlation.

They are ratios in which one random false positive can weigh hundreds of positives, so a bootstrap of the items is far
too narrow. Each draw here gives the documents of a part Dirichlet weights, joined by a pseudo-item that is half a grade
of 0 and half a grade of 1: for yes/no answers of distinct documents a part's rate is then Beta(k + 1/2, n - k + 1/2),
the Jeffreys posterior pushed through Bayes at the counted base rate, and grades need no second method.
Positives share one pseudo-item (their five strata weigh alike); every silent part has its own. As a Jeffreys interval
is closed at 0 when nothing succeeded, the upper limit comes from draws in which a silent part without any yes has no
pseudo-item at grade 1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import sparse

from evals.intervals import TAIL, Interval
from evals.items import Float
from evals.strata import ABOVE, N_PARTS, SILENT, Design

Float32 = npt.NDArray[np.float32]


class Rates(NamedTuple):
    """Means over firing (1) and silent (0) windows. All [F], or [F, draws]."""

    yes1: Float
    yes0: Float
    mean1: Float
    mean0: Float
    square1: Float
    square0: Float


def precision(rates: Rates, base: Float) -> Float:
    """PPV at the share `base` of windows that fire; NaN when the judge says yes to none."""
    with np.errstate(invalid="ignore", divide="ignore"):
        value: Float = base * rates.yes1 / (base * rates.yes1 + (1 - base) * rates.yes0)
    return value


def f1(rates: Rates, base: Float) -> Float:
    """NaN where nothing fires and the judge says yes to none."""
    with np.errstate(invalid="ignore"):
        value: Float = 2 * base * rates.yes1 / (base * rates.yes1 + (1 - base) * rates.yes0 + base)
    return value


def iou(rates: Rates, base: Float) -> Float:
    """Intersection over union of the windows called firing and those that fire (Jaccard 1912); NaN where there is neither."""
    with np.errstate(invalid="ignore"):
        value: Float = base * rates.yes1 / ((1 - base) * rates.yes0 + base)
    return value


def weighted_correlation(rates: Rates, base: Float) -> Float:
    """Pearson correlation of grade and firing over all windows; NaN for constant grades."""
    mean = base * rates.mean1 + (1 - base) * rates.mean0
    variance = base * rates.square1 + (1 - base) * rates.square0 - mean**2
    variance = np.where(variance > 1e-10, variance, np.nan)  # that of equal grades is 0 up to rounding
    with np.errstate(invalid="ignore", divide="ignore"):
        value: Float = (rates.mean1 - rates.mean0) * np.sqrt(base * (1 - base) / variance)
    return np.clip(value, -1, 1)


CORPUS_METRICS: dict[str, Callable[[Rates, Float], Float]] = {
    "precision": precision,
    "f1": f1,
    "iou": iou,
    "weighted_correlation": weighted_correlation,
}


@dataclass(frozen=True)
class Noise:
    """Random weights of documents, the same for all features (each feature's interval stands for itself)."""

    documents: Float32  # [N_PARTS, n, draws] exponential: the k-th document of a part
    zero: Float32  # [N_PARTS, draws] gamma(1/2): the pseudo-item's half at grade 0
    one: Float32  # [N_PARTS, draws] gamma(1/2): its half at grade 1


def draw_noise(width: int, *, draws: int, generator: np.random.Generator) -> Noise:
    """Draw the weights. The k-th document's do not depend on `width`, so that a feature's intervals are the same whichever
    features it is scored with."""
    zero, one = (generator.standard_gamma(0.5, (N_PARTS, draws), dtype=np.float32) for _ in range(2))
    documents = generator.standard_exponential((width, N_PARTS, draws), dtype=np.float32)
    return Noise(np.ascontiguousarray(documents.transpose(1, 0, 2)), zero, one)


def corpus_intervals(design: Design, grades: Float, base: Float, noise: Noise) -> dict[str, Interval]:
    """Interval of each of CORPUS_METRICS, by feature. `grades` [m] of the answered items; memory [F, draws]."""
    cautious, hopeful = _draw_rates(design, grades, noise)
    column: Any = base[:, None].astype(np.float32)  # single precision: these arrays are large
    return {
        name: Interval(quantile(metric(cautious, column), TAIL), quantile(metric(hopeful, column), 1 - TAIL))
        for name, metric in CORPUS_METRICS.items()
    }


def quantile(draws: npt.NDArray[np.floating], share: float) -> Float:
    """[F] the limit that `share` of a row's draws stay below, to the safe side; NaN with an undefined draw."""
    last = draws.shape[1] - 1
    place = int(np.floor(share * last)) if share < 0.5 else int(np.ceil(share * last))
    limit = np.partition(draws, [place, last], axis=1)
    return np.where(np.isnan(limit[:, last]), np.nan, limit[:, place]).astype(np.float64)


def _draw_rates(design: Design, grades: Float, noise: Noise) -> tuple[Rates, Rates]:
    """Rates [F, draws] with all pseudo-items, for lower limits, and without unseen false positives, for upper ones."""
    firing, silent = design.share(ABOVE), design.share(SILENT)
    shape = (3, len(firing), noise.zero.shape[1])
    total1 = np.zeros(shape[1:], np.float32)
    mean1, cautious, hopeful = (np.zeros(shape, np.float32) for _ in range(3))
    false = seen_false_positive(design, grades)
    for part in range(N_PARTS):
        share = np.nan_to_num((firing if part in ABOVE else silent)[:, part])[:, None].astype(np.float32)
        if not share.any():
            continue
        count, *values = _weighted_sums(design, grades, noise, part)
        if part in ABOVE:
            total1 += count
            mean1 += share / np.maximum(count, 1e-30) * values
        else:
            one = noise.one[part]
            cautious += share / (count + noise.zero[part] + one) * (np.stack(values) + one)
            one = one * false[:, part, None]
            hopeful += share / (count + noise.zero[part] + one) * (np.stack(values) + one)
    mean1 = (total1 * mean1 + noise.one[0]) / (total1 + noise.zero[0] + noise.one[0])
    return (
        Rates(mean1[0], cautious[0], mean1[1], cautious[1], mean1[2], cautious[2]),
        Rates(mean1[0], hopeful[0], mean1[1], hopeful[1], mean1[2], hopeful[2]),
    )


def seen_false_positive(design: Design, grades: Float) -> Float32:
    """[F, N_PARTS] 1 where a part has a yes."""
    return (design.sums((grades >= 0.5).astype(float)) > 0).astype(np.float32)


def _weighted_sums(design: Design, grades: Float, noise: Noise, part: int) -> list[Float32]:
    """[F, draws] randomly weighted sums over one part: of items, of yes answers, of grades, of squared grades.

    Sparse products add up document by document. Dense ones take paths whose last digits depend on the number of features.
    """
    chosen = design.group_cell % N_PARTS == part
    row, rank = design.group_cell[chosen] // N_PARTS, design.group_rank[chosen]
    width = int(rank.max(initial=0)) + 1
    sums = []
    for values in (np.ones_like(grades), (grades >= 0.5).astype(float), grades, grades**2):
        by_document = np.bincount(design.group, weights=values, minlength=len(design.group_cell))
        of_part = by_document[chosen].astype(np.float32)
        weights = sparse.csr_array((of_part, (row, rank)), shape=(design.shape[0], width))
        sums.append(weights @ noise.documents[part, :width])
    return sums
