from __future__ import annotations

import math
from itertools import pairwise

import numpy as np

from evals.planted.coverage import EDGES, coverage_by_bin


def test_coverage_is_counted_in_the_bin_of_the_true_value() -> None:
    oracle = np.array([0.5, 0.5, 0.6, 1.0, np.nan])
    low = np.array([0.4, 0.6, 0.5, 0.9, 0.0])
    high = np.array([0.6, 0.7, 0.7, 1.0, 1.0])
    found = coverage_by_bin(low, high, oracle)
    assert [c.n for c in found] == [2, 1, 0, 0, 1]
    assert [c.covered for c in found][:2] == [0.5, 1.0]
    assert math.isnan(found[2].covered)
    assert found[4].covered == 1.0
    assert [(c.low, c.high) for c in found] == list(pairwise(EDGES))


def test_intervals_without_width_are_counted() -> None:
    found = coverage_by_bin(np.array([0.6, 0.6]), np.array([0.6, 0.7]), np.array([0.6, 0.65]))
    assert sum(c.zero_width for c in found) == 1


def test_an_end_that_touches_the_value_covers_it() -> None:
    (found,) = [c for c in coverage_by_bin(np.array([0.1 + 0.2]), np.array([0.4]), np.array([0.3])) if c.n]
    assert found.covered == 1.0
