"""Sampler states from plain events."""

from __future__ import annotations

import torch

from labeling.events import EventCollector, SortedEvents
from labeling.sampler import SamplerState, Sizes, summarize


def sorted_events(
    feature: torch.Tensor,
    *,
    window: torch.Tensor,
    split: torch.Tensor,
    value: torch.Tensor,
    position: torch.Tensor | None = None,
) -> SortedEvents:
    """Events with the split of each; all at position 0 unless said otherwise."""
    ids = torch.unique(window)
    split_of = torch.zeros(int(ids.max()) + 1 if len(ids) else 0, dtype=torch.int64)
    split_of[window] = split
    position = torch.zeros_like(window) if position is None else position
    collector = EventCollector(ids, split=split_of[ids], width=int(position.max()) + 1 if len(position) else 1)
    collector.add(feature, window=window, position=position, value=value)
    return collector.sorted()


def state_of(
    feature: torch.Tensor, *, window: torch.Tensor, split: torch.Tensor, value: torch.Tensor, sizes: Sizes
) -> SamplerState:
    return summarize(sorted_events(feature, window=window, split=split, value=value), sizes)
