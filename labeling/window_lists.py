"""Lists of windows with a value each, one list a row, and the largest of them by any rank. Knows no features."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import torch

RANK_BITS = 31
_LARGEST_RANK = (1 << RANK_BITS) - 1

RankOf = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]
"""From row, window (int64) and value of entries to a rank of each: int64, 0 to 2^31 - 1."""


@dataclass(frozen=True, eq=False)
class WindowLists:
    """Entries by ascending row, and by ascending window inside a row."""

    sizes: torch.Tensor  # int32 [rows]
    window: torch.Tensor  # int32 [n]
    value: torch.Tensor  # float32 [n]

    @property
    def n_rows(self) -> int:
        return len(self.sizes)

    @cached_property
    def ends(self) -> torch.Tensor:
        """int64 [rows + 1]: row r has the entries ends[r] to ends[r + 1]."""
        return torch.cat([self.sizes.new_zeros(1, dtype=torch.int64), self.sizes.long().cumsum(0)])

    def part(self, first: int, end: int) -> WindowLists:
        """Rows `first` to `end`."""
        begin, stop = int(self.ends[first]), int(self.ends[end])
        return WindowLists(self.sizes[first:end], self.window[begin:stop], self.value[begin:stop])

    def row_of_entries(self) -> torch.Tensor:
        return torch.repeat_interleave(torch.arange(self.n_rows), self.sizes.long())

    def padded(self, rows: torch.Tensor, rank_of: RankOf, *, width: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Windows int64 [rows, width] and values of some rows, by falling rank; -1 and 0 where there are fewer."""
        place = torch.arange(width)
        there = place < self.sizes[rows][:, None]
        entry = torch.where(there, self.ends[rows][:, None] + place, 0)
        if not len(self.window):
            return torch.full(entry.shape, -1), torch.zeros(entry.shape)
        window, value = self.window[entry].long(), self.value[entry]
        rank = torch.where(there, rank_of(rows[:, None].expand(entry.shape), window, value), -1)
        order = rank.sort(dim=1, descending=True, stable=True).indices
        window, value = torch.where(there, window, -1), torch.where(there, value, 0.0)
        return window.gather(1, order), value.gather(1, order)


def keep_largest(
    row: torch.Tensor, window: torch.Tensor, value: torch.Tensor, rank_of: RankOf, *, n_rows: int, most: int
) -> WindowLists:
    """The `most` entries of each row with the largest rank; equal ranks are settled by the smaller window.

    Entries stand by ascending row, and by ascending window inside a row.
    """
    sizes = torch.bincount(row, minlength=n_rows)
    crowded = (sizes > most)[row].nonzero().squeeze(1)
    if len(crowded):
        dropped = crowded[_beyond(row[crowded], rank_of(row[crowded], window[crowded], value[crowded]), sizes, most)]
        among = torch.ones(len(row), dtype=torch.bool, device=row.device)
        among[dropped] = False
        kept = among.nonzero().squeeze(1)
        window, value = window[kept], value[kept]
    # a copy, because lists of several kinds are made of the same entries, and a file takes no tensor twice
    return WindowLists(sizes.clamp(max=most).int().cpu(), window.int().cpu(), value.clone().cpu())


def _beyond(row: torch.Tensor, rank: torch.Tensor, sizes: torch.Tensor, most: int) -> torch.Tensor:
    """Which entries of rows that hold more than `most` are not among the largest."""
    order = ((row << RANK_BITS) | (_LARGEST_RANK - rank)).sort(stable=True).indices
    size = sizes[sizes > most]
    place = torch.arange(len(row), device=row.device) - torch.repeat_interleave(size.cumsum(0) - size, size)
    return order[place >= most]


def join(lists: Sequence[WindowLists]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """All entries of the same rows in several lists, in order: row, window (both int64), value."""
    some = sorted((one for one in lists if len(one.window)), key=lambda one: int(one.window.min())) or list(lists[:1])
    total = torch.stack([one.sizes for one in some]).sum(0)
    row = torch.repeat_interleave(torch.arange(len(total)), total)
    place = torch.cat(list(_places(some, total)))
    window, value = (torch.cat([getattr(one, name) for one in some]) for name in ("window", "value"))
    window = torch.empty_like(window).index_copy_(0, place, window).long()
    value = torch.empty_like(value).index_copy_(0, place, value)
    if any(int(left.window.max()) >= int(right.window.min()) for left, right in pairwise(some)):
        order = ((row << 32) | window).sort().indices
        window, value = window[order], value[order]
    return row, window, value


def _places(lists: Sequence[WindowLists], total: torch.Tensor) -> Iterator[torch.Tensor]:
    """Where the entries of each list go, when each row's entries of all lists stand one list after the other."""
    begin = total.cumsum(0) - total
    for one in lists:
        size = one.sizes.long()
        yield torch.arange(len(one.window)) + torch.repeat_interleave(begin - (size.cumsum(0) - size), size)
        begin = begin + size
