"""Oracle values by hand: eight windows, two fire, two are hard, four random."""

from __future__ import annotations

import math

import numpy as np
import pytest

from evals.planted.oracle import agreement, auroc, oracle_values
from evals.planted.population import Population
from labeling.types import STRATA
from tests.builders import windows_of

STRATUM = ["q1", "q5", "hard_token", "hard_text", "random", "random", "random", "random"]
FIRES = np.array([True, True, False, False, False, False, False, False])


def population() -> Population:
    return Population(
        windows=windows_of(*([str(i)] for i in range(8))),
        activation=np.where(FIRES, 1.0, 0.0)[None].astype(np.float32),
        stratum=np.array([[STRATA.index(name) for name in STRATUM]], np.int8),
        tau=np.array([0.01], np.float32),
    )


def test_agreement_of_a_label_that_covers_one_of_two_and_one_other() -> None:
    covered = np.array([True, False, True, False, False, False, False, False])
    found = agreement(FIRES, covered)
    # hits 1, said 2, firing 2, n 8: precision = recall = 1/2; MCC = (8*1 - 2*2) / sqrt(2*6*2*6) = 4/12
    assert found.f1 == 0.5
    assert found.mcc == pytest.approx(1 / 3)
    assert found.average_precision == pytest.approx(0.5 * 0.5 + 0.25 * 0.5)


def test_agreement_at_the_ends() -> None:
    everywhere = np.ones(8, bool)
    assert agreement(FIRES, FIRES).mcc == 1.0
    assert agreement(FIRES, everywhere).mcc == 0.0
    assert agreement(FIRES, everywhere).average_precision == 0.25
    assert agreement(FIRES, ~everywhere) == agreement(FIRES, ~everywhere)
    assert (agreement(FIRES, ~everywhere).f1, agreement(FIRES, ~everywhere).mcc) == (0.0, 0.0)
    assert math.isnan(agreement(~everywhere, FIRES).mcc)


def test_balanced_values_and_aurocs_use_the_strata_of_the_population() -> None:
    grades = np.array([1.0, 0.5, 0.5, 0.0, 0.0, 0.0, 0.0, 1.0])
    found = oracle_values(population(), 0, grades)
    assert found["balanced_hard"] == pytest.approx((0.75 + 1 - 0.25) / 2)
    assert found["balanced_random"] == pytest.approx((0.75 + 1 - 0.25) / 2)
    # of 4 pairs with hard windows 3 are right and 1 is a tie; of 8 with random ones 6 right, 1 tie (1.0), 1 wrong
    assert found["auroc_hard"] == pytest.approx(3.5 / 4)
    assert found["auroc_random"] == pytest.approx(6.5 / 8)


def test_sources_of_hard_windows_count_alike_however_many_windows_they_have() -> None:
    more = population()
    more.stratum[0, 4:6] = STRATA.index("hard_text")
    found = oracle_values(more, 0, np.array([1.0, 1.0, 0.6, 0.0, 0.0, 0.0, 0.0, 0.0]))
    assert found["balanced_hard"] == pytest.approx((1 + 1 - 0.3) / 2)
    assert found["auroc_hard"] == 1.0


def test_a_side_without_windows_has_no_value() -> None:
    assert math.isnan(auroc(np.zeros(0), np.ones(2)))
    only = population()
    empty = Population(only.windows, only.activation, np.full((1, 8), STRATA.index("random"), np.int8), only.tau)
    assert math.isnan(oracle_values(empty, 0, np.zeros(8))["balanced_random"])
