"""Bins and counts: edges agree with comparisons, and no count is too large."""

from __future__ import annotations

import torch

from labeling.bins import HISTOGRAM_BINS, bin_of, collect, edge_at_or_below


def test_bins_agree_with_comparisons_at_the_edges() -> None:
    edges, bins = edge_at_or_below(torch.tensor([1.0, 1.5, 2.0]))
    assert edges.tolist()[0] == 1.0
    assert bin_of(torch.tensor([1.0])) == bins[0] - 1  # at the edge is not above it
    assert bin_of(torch.nextafter(torch.tensor([1.0]), torch.tensor([2.0]))) == bins[0]


def test_counts_beyond_sixteen_bits_are_exact() -> None:
    dense = torch.zeros(3, HISTOGRAM_BINS, dtype=torch.int64)
    dense[0, 3], dense[0, 63], dense[2, 0], dense[2, 1], dense[2, 9] = 65_535, 65_536, 10**12 + 7, 131_073, 1
    histograms = collect([(0, dense[:2].flatten()), (2, dense[2:].flatten())], n_rows=3)
    assert torch.equal(histograms.dense(torch.tensor([2, 0, 1])), dense[[2, 0, 1]])
    assert histograms.counts(1, 3).tolist() == [65_536, 10**12 + 7]
    assert histograms.above(torch.tensor([63, 0, 1])).tolist() == [65_536, 0, 131_074]
