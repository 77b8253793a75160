"""What is known of every window of the `score` split: what each feature does there, and what each label claims.

A run knows this of sampled windows only; the benchmark knows all, so the value that a sample estimates can be computed.
Plain arrays; where they come from is the business of `flows`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt

from evals.planted.extents import BoolArray
from labeling.types import HARD, QUANTILES, STRATA, FloatArray, IntArray, Windows

FIRING_CODES = tuple(STRATA.index(name) for name in QUANTILES)
HARD_CODES = tuple(STRATA.index(name) for name in HARD)
RANDOM_CODE = STRATA.index("random")


@dataclass(frozen=True, eq=False)
class Population:
    """All `W` windows of a split for the `F` features of one feature set."""

    windows: Windows
    activation: FloatArray  # [F, W] largest raw activation of the window; 0 where silent
    stratum: npt.NDArray[np.int8]  # [F, W] index into STRATA
    tau: FloatArray  # [F] raw activation above which a window fires

    def rows(self, feature: int, codes: tuple[int, ...]) -> IntArray:
        """Windows of a feature that stand in one of the strata."""
        return np.flatnonzero(np.isin(self.stratum[feature], codes))

    @cached_property
    def fires(self) -> BoolArray:
        """[F, W]"""
        fires: BoolArray = self.activation > self.tau[:, None]
        return fires


@dataclass(frozen=True, eq=False)
class Meaning:
    """What a label says about each window, and what a reader would find related to it."""

    covered: BoolArray  # [W]
    related: BoolArray  # [W] not covered, but of the label's family: its parent or a sibling holds there
    hedged: bool = False
    """Whether the label says that it is not sure."""


@dataclass(frozen=True, eq=False)
class Knowledge:
    """Every label's meaning, and every window by its text."""

    windows: Windows
    meanings: Mapping[str, Meaning]
    _rows: Mapping[str, int] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_rows", {text: row for row, text in reversed(list(enumerate(self.windows.text)))})

    def rows_of(self, texts: Iterable[str]) -> IntArray:
        """Windows by their texts; of equal ones the first. Raise KeyError for a text that no window has."""
        return np.array([self._rows[text] for text in texts], np.int64)
