from __future__ import annotations

import numpy as np
import pytest

from evals.planted.population import Knowledge, Population
from labeling.types import STRATA
from tests.builders import windows_of

WINDOWS = windows_of(["a"], ["b"], ["a"])


def test_windows_are_found_by_their_text_and_of_equal_ones_the_first() -> None:
    known = Knowledge(WINDOWS, {})
    assert known.rows_of(["b", "a"]).tolist() == [1, 0]
    with pytest.raises(KeyError):
        known.rows_of(["c"])


def test_a_window_fires_above_tau_and_strata_give_their_rows() -> None:
    codes = [STRATA.index(name) for name in ("q1", "grey", "random")]
    found = Population(
        WINDOWS, np.array([[1.0, 0.5, 0]], np.float32), np.array([codes], np.int8), np.array([0.5], np.float32)
    )
    assert found.fires.tolist() == [[True, False, False]]
    assert found.rows(0, (STRATA.index("random"),)).tolist() == [2]
