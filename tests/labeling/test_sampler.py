"""The sampler against a brute force that keeps every event."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from labeling.sampler import (
    SamplerState,
    bin_of,
    counts_from,
    edge_at_or_below,
    empty_state,
    merge,
    mix,
    update,
    values_of_top,
    windows_of,
)

N_FEATURES, N_WINDOWS, TOP, RESERVOIR, SEED = 7, 400, 5, 20, 3


class Stream:
    """Random events; window w belongs to split w % 3."""

    def __init__(self, seed: int = 0, n: int = 6_000) -> None:
        rng = np.random.default_rng(seed)
        self.feature = torch.from_numpy(rng.integers(0, N_FEATURES, n))
        self.window = torch.from_numpy(rng.integers(0, N_WINDOWS, n))
        self.value = torch.from_numpy(rng.lognormal(0, 1.5, n).astype(np.float32))

    def state(self, windows: torch.Tensor, *, n_batches: int = 1) -> SamplerState:
        state = empty_state(N_FEATURES, top=TOP, reservoir=RESERVOIR)
        for chunk in windows.tensor_split(n_batches):
            which = torch.isin(self.window, chunk)
            window = self.window[which]
            update(state, self.feature[which], window=window, split=window % 3, value=self.value[which], seed=SEED)
        return state

    def active_windows(self, feature: int, split: int) -> dict[int, float]:
        largest: dict[int, float] = {}
        for f, w, v in zip(self.feature.tolist(), self.window.tolist(), self.value.tolist(), strict=True):
            if f == feature and w % 3 == split:
                largest[w] = max(v, largest.get(w, 0.0))
        return largest


ALL = torch.arange(N_WINDOWS)


def assert_equal(left: SamplerState, right: SamplerState) -> None:
    for name, tensor in left.tensors().items():
        assert torch.equal(tensor, right.tensors()[name]), name


def test_top_windows_are_the_strongest_ones() -> None:
    stream = Stream()
    state = stream.state(ALL)
    for split in range(3):
        for feature in range(N_FEATURES):
            expected = sorted(stream.active_windows(feature, split).items(), key=lambda wv: (-wv[1], wv[0]))[:TOP]
            row = state.top[split * N_FEATURES + feature]
            assert windows_of(row).tolist() == [w for w, _ in expected]
            assert values_of_top(row).tolist() == [v for _, v in expected]


def test_the_reservoir_holds_the_windows_with_the_largest_hash() -> None:
    stream = Stream()
    state = stream.state(ALL)
    active = stream.active_windows(2, 1)
    windows = torch.tensor(sorted(active))
    hashes = mix(torch.full_like(windows, 2), windows, SEED)
    expected = windows[torch.argsort(hashes, descending=True)][:RESERVOIR].tolist()
    row = 1 * N_FEATURES + 2
    assert windows_of(state.reservoir[row]).tolist() == expected
    assert state.reservoir_value[row].tolist() == [active[w] for w in expected]


def test_counts_sums_and_maxima_are_exact() -> None:
    stream = Stream()
    state = stream.state(ALL, n_batches=9)
    for split in range(3):
        for feature in range(N_FEATURES):
            values = stream.value[(stream.feature == feature) & (stream.window % 3 == split)]
            assert state.firing_tokens[split, feature] == len(values)
            assert state.maximum[split, feature] == values.max()
            assert state.total[split, feature] * 2.0**-16 == pytest.approx(float(values.double().sum()), rel=1e-4)


@pytest.mark.parametrize("share", [0.01, 0.25])
def test_windows_above_tau_are_counted_exactly_although_tau_is_known_only_at_the_end(share: float) -> None:
    stream = Stream()
    state = stream.state(ALL, n_batches=13)
    tau, edge = edge_at_or_below(state.maximum.amax(0) * share)
    counted = counts_from(state.window_histogram, state.histogram_top, edge)
    for split in range(3):
        for feature in range(N_FEATURES):
            above = [v for v in stream.active_windows(feature, split).values() if v > tau[feature]]
            assert counted[split, feature] == len(above)
    assert (tau <= state.maximum.amax(0) * share).all()
    assert (tau > state.maximum.amax(0) * share * 2 ** (-1 / 8) * 0.999).all()


@pytest.mark.parametrize("n_batches", [2, 7, 50])
def test_batch_size_changes_nothing(n_batches: int) -> None:
    stream = Stream()
    assert_equal(stream.state(ALL), stream.state(ALL, n_batches=n_batches))


def test_shards_merge_to_the_state_of_one_pass_in_any_order() -> None:
    stream = Stream()
    whole = stream.state(ALL)
    parts = [stream.state(chunk, n_batches=2) for chunk in ALL.tensor_split(5)]
    forward = parts[0]
    for part in parts[1:]:
        forward = merge(forward, part)
    backward = merge(merge(parts[4], parts[2]), merge(parts[0], merge(parts[3], parts[1])))
    assert_equal(whole, forward)
    assert_equal(whole, backward)


def test_memory_does_not_grow_with_tokens() -> None:
    def size(n: int) -> int:
        return sum(t.nbytes for t in Stream(n=n).state(ALL).tensors().values())

    assert size(100) == size(20_000)


def test_the_reservoir_is_uniform_over_active_windows() -> None:
    """Weak and strong windows are kept at the same rate: a chi-square over 200 seeds, deciles of activation."""
    window = torch.arange(100)
    value = torch.linspace(0.1, 10.0, 100)
    kept = torch.zeros(100)
    for seed in range(200):
        state = empty_state(1, top=1, reservoir=20)
        update(state, torch.zeros_like(window), window=window, split=torch.zeros_like(window), value=value, seed=seed)
        kept[windows_of(state.reservoir[0])] += 1
    by_decile = kept.view(10, 10).sum(1)
    assert ((by_decile - 400) ** 2 / 400).sum() < 27.9  # 99.9 % point of chi-square with 9 degrees of freedom


def test_bins_agree_with_comparisons_at_the_edges() -> None:
    edges, bins = edge_at_or_below(torch.tensor([1.0, 1.5, 2.0]))
    assert edges.tolist()[0] == 1.0
    assert bin_of(torch.tensor([1.0])) == bins[0] - 1  # at the edge is not above it
    assert bin_of(torch.nextafter(torch.tensor([1.0]), torch.tensor([2.0]))) == bins[0]
