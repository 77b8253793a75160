"""Judged items of many features as padded arrays: the one input of every metric.

Rows are features, columns are items (a window judged for the feature), short rows are padded on the right. This file
knows neither tables nor metrics; `flows` turns judgments into `Items` with `pack`.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from labeling.types import STRATA

Float = npt.NDArray[np.float64]
Int = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]

MAX_DOCUMENT = 2**31 - 1
_PER_ITEM = ("probability", "activation", "stratum", "population", "document", "panel")


@dataclass(frozen=True)
class Items:
    """`F` features with up to `n` items each. Raise ValueError when shapes or codes do not fit.

    A panel item is a uniform draw from all windows of the split. It carries the stratum it falls into for the feature
    and counts there like an item drawn from that stratum.
    """

    probability: Float  # [F, n] grade as a probability 0-1 (raw number before calibration); NaN = lost
    activation: Float  # [F, n] raw, largest of the window
    stratum: npt.NDArray[np.int8]  # [F, n] index into STRATA; -1 = padding
    population: Int  # [F, n] windows in the item's stratum, the same for all items of a feature's stratum
    document: Int  # [F, n] code 0 .. 2**31 - 1, the same code for the same document in all features; -1 = padding
    panel: Bool  # [F, n] the item comes from the shared random panel
    tau: Float  # [F] raw activation above which a window fires
    tau25: Float  # [F] raw activation, the edge at or below 25 % of the maximum
    firing_windows: Int  # [F] windows of the split above tau
    firing_windows25: Int  # [F] windows of the split above tau25
    n_windows: Int  # [F] windows of the split

    def __post_init__(self) -> None:
        shape = self.stratum.shape
        for name in (f.name for f in fields(self)):
            expected = shape if name in _PER_ITEM else shape[:1]
            if getattr(self, name).shape != expected:
                raise ValueError(f"items.{name} has shape {getattr(self, name).shape}, not {expected}")
        real = self.stratum >= 0
        if real.any() and int(self.stratum.max()) >= len(STRATA):
            raise ValueError(f"stratum code {int(self.stratum.max())} is not an index into {len(STRATA)} strata")
        documents = self.document[real]
        if documents.size and not 0 <= int(documents.min()) <= int(documents.max()) <= MAX_DOCUMENT:
            raise ValueError(f"document codes must be 0 to {MAX_DOCUMENT}; renumber the documents")
        if (self.population[real] < 1).any():
            raise ValueError("an item stands in a stratum whose population is below 1")

    def __len__(self) -> int:
        return int(self.stratum.shape[0])

    @property
    def width(self) -> int:
        return int(self.stratum.shape[1])

    @property
    def answered(self) -> Bool:
        """[F, n] real items that have a grade."""
        answered: Bool = (self.stratum >= 0) & ~np.isnan(self.probability)
        return answered

    def take(self, rows: slice | npt.NDArray[Any]) -> Items:
        """Items of some features."""
        return Items(**{f.name: getattr(self, f.name)[rows] for f in fields(self)})

    def with_probability(self, probability: Float) -> Items:
        """The same items with other grades: calibrated ones, or those of another label."""
        return replace(self, probability=probability)


def pack(
    row: Int,
    *,
    probability: npt.NDArray[Any],
    activation: npt.NDArray[Any],
    stratum: npt.NDArray[Any],
    population: npt.NDArray[Any],
    document: npt.NDArray[Any],
    panel: npt.NDArray[Any],
    tau: npt.NDArray[Any],
    tau25: npt.NDArray[Any],
    firing_windows: npt.NDArray[Any],
    firing_windows25: npt.NDArray[Any],
    n_windows: npt.NDArray[Any],
) -> Items:
    """Make padded arrays from one entry an item (`row` = feature's position 0 .. F-1) and one entry a feature."""
    n_features = len(tau)
    order = np.argsort(row, kind="stable")
    counts = np.bincount(row, minlength=n_features)
    width = int(counts.max()) if len(row) else 0
    sorted_row = row[order]
    column = np.arange(len(row)) - (np.cumsum(counts) - counts)[sorted_row]

    def padded(values: npt.NDArray[Any], fill: float, dtype: npt.DTypeLike) -> npt.NDArray[Any]:
        out = np.full((n_features, width), fill, dtype=dtype)
        out[sorted_row, column] = np.asarray(values)[order]
        return out

    return Items(
        probability=padded(probability, np.nan, np.float64),
        activation=padded(activation, 0.0, np.float64),
        stratum=padded(stratum, -1, np.int8),
        population=padded(population, 0, np.int64),
        document=padded(document, -1, np.int64),
        panel=padded(panel, False, np.bool_),
        tau=np.asarray(tau, np.float64),
        tau25=np.asarray(tau25, np.float64),
        firing_windows=np.asarray(firing_windows, np.int64),
        firing_windows25=np.asarray(firing_windows25, np.int64),
        n_windows=np.asarray(n_windows, np.int64),
    )
