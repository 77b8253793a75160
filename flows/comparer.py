"""What the dashboard compares rows of the scoreboard with. Loaded when it is asked first: the mathematics takes a second."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from dashboards.comparing import Comparer

if TYPE_CHECKING:
    from evals.comparison import Difference

Numbers = np.ndarray[Any, np.dtype[np.float64]]
SEED = 0
"""The same rows give the same interval every time."""


def comparer() -> Comparer:
    """The comparisons of `featlas compare`."""
    return Comparer(paired=_paired, unpaired=_unpaired)


def _paired(a: Numbers, b: Numbers) -> Difference:
    from evals.comparison import compare_paired

    return compare_paired(a, b, generator=np.random.default_rng(SEED))


def _unpaired(a: Numbers, b: Numbers) -> Difference:
    from evals.comparison import compare_unpaired

    return compare_unpaired(a, b, generator=np.random.default_rng(SEED))
