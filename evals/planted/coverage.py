"""How often intervals hold the value that they are for, by bin of that value, and whether any has no width."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.float64]
EDGES = (0.0, 0.55, 0.7, 0.85, 0.95, 1.0)
"""Of the five bins; each holds its lower edge, the last one both. Balanced scores below 0.5 are rare."""
ROUNDING = 1e-9


@dataclass(frozen=True)
class Coverage:
    """Of all intervals whose true value lies in a bin."""

    low: float
    high: float
    n: int
    covered: float
    """Share of the intervals that hold the value; NaN where there is none."""
    zero_width: int


def coverage_by_bin(low: Values, high: Values, oracle: Values) -> list[Coverage]:
    """Coverage in each bin. Entries without interval or value are left out."""
    known = ~np.isnan(low) & ~np.isnan(high) & ~np.isnan(oracle)
    low, high, oracle = low[known], high[known], oracle[known]
    bins = np.clip(np.searchsorted(EDGES, oracle + ROUNDING, side="right") - 1, 0, len(EDGES) - 2)
    held = (low <= oracle + ROUNDING) & (oracle - ROUNDING <= high)
    return [
        Coverage(
            low=EDGES[b],
            high=EDGES[b + 1],
            n=int((bins == b).sum()),
            covered=float(held[bins == b].mean()) if (bins == b).any() else float("nan"),
            zero_width=int(((high - low)[bins == b] <= ROUNDING).sum()),
        )
        for b in range(len(EDGES) - 1)
    ]
