"""The streaming sampler: from activation events to bounded state per feature, in one pass.

Per feature and split it keeps exact counts, sum and maximum, log histograms of tokens and of windows, the strongest
windows, and a uniform sample of active windows. Everything is an integer or a maximum, so the state depends neither on
the order of batches nor on how documents are cut into shards: `merge` is exact, associative and commutative.
Memory depends on the number of features alone.

It does not know models, dictionaries, text or files. What is chosen from its state is decided in `contexts.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch

BINS_PER_OCTAVE = 8
HISTOGRAM_BINS = 64
"""Eight octaves below a feature's maximum, so 1 % of the maximum (6.6 octaves below) is always resolved."""
LOWEST_BIN, HIGHEST_BIN = -24 * BINS_PER_OCTAVE, 24 * BINS_PER_OCTAVE
SUM_UNIT = 2.0**-16
"""Sums are kept as whole multiples of this: integers add up to the same total in any order, floats do not."""

_WINDOW_BITS = 32
_WINDOW_MASK = (1 << _WINDOW_BITS) - 1
_EMPTY = -1


def bin_edges() -> torch.Tensor:
    """Lower edges of all histogram bins: float32, edge i belongs to bin `LOWEST_BIN + i`."""
    exponents = torch.arange(LOWEST_BIN, HIGHEST_BIN + 1, dtype=torch.float64) / BINS_PER_OCTAVE
    return torch.exp2(exponents).to(torch.float32)


_EDGES = bin_edges()


def bin_of(value: torch.Tensor) -> torch.Tensor:
    """Bin of each activation: `value` lies above the bin's lower edge and not above the next one.

    By comparison with the edges, never by a logarithm: so "value > edge" and "bin >= the edge's bin" always agree.
    """
    index = torch.bucketize(value, _EDGES) - 1
    return index.clamp_(min=0).add_(LOWEST_BIN)


def edge_at_or_below(value: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The largest bin edge at or below each value, and the bin that starts there."""
    index = (torch.bucketize(value, _EDGES, right=True) - 1).clamp_(min=0)
    return _EDGES[index], index + LOWEST_BIN


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


@dataclass
class SamplerState:
    """State of one feature set. `S` splits, `F` features, `K` top windows, `R` reservoir windows.

    Keys hold 31 bits of rank above 32 bits of inverted window id, so equal ranks are settled by the smaller window,
    and the window can be read back. Rows are sorted, strongest first; empty places hold -1.
    """

    firing_tokens: torch.Tensor  # int64 [S, F] tokens with any activation
    total: torch.Tensor  # int64 [S, F] sum of activations in SUM_UNIT
    maximum: torch.Tensor  # float32 [S, F]
    histogram_top: torch.Tensor  # int64 [F] bin of the feature's maximum over all splits
    # In both, the last bin is `histogram_top` and the first also holds everything below it.
    token_histogram: torch.Tensor  # int32 [S, F, HISTOGRAM_BINS]
    window_histogram: torch.Tensor  # int32 [S, F, HISTOGRAM_BINS] of windows' largest activations
    top: torch.Tensor  # int64 [S * F, K] rank = float bits of the window's largest activation
    reservoir: torch.Tensor  # int64 [S * F, R] rank = hash of (feature, window, seed)
    reservoir_value: torch.Tensor  # float32 [S * F, R] the window's largest activation

    @property
    def n_splits(self) -> int:
        return self.firing_tokens.shape[0]

    @property
    def n_features(self) -> int:
        return self.firing_tokens.shape[1]

    def tensors(self) -> dict[str, torch.Tensor]:
        """For a safetensors file."""
        return {f.name: getattr(self, f.name).contiguous() for f in fields(self)}


def empty_state(n_features: int, *, top: int, reservoir: int, n_splits: int = 3) -> SamplerState:
    """State before the first event."""
    shape, rows = (n_splits, n_features), n_splits * n_features
    return SamplerState(
        firing_tokens=torch.zeros(shape, dtype=torch.int64),
        total=torch.zeros(shape, dtype=torch.int64),
        maximum=torch.zeros(shape, dtype=torch.float32),
        histogram_top=torch.full((n_features,), LOWEST_BIN, dtype=torch.int64),
        token_histogram=torch.zeros((*shape, HISTOGRAM_BINS), dtype=torch.int32),
        window_histogram=torch.zeros((*shape, HISTOGRAM_BINS), dtype=torch.int32),
        top=torch.full((rows, top), _EMPTY, dtype=torch.int64),
        reservoir=torch.full((rows, reservoir), _EMPTY, dtype=torch.int64),
        reservoir_value=torch.zeros((rows, reservoir), dtype=torch.float32),
    )


def update(
    state: SamplerState,
    feature: torch.Tensor,
    *,
    window: torch.Tensor,
    split: torch.Tensor,
    value: torch.Tensor,
    seed: int,
) -> None:
    """Add the events of some whole windows: four tensors with one entry an event, `split` as 0..S-1.

    A window must not be spread over two calls, or its largest activation would be counted twice.
    """
    if not len(feature):
        return
    cell = split * state.n_features + feature
    _raise_histograms(state, feature, value)
    state.firing_tokens.view(-1).index_add_(0, cell, torch.ones_like(cell))
    state.total.view(-1).index_add_(0, cell, (value.double() / SUM_UNIT).round_().long())
    state.maximum.view(-1).scatter_reduce_(0, cell, value, "amax")
    _count(state.token_histogram, cell, value, state.histogram_top[feature])

    cell, window, value = _largest_per_window(cell, window, value)
    feature = cell % state.n_features
    _count(state.window_histogram, cell, value, state.histogram_top[feature])
    inverted = _WINDOW_MASK - window
    by_value = (value.view(torch.int32).long() << _WINDOW_BITS) | inverted
    by_hash = (mix(feature, window, seed) << _WINDOW_BITS) | inverted
    _keep_largest(state.top, None, segment=cell, key=by_value, value=value)
    _keep_largest(state.reservoir, state.reservoir_value, segment=cell, key=by_hash, value=value)


def merge(left: SamplerState, right: SamplerState) -> SamplerState:
    """State of both streams together. Equal to having seen all events in one stream, bit for bit."""
    top_bin = torch.maximum(left.histogram_top, right.histogram_top)
    reservoir, order = torch.cat([left.reservoir, right.reservoir], 1).topk(left.reservoir.shape[1], dim=1)
    return SamplerState(
        firing_tokens=left.firing_tokens + right.firing_tokens,
        total=left.total + right.total,
        maximum=torch.maximum(left.maximum, right.maximum),
        histogram_top=top_bin,
        token_histogram=_shifted(left.token_histogram, top_bin - left.histogram_top)
        + _shifted(right.token_histogram, top_bin - right.histogram_top),
        window_histogram=_shifted(left.window_histogram, top_bin - left.histogram_top)
        + _shifted(right.window_histogram, top_bin - right.histogram_top),
        top=torch.cat([left.top, right.top], 1).topk(left.top.shape[1], dim=1).values,
        reservoir=reservoir,
        reservoir_value=torch.cat([left.reservoir_value, right.reservoir_value], 1).gather(1, order),
    )


def windows_of(keys: torch.Tensor) -> torch.Tensor:
    """Window ids in `top` or `reservoir`; -1 where the place is empty."""
    return torch.where(keys == _EMPTY, -1, _WINDOW_MASK - (keys & _WINDOW_MASK))


def values_of_top(keys: torch.Tensor) -> torch.Tensor:
    """Largest activations in `top`; 0 where the place is empty."""
    bits = torch.where(keys == _EMPTY, 0, keys >> _WINDOW_BITS)
    return bits.to(torch.int32).view(torch.float32)


def counts_from(histogram: torch.Tensor, histogram_top: torch.Tensor, edge_bin: torch.Tensor) -> torch.Tensor:
    """How many entries of [S, F, bins] lie above the edge where `edge_bin` [F] starts: int64 [S, F]."""
    first = (edge_bin - histogram_top + HISTOGRAM_BINS - 1).clamp(0, HISTOGRAM_BINS)
    above = torch.arange(HISTOGRAM_BINS) >= first[:, None]
    return (histogram.long() * above).sum(-1)


def _largest_per_window(
    cell: torch.Tensor, window: torch.Tensor, value: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """One event a (cell, window): the strongest."""
    first_window = window.min()
    span = int(window.max() - first_window) + 1
    packed, order = torch.sort(cell * span + (window - first_window))
    unique, group = torch.unique_consecutive(packed, return_inverse=True)
    largest = torch.zeros(len(unique), dtype=value.dtype).scatter_reduce_(0, group, value[order], "amax")
    return unique // span, unique % span + first_window, largest


def _raise_histograms(state: SamplerState, feature: torch.Tensor, value: torch.Tensor) -> None:
    """Move the histograms of features that reached a new maximum, so that the last bin is the maximum's."""
    top_bin = state.histogram_top.scatter_reduce(0, feature, bin_of(value), "amax")
    moved = (top_bin > state.histogram_top).nonzero().squeeze(1)
    if len(moved):
        shift = (top_bin - state.histogram_top)[moved]
        for histogram in (state.token_histogram, state.window_histogram):
            histogram[:, moved] = _shifted(histogram[:, moved], shift)
        state.histogram_top = top_bin


def _shifted(histogram: torch.Tensor, by: torch.Tensor) -> torch.Tensor:
    """[S, F, bins] moved `by` [F] >= 0 bins to the left; what falls off is added to the first bin."""
    bins = torch.arange(HISTOGRAM_BINS)
    source = bins + by.clamp(max=HISTOGRAM_BINS)[:, None]
    inside = source < HISTOGRAM_BINS
    index = source.clamp(max=HISTOGRAM_BINS - 1).expand(histogram.shape)
    moved = histogram.gather(-1, index) * inside
    moved[..., 0] = (histogram * (bins <= by[:, None])).sum(-1)
    return moved.to(histogram.dtype)


def _count(histogram: torch.Tensor, cell: torch.Tensor, value: torch.Tensor, top_bin: torch.Tensor) -> None:
    place = (bin_of(value) - top_bin + HISTOGRAM_BINS - 1).clamp_(min=0)
    ones = torch.ones(len(cell), dtype=histogram.dtype)
    histogram.view(-1).index_add_(0, cell * HISTOGRAM_BINS + place, ones)


def _keep_largest(
    table: torch.Tensor, payload: torch.Tensor | None, *, segment: torch.Tensor, key: torch.Tensor, value: torch.Tensor
) -> None:
    """Put events into their segment's row of `table` where their key is among the row's largest. Keys are unique."""
    size = table.shape[1]
    hopeful = (key > table[segment, -1]).nonzero().squeeze(1)
    if not len(hopeful):
        return
    segment, key, value = segment[hopeful], key[hopeful], value[hopeful]
    order = torch.argsort(key, descending=True)
    order = order[torch.argsort(segment[order], stable=True)]
    segment, key, value = segment[order], key[order], value[order]
    rows, group, counts = torch.unique_consecutive(segment, return_inverse=True, return_counts=True)
    rank = torch.arange(len(segment)) - (counts.cumsum(0) - counts)[group]
    kept = rank < size
    group, rank = group[kept], rank[kept]
    depth = min(size, int(counts.max()))
    new_keys = torch.full((len(rows), depth), _EMPTY, dtype=torch.int64)
    new_keys[group, rank] = key[kept]
    best, place = torch.cat([table[rows], new_keys], 1).topk(size, dim=1)
    table[rows] = best
    if payload is not None:
        new_values = torch.zeros((len(rows), depth), dtype=payload.dtype)
        new_values[group, rank] = value[kept]
        payload[rows] = torch.cat([payload[rows], new_values], 1).gather(1, place)
