"""How well scores tell true labels from nearly true ones: rank accuracy, pooled AUROC, correlation with the oracle.

Scores are arrays [F, S]: features by labels, the first three the wordings of the true label, the others one a kind.
NaN is unscored and counts for nothing; a feature or kind without any pair has no value.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.stats import spearmanr

from evals.planted.concepts import PARAPHRASES, Kind
from evals.planted.extents import BoolArray
from evals.planted.oracle import auroc

Scores = npt.NDArray[np.float64]
OTHERS: tuple[Kind, ...] = (
    "broad",
    "narrow",
    "sibling",
    "trap",
    "context_dropped",
    "unrelated",
    "generic",
    "hedged",
    "truncated",
)
_TRUE: tuple[Kind, ...] = ("true",)
KINDS: tuple[Kind, ...] = _TRUE * PARAPHRASES + OTHERS
"""Kind of the label in each of the S columns."""
NEAR_MISSES: tuple[Kind, ...] = ("broad", "narrow", "sibling", "trap")
FAR_MISSES: tuple[Kind, ...] = ("unrelated", "generic")
SAME_MCC = 0.97
"""A label whose windows agree with those of the true one to this Matthews correlation is no other label there."""


def column(kind: Kind) -> int:
    """Column of a kind; of the true label, its first wording."""
    return KINDS.index(kind)


def rank_accuracy(scores: Scores, compared: BoolArray, kind: Kind) -> float:
    """Chance that a true label scores above the label of a kind, ties half; over features and wordings.

    `compared` [F, S] says which labels of which features are other labels at all.
    """
    wins = pair_wins(scores, compared, kind)
    known = wins[~np.isnan(wins)]
    return float(known.mean()) if len(known) else float("nan")


def lowest_rank_accuracy(scores: Scores, compared: BoolArray, kinds: tuple[Kind, ...] = NEAR_MISSES) -> float:
    """The lowest over some kinds; kinds without a pair don't count."""
    found = [rank_accuracy(scores, compared, kind) for kind in kinds]
    return min((value for value in found if not np.isnan(value)), default=float("nan"))


def pair_wins(scores: Scores, compared: BoolArray, kind: Kind) -> Scores:
    """[F, wordings] 1 where the true label scores above, 0.5 at a tie, 0 below, NaN where there is no pair."""
    true, other = scores[:, :PARAPHRASES], scores[:, column(kind), None]
    wins = np.where(true > other, 1.0, np.where(true == other, 0.5, 0.0))
    exists = compared[:, column(kind), None] & ~np.isnan(true) & ~np.isnan(other)
    return np.where(exists, wins, np.nan)


def pooled_auroc(
    scores: Scores, compared: BoolArray, kinds: tuple[Kind, ...] = (*NEAR_MISSES, "context_dropped")
) -> float:
    """AUROC of true labels against near-misses over all features at once: are scores comparable between features?"""
    true = scores[:, :PARAPHRASES].ravel()
    others = np.concatenate([scores[compared[:, column(kind)], column(kind)] for kind in kinds])
    return auroc(true[~np.isnan(true)], others[~np.isnan(others)])


def oracle_correlation(scores: Scores, mcc: Scores) -> float:
    """Mean over features of Spearman's correlation between their labels' scores and what the labels are worth (MCC)."""
    found = []
    for own, worth in zip(scores, mcc, strict=True):
        known = ~np.isnan(own) & ~np.isnan(worth)
        if known.sum() >= 4 and np.ptp(own[known]) > 0 and np.ptp(worth[known]) > 0:
            found.append(float(spearmanr(own[known], worth[known]).statistic))
    return float(np.mean(found)) if found else float("nan")


def oracle_line(scores: Scores, mcc: Scores) -> tuple[float, float]:
    """Slope and intercept of scores on what labels are worth, over all labels of all features."""
    known = ~np.isnan(scores) & ~np.isnan(mcc)
    if known.sum() < 3 or np.ptp(mcc[known]) == 0:
        return float("nan"), float("nan")
    slope, intercept = np.polyfit(mcc[known], scores[known], 1)
    return float(slope), float(intercept)


def spread_over_wordings(scores: Scores) -> float:
    """Mean over features of the standard deviation between the wordings of the true label."""
    known = ~np.isnan(scores[:, :PARAPHRASES]).any(axis=1)
    return float(scores[known, :PARAPHRASES].std(axis=1, ddof=1).mean()) if known.any() else float("nan")
