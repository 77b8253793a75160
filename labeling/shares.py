"""How much to take from each of several piles, as evenly as they allow. Knows no windows and no features."""

from __future__ import annotations

import numpy as np

from labeling.types import IntArray


def share_out(available: IntArray, total: int) -> IntArray:
    """Divide `total` over the columns of [f, h] as evenly as what is available allows."""
    given = np.zeros_like(available)
    for _ in range(total):
        open_ = given < available
        least = np.where(open_, given, np.iinfo(np.int64).max)
        column = least.argmin(1)
        rows = np.flatnonzero(open_.any(1))
        given[rows, column[rows]] += 1
    return given
