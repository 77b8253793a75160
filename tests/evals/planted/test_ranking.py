from __future__ import annotations

import math

import numpy as np
import pytest

from evals.planted.ranking import (
    KINDS,
    column,
    lowest_rank_accuracy,
    oracle_correlation,
    oracle_line,
    pooled_auroc,
    rank_accuracy,
    spread_over_wordings,
)


def scores(true: tuple[float, float, float], **others: float) -> np.ndarray:
    """One feature; kinds that are not named have no score."""
    row = np.full(len(KINDS), np.nan)
    row[:3] = true
    for kind, value in others.items():
        row[column(kind)] = value  # type: ignore[arg-type]
    return row[None]


EVERY = np.ones((1, len(KINDS)), bool)


def test_columns_are_three_wordings_and_one_of_each_other_kind() -> None:
    assert KINDS[:4] == ("true", "true", "true", "broad")
    assert len(KINDS) == 12
    assert (column("true"), column("broad")) == (0, 3)


def test_rank_accuracy_is_the_mean_over_wordings_and_ties_count_half() -> None:
    assert rank_accuracy(scores((0.9, 0.6, 0.5), broad=0.6), EVERY, "broad") == pytest.approx(0.5)


def test_what_is_unscored_or_not_compared_makes_no_pair() -> None:
    own = scores((0.9, math.nan, 0.5), broad=0.6)
    assert rank_accuracy(own, EVERY, "broad") == 0.5
    assert math.isnan(rank_accuracy(own, EVERY, "narrow"))
    assert math.isnan(rank_accuracy(own, ~EVERY, "broad"))


def test_pooled_auroc_compares_over_features() -> None:
    both = np.concatenate([scores((0.9, 0.9, 0.9), broad=0.8), scores((0.7, 0.7, 0.7), broad=0.1)])
    assert rank_accuracy(both, np.ones(both.shape, bool), "broad") == 1.0
    assert pooled_auroc(both, np.ones(both.shape, bool)) == 0.75


def test_the_correlation_with_the_oracle_is_within_features() -> None:
    own = scores((0.9, 0.9, 0.9), broad=0.8, narrow=0.6)
    mcc = scores((1.0, 1.0, 1.0), broad=0.5, narrow=0.2)
    assert oracle_correlation(own, mcc) == pytest.approx(1.0)
    assert oracle_correlation(own, 1 - mcc) == pytest.approx(-1.0)
    assert math.isnan(oracle_correlation(own, np.full(mcc.shape, np.nan)))


def test_the_line_on_the_oracle_has_its_slope_and_intercept() -> None:
    mcc = scores((1.0, 0.9, 0.8), broad=0.5, narrow=0.2)
    slope, intercept = oracle_line(0.5 + 0.4 * mcc, mcc)
    assert [slope, intercept] == pytest.approx([0.4, 0.5])


def test_the_spread_over_wordings_is_their_standard_deviation() -> None:
    assert spread_over_wordings(scores((0.5, 0.6, 0.7))) == pytest.approx(0.1)


def test_the_lowest_rank_accuracy_leaves_out_kinds_without_a_pair() -> None:
    own = scores((0.9, 0.9, 0.9), broad=0.8, narrow=0.95)
    assert lowest_rank_accuracy(own, EVERY) == 0.0
    assert lowest_rank_accuracy(own, EVERY, ("broad", "trap")) == 1.0
    assert math.isnan(lowest_rank_accuracy(own, EVERY, ("trap",)))
