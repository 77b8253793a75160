"""Bins of activation: eight an octave, by comparison with fixed edges; and how many entries fall into each, row by row.

It does not know what is counted. The bins of a feature are held relative to that of its maximum: the last one,
HISTOGRAM_BINS - 1, is the maximum's, and the first also holds everything below it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np
import torch

BINS_PER_OCTAVE = 8
HISTOGRAM_BINS = 64
"""Eight octaves below a feature's maximum, so 1 % of the maximum (6.6 octaves below) is always resolved."""
LOWEST_BIN, HIGHEST_BIN = -24 * BINS_PER_OCTAVE, 24 * BINS_PER_OCTAVE
_NARROW = 1 << 16


def bin_edges() -> torch.Tensor:
    """Lower edges of all histogram bins: float32, edge i belongs to bin `LOWEST_BIN + i`."""
    exponents = torch.arange(LOWEST_BIN, HIGHEST_BIN + 1, dtype=torch.float64) / BINS_PER_OCTAVE
    return torch.exp2(exponents).to(torch.float32)


@cache
def _edges(device: torch.device) -> torch.Tensor:
    return bin_edges().to(device)


def bin_of(value: torch.Tensor) -> torch.Tensor:
    """Bin of each activation: `value` lies above the bin's lower edge and not above the next one.

    By comparison with the edges, never by a logarithm: so "value > edge" and "bin >= the edge's bin" always agree.
    """
    index = torch.bucketize(value, _edges(value.device)) - 1
    return index.clamp_(min=0).add_(LOWEST_BIN)


def edge_at_or_below(value: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The largest bin edge at or below each value, and the bin that starts there."""
    edges = _edges(value.device)
    index = (torch.bucketize(value, edges, right=True) - 1).clamp_(min=0)
    return edges[index], index + LOWEST_BIN


@dataclass(frozen=True, eq=False)
class Histograms:
    """Counts of the bins that are not empty, by ascending row and bin. Three bytes a bin; large counts take more."""

    sizes: torch.Tensor  # uint8 [rows] bins of each row
    place: torch.Tensor  # uint8 [n] relative bin, 0..HISTOGRAM_BINS - 1
    low: torch.Tensor  # uint16 [n] the count's lowest 16 bits
    large_at: torch.Tensor  # int64 [m] entries with a count of 65,536 or more, and ...
    large: torch.Tensor  # int64 [m] ... what has to be added to theirs

    @property
    def n_rows(self) -> int:
        return len(self.sizes)

    @cached_property
    def ends(self) -> torch.Tensor:
        """int64 [rows + 1]: row r has the entries ends[r] to ends[r + 1]."""
        return torch.cat([self.sizes.new_zeros(1, dtype=torch.int64), self.sizes.long().cumsum(0)])

    def counts(self, first: int = 0, end: int | None = None) -> torch.Tensor:
        """int64 counts of the entries `first` to `end`, all by default."""
        end = len(self.low) if end is None else end
        counts = self.low[first:end].long()
        low, high = torch.searchsorted(self.large_at, torch.tensor([first, end])).tolist()
        counts[self.large_at[low:high] - first] += self.large[low:high]
        return counts

    def row_of_entries(self) -> torch.Tensor:
        return torch.repeat_interleave(torch.arange(self.n_rows), self.sizes.long())

    def dense(self, rows: torch.Tensor) -> torch.Tensor:
        """Whole histograms of some rows: int64 [len(rows), HISTOGRAM_BINS]."""
        begin, size = self.ends[rows], self.sizes[rows].long()
        row = torch.repeat_interleave(torch.arange(len(rows)), size)
        entry = torch.arange(len(row)) + torch.repeat_interleave(begin - (size.cumsum(0) - size), size)
        dense = torch.zeros(len(rows), HISTOGRAM_BINS, dtype=torch.int64)
        dense[row, self.place[entry].long()] = self._counts_of(entry)
        return dense

    def _counts_of(self, entry: torch.Tensor) -> torch.Tensor:
        count = torch.from_numpy(self.low.numpy()[entry.numpy()].astype(np.int64))  # torch gathers no uint16
        if len(self.large_at):
            at = torch.searchsorted(self.large_at, entry).clamp(max=len(self.large_at) - 1)
            count += torch.where(self.large_at[at] == entry, self.large[at], 0)
        return count

    def above(self, first_place: torch.Tensor) -> torch.Tensor:
        """How much of each row lies in relative bins of at least `first_place` [rows]: int64 [rows]."""
        row = self.row_of_entries()
        counted = torch.where(self.place >= first_place[row], self.counts(), 0)
        return torch.zeros(self.n_rows, dtype=torch.int64).index_add_(0, row, counted)


def no_histograms(n_rows: int) -> Histograms:
    """Nothing counted yet."""
    return collect([], n_rows=n_rows)


def collect(pieces: Sequence[tuple[int, torch.Tensor]], *, n_rows: int) -> Histograms:
    """Histograms from dense counts int64 [rows of the piece * HISTOGRAM_BINS] with the first row of each piece, ascending."""
    nothing = torch.zeros(0, dtype=torch.int64)
    found = [(first * HISTOGRAM_BINS, counts, counts.nonzero().squeeze(1)) for first, counts in pieces]
    key = torch.cat([nothing, *(first + at.cpu() for first, _, at in found)])
    count = torch.cat([nothing, *(counts[at].cpu() for _, counts, at in found)])
    large_at = (count >= _NARROW).nonzero().squeeze(1)
    return Histograms(
        sizes=torch.bincount(key // HISTOGRAM_BINS, minlength=n_rows).to(torch.uint8),
        place=(key % HISTOGRAM_BINS).to(torch.uint8),
        low=(count % _NARROW).to(torch.uint16),
        large_at=large_at,
        large=count[large_at] // _NARROW * _NARROW,
    )
