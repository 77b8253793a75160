"""The streaming sampler: from activation events to bounded state per feature, in one pass.

Per feature and split it keeps exact counts and sums, log histograms of tokens and of windows, the strongest windows,
and a uniform sample of active windows. A block of whole windows becomes a state of its own, from events that are sorted
once; states are merged. Everything is an integer or a maximum, so the result depends neither on the order of events nor
on how documents are cut into blocks: `merge` is exact, associative and commutative. Memory depends on the number of
features alone: with 20 strongest windows, a sample of 100 and three splits at most 4,088 bytes a feature, less where
lists or histograms are not full.

It does not know models, dictionaries, text or files. What is chosen from its state is decided in `contexts.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch

from labeling.bins import HISTOGRAM_BINS, LOWEST_BIN, Histograms, bin_of, collect, no_histograms
from labeling.events import SortedEvents
from labeling.types import FloatArray, IntArray
from labeling.window_lists import WindowLists, join, keep_largest

SUM_UNIT = 2.0**-16
"""Sums are kept as whole multiples of this: integers add up to the same total in any order, floats do not."""
ROWS_AT_ONCE = 1 << 11
"""Rows whose histograms are dense at once while counting: few enough for a processor's cache."""


def mix(feature: torch.Tensor, window: torch.Tensor, seed: int) -> torch.Tensor:
    """31 random-looking bits for every (feature, window): the finalizer of splitmix64 (Steele et al. 2014)."""
    x = feature * -7046029254386353131 + window * -4658895280553007687 + _signed(seed * 0x94D049BB133111EB)
    for shift, factor in ((30, -4658895280553007687), (27, -7723592293110705685)):
        x = (x ^ ((x >> shift) & ((1 << (64 - shift)) - 1))) * factor
    return (x ^ (x >> 31)) & 0x7FFFFFFF


def _signed(x: int) -> int:
    """The lowest 64 bits as torch's int64 holds them."""
    x &= (1 << 64) - 1
    return x - (1 << 64) if x >> 63 else x


@dataclass(frozen=True)
class Sizes:
    """What a state is made for; states of one sample have the same."""

    n_features: int
    top: int
    """Strongest windows kept for each feature and split."""
    reservoir: int
    """Active windows kept at random for each feature and split."""
    seed: int
    n_splits: int = 3

    @property
    def n_rows(self) -> int:
        return self.n_features * self.n_splits


@dataclass(frozen=True, eq=False)
class SamplerState:
    """State of one feature set: `S` splits, `F` features. Row `feature * S + split` of each table is theirs."""

    sizes: Sizes
    total: torch.Tensor  # int64 [F * S] sum of activations in SUM_UNIT
    histogram_top: torch.Tensor  # int16 [F] bin of the feature's maximum over all splits
    tokens: Histograms  # of all activations
    windows: Histograms  # of windows' largest activations
    top: WindowLists  # the strongest windows
    reservoir: WindowLists  # the windows with the largest hash of (feature, window, seed)

    @property
    def n_splits(self) -> int:
        return self.sizes.n_splits

    @property
    def n_features(self) -> int:
        return self.sizes.n_features

    def maximum(self) -> torch.Tensor:
        """Largest activation, 0 where there is none: float32 [S, F]."""
        largest = torch.zeros(self.sizes.n_rows).scatter_reduce_(0, self.top.row_of_entries(), self.top.value, "amax")
        return self._by_split(largest)

    def sums(self) -> torch.Tensor:
        """Sum of activations in SUM_UNIT: int64 [S, F]."""
        return self._by_split(self.total)

    def token_histogram(self, split: int, features: IntArray) -> IntArray:
        """Tokens by relative bin (see `bins`): [f, HISTOGRAM_BINS]."""
        return self.tokens.dense(self._rows(split, features)).numpy()

    def window_histogram(self, split: int, features: IntArray) -> IntArray:
        """Windows by relative bin of their largest activation: [f, HISTOGRAM_BINS]."""
        return self.windows.dense(self._rows(split, features)).numpy()

    def tokens_above(self, edge_bin: torch.Tensor) -> IntArray:
        """Tokens above the edge where `edge_bin` [F] starts: [S, F]."""
        return self._by_split(self.tokens.above(self._first_places(edge_bin))).numpy()

    def windows_above(self, edge_bin: torch.Tensor) -> IntArray:
        """Windows whose largest activation is above the edge where `edge_bin` [F] starts: [S, F]."""
        return self._by_split(self.windows.above(self._first_places(edge_bin))).numpy()

    def top_windows(self, split: int, features: IntArray) -> tuple[IntArray, FloatArray]:
        """Strongest windows, [f, top]: ids (-1 where empty) and largest activations, strongest first."""
        window, value = self.top.padded(self._rows(split, features), _by_value, width=self.sizes.top)
        return window.numpy(), value.numpy()

    def drawn_windows(self, split: int, features: IntArray) -> tuple[IntArray, FloatArray]:
        """A uniform sample of the active windows in random order, [f, reservoir]: ids (-1 where empty), activations."""
        rank_of = _by_hash(self.n_splits, self.sizes.seed)
        window, value = self.reservoir.padded(self._rows(split, features), rank_of, width=self.sizes.reservoir)
        return window.numpy(), value.numpy()

    def _rows(self, split: int, features: IntArray) -> torch.Tensor:
        return torch.from_numpy(np.asarray(features, dtype=np.int64)) * self.n_splits + split

    def _by_split(self, rows: torch.Tensor) -> torch.Tensor:
        return rows.view(self.n_features, self.n_splits).T.contiguous()

    def _first_places(self, edge_bin: torch.Tensor) -> torch.Tensor:
        place = (edge_bin - self.histogram_top + HISTOGRAM_BINS - 1).clamp(0, HISTOGRAM_BINS)
        return torch.repeat_interleave(place, self.n_splits)

    def tensors(self) -> dict[str, torch.Tensor]:
        """For a safetensors file; `state_from` reads them back."""
        numbers = [getattr(self.sizes, field.name) for field in fields(Sizes)]
        tables = {name: getattr(self, name) for name in ("tokens", "windows", "top", "reservoir")}
        parts = {f"{name}.{f.name}": getattr(table, f.name) for name, table in tables.items() for f in fields(table)}
        own = {"sizes": torch.tensor(numbers), "total": self.total, "histogram_top": self.histogram_top}
        return {name: tensor.contiguous() for name, tensor in (own | parts).items()}


def state_from(tensors: Mapping[str, torch.Tensor]) -> SamplerState:
    """The state that `tensors` came from."""

    def part(name: str) -> dict[str, torch.Tensor]:
        return {key.partition(".")[2]: tensor for key, tensor in tensors.items() if key.startswith(f"{name}.")}

    return SamplerState(
        sizes=Sizes(*tensors["sizes"].tolist()),
        total=tensors["total"],
        histogram_top=tensors["histogram_top"],
        tokens=Histograms(**part("tokens")),
        windows=Histograms(**part("windows")),
        top=WindowLists(**part("top")),
        reservoir=WindowLists(**part("reservoir")),
    )


def empty_state(sizes: Sizes) -> SamplerState:
    """State before the first event."""
    nothing = WindowLists(
        torch.zeros(sizes.n_rows, dtype=torch.int32), torch.zeros(0, dtype=torch.int32), torch.zeros(0)
    )
    return SamplerState(
        sizes=sizes,
        total=torch.zeros(sizes.n_rows, dtype=torch.int64),
        histogram_top=torch.full((sizes.n_features,), LOWEST_BIN, dtype=torch.int16),
        tokens=no_histograms(sizes.n_rows),
        windows=no_histograms(sizes.n_rows),
        top=nothing,
        reservoir=nothing,
    )


def summarize(events: SortedEvents, sizes: Sizes) -> SamplerState:
    """State of a block of whole windows. A window must not be spread over two blocks: its largest activation counts."""
    if not len(events):
        return empty_state(sizes)
    row = events.feature * sizes.n_splits + events.split
    total = torch.zeros(sizes.n_rows, dtype=torch.int64, device=row.device)
    total.index_add_(0, row, (events.value.double() / SUM_UNIT).round_().long())
    begins = events.begins_window.nonzero().squeeze(1)
    largest = _largest_of_each(events.value, events.begins_window, len(begins))
    window_row, window, feature = row[begins], events.window[begins], events.feature[begins]
    window_bin = bin_of(largest)
    top_bin = torch.full((sizes.n_features,), LOWEST_BIN, dtype=torch.int64, device=row.device)
    top_bin.scatter_reduce_(0, feature, window_bin, "amax")
    by_hash = _by_hash(sizes.n_splits, sizes.seed)
    return SamplerState(
        sizes=sizes,
        total=total.cpu(),
        histogram_top=top_bin.to(torch.int16).cpu(),
        tokens=_counted(row, bin_of(events.value) - top_bin[events.feature], sizes.n_rows),
        windows=_counted(window_row, window_bin - top_bin[feature], sizes.n_rows),
        top=keep_largest(window_row, window, largest, _by_value, n_rows=sizes.n_rows, most=sizes.top),
        reservoir=keep_largest(window_row, window, largest, by_hash, n_rows=sizes.n_rows, most=sizes.reservoir),
    )


def merge(states: Sequence[SamplerState]) -> SamplerState:
    """State of several streams together. Equal to having seen all events in one block, bit for bit."""
    if len({state.sizes for state in states}) != 1:
        raise ValueError("only states of the same sizes and seed can be merged")
    sizes = states[0].sizes
    top_bin = torch.stack([state.histogram_top for state in states]).amax(0)
    rows = list(_ranges(sizes.n_rows, sizes.n_splits))
    by_hash = _by_hash(sizes.n_splits, sizes.seed)
    return SamplerState(
        sizes=sizes,
        total=torch.stack([state.total for state in states]).sum(0),
        histogram_top=top_bin,
        tokens=_added([(state.tokens, top_bin - state.histogram_top) for state in states], rows, sizes),
        windows=_added([(state.windows, top_bin - state.histogram_top) for state in states], rows, sizes),
        top=_joined([state.top for state in states], rows, _by_value, most=sizes.top),
        reservoir=_joined([state.reservoir for state in states], rows, by_hash, most=sizes.reservoir),
    )


def _by_value(_: torch.Tensor, __: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """The bits of a float that is not negative are in the order of the numbers."""
    return value.contiguous().view(torch.int32).long()


def _by_hash(n_splits: int, seed: int) -> Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]:
    def rank_of(row: torch.Tensor, window: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
        return mix(torch.div(row, n_splits, rounding_mode="floor"), window, seed)

    return rank_of


def _largest_of_each(value: torch.Tensor, begins: torch.Tensor, n_groups: int) -> torch.Tensor:
    """Largest value of each run of entries that starts where `begins` says so."""
    group = begins.long().cumsum(0) - 1
    return torch.zeros(n_groups, device=value.device).scatter_reduce_(0, group, value, "amax")


def _ranges(n_rows: int, n_splits: int) -> Iterator[tuple[int, int]]:
    """Ranges of rows that hold whole features."""
    step = max(ROWS_AT_ONCE // n_splits, 1) * n_splits
    return ((first, min(first + step, n_rows)) for first in range(0, max(n_rows, 1), step))


def _counted(row: torch.Tensor, offset: torch.Tensor, n_rows: int) -> Histograms:
    """Histograms of entries by ascending row; `offset` <= 0 is the entry's bin, counted from the feature's largest one."""
    place = row * HISTOGRAM_BINS + (offset + HISTOGRAM_BINS - 1).clamp_(min=0)
    ranges = list(_ranges(n_rows, 1))
    ends = torch.searchsorted(row, torch.tensor([end for _, end in ranges], device=row.device)).tolist()
    pieces = []
    for (first, end), low, high in zip(ranges, [0, *ends[:-1]], ends, strict=True):
        bins = (end - first) * HISTOGRAM_BINS
        pieces.append((first, torch.bincount(place[low:high] - first * HISTOGRAM_BINS, minlength=bins)))
    return collect(pieces, n_rows=n_rows)


def _added(parts: list[tuple[Histograms, torch.Tensor]], ranges: list[tuple[int, int]], sizes: Sizes) -> Histograms:
    """Sum of histograms, each moved to the left by so many bins a feature; what falls off is added to the first bin."""
    pieces = []
    for first, end in ranges:
        dense = torch.zeros((end - first) * HISTOGRAM_BINS, dtype=torch.int64)
        for histograms, by in parts:
            low, high = int(histograms.ends[first]), int(histograms.ends[end])
            row = torch.repeat_interleave(torch.arange(end - first), histograms.sizes[first:end].long())
            shift = by[torch.div(first + row, sizes.n_splits, rounding_mode="floor")]
            place = (histograms.place[low:high].long() - shift).clamp_(min=0)
            dense.index_add_(0, row * HISTOGRAM_BINS + place, histograms.counts(low, high))
        pieces.append((first, dense))
    return collect(pieces, n_rows=sizes.n_rows)


def _joined(
    lists: list[WindowLists],
    ranges: list[tuple[int, int]],
    rank_of: Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor],
    *,
    most: int,
) -> WindowLists:
    pieces = []
    for first, end in ranges:
        row, window, value = join([some.part(first, end) for some in lists])

        def rank(local: torch.Tensor, window: torch.Tensor, value: torch.Tensor, first: int = first) -> torch.Tensor:
            return rank_of(local + first, window, value)

        pieces.append(keep_largest(row, window, value, rank, n_rows=end - first, most=most))
    return WindowLists(*(torch.cat([getattr(piece, f.name) for piece in pieces]) for f in fields(WindowLists)))
