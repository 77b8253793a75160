"""Activation events of one block of whole windows, collected from batches and sorted once for all who need them.

Sorted events are what is kept as codes and what the sampler's state is made of. A block is a shard of documents: 12
bytes an event until it is sorted, on the device where the events were made.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True, eq=False)
class SortedEvents:
    """Events by feature, then split, then window, then position; one entry an event."""

    feature: torch.Tensor  # int64 [n]
    split: torch.Tensor  # int64 [n]
    window: torch.Tensor  # int64 [n]
    position: torch.Tensor  # int64 [n]
    value: torch.Tensor  # float32 [n]
    begins_window: torch.Tensor  # bool [n] the first event of its feature in its window

    def __len__(self) -> int:
        return len(self.feature)


class EventCollector:
    """Takes the events of some windows, batch by batch in any order, and gives them sorted."""

    def __init__(self, window: torch.Tensor, *, split: torch.Tensor, width: int) -> None:
        """`window` [w] ids of the block's windows, distinct, with the `split` [w] of each; `width` tokens at most."""
        order = torch.argsort((split.long() << 32) | window.long())
        self._window, self._split = window.long()[order], split.long()[order]
        self._first = int(window.min()) if len(window) else 0
        self._slot = torch.zeros(int(window.max()) - self._first + 1 if len(window) else 0, dtype=torch.int64)
        self._slot[self._window - self._first] = torch.arange(len(window))
        self._position_bits, self._slot_bits = max(width - 1, 1).bit_length(), max(len(window) - 1, 1).bit_length()
        self._keys: list[torch.Tensor] = []
        self._values: list[torch.Tensor] = []

    def add(self, feature: torch.Tensor, *, window: torch.Tensor, position: torch.Tensor, value: torch.Tensor) -> None:
        """Add events: four tensors with one entry an event."""
        slot = self._slot.to(feature.device)[window - self._first]
        self._keys.append((((feature << self._slot_bits) | slot) << self._position_bits) | position)
        self._values.append(value)

    def sorted(self) -> SortedEvents:
        """All events so far. One sort of one number an event."""
        nothing = self._slot[:0]
        key, order = torch.cat(self._keys or [nothing]).sort()
        value = torch.cat(self._values or [nothing.float()])[order]
        place = key >> self._position_bits
        slot = place & ((1 << self._slot_bits) - 1)
        begins = torch.ones(len(key), dtype=torch.bool, device=key.device)
        begins[1:] = place[1:] != place[:-1]
        return SortedEvents(
            feature=place >> self._slot_bits,
            split=self._split.to(key.device)[slot],
            window=self._window.to(key.device)[slot],
            position=key & ((1 << self._position_bits) - 1),
            value=value,
            begins_window=begins,
        )
