"""The sampler against a brute force that keeps every event."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from labeling.bins import HISTOGRAM_BINS, edge_at_or_below
from labeling.sampler import SamplerState, Sizes, empty_state, merge, mix, state_from
from labeling.tensor_files import save_tensors
from tests.labeling.sampler_builders import state_of

N_FEATURES, N_WINDOWS, TOP, RESERVOIR, SEED = 7, 400, 5, 20, 3
SIZES = Sizes(N_FEATURES, top=TOP, reservoir=RESERVOIR, seed=SEED)


class Stream:
    """Random events; window w belongs to split w % 3."""

    def __init__(self, seed: int = 0, n: int = 6_000) -> None:
        rng = np.random.default_rng(seed)
        self.feature = torch.from_numpy(rng.integers(0, N_FEATURES, n))
        self.window = torch.from_numpy(rng.integers(0, N_WINDOWS, n))
        self.value = torch.from_numpy(rng.lognormal(0, 1.5, n).astype(np.float32))

    def state(self, windows: torch.Tensor, *, n_batches: int = 1) -> SamplerState:
        blocks = [self._block(chunk) for chunk in windows.tensor_split(n_batches)]
        return merge(blocks) if n_batches > 1 else blocks[0]

    def _block(self, windows: torch.Tensor) -> SamplerState:
        which = torch.isin(self.window, windows)
        window, value = self.window[which], self.value[which]
        return state_of(self.feature[which], window=window, split=window % 3, value=value, sizes=SIZES)

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
            window, value = state.top_windows(split, np.array([feature]))
            assert window[0].tolist() == [w for w, _ in expected]
            assert value[0].tolist() == [v for _, v in expected]


def test_equal_activations_are_settled_by_the_smaller_window_and_empty_places_say_so() -> None:
    window = torch.tensor([9, 4, 7, 6, 5, 3, 8])
    zeros = torch.zeros_like(window)
    sizes = Sizes(2, top=5, reservoir=3, seed=0)
    state = state_of(zeros, window=window, split=zeros, value=torch.ones(7), sizes=sizes)
    assert state.top_windows(0, np.array([0, 1]))[0].tolist() == [[3, 4, 5, 6, 7], [-1] * 5]
    again = merge(
        [state, state_of(zeros[:1], window=window[:1] - 7, split=zeros[:1], value=torch.ones(1), sizes=sizes)]
    )
    assert again.top_windows(0, np.array([0]))[0].tolist() == [[2, 3, 4, 5, 6]]


def test_the_reservoir_holds_the_windows_with_the_largest_hash() -> None:
    stream = Stream()
    state = stream.state(ALL)
    active = stream.active_windows(2, 1)
    windows = torch.tensor(sorted(active))
    hashes = mix(torch.full_like(windows, 2), windows, SEED)
    expected = windows[torch.argsort(hashes, descending=True)][:RESERVOIR].tolist()
    window, value = state.drawn_windows(1, np.array([2]))
    assert window[0].tolist() == expected
    assert value[0].tolist() == [active[w] for w in expected]


def test_counts_sums_and_maxima_are_exact() -> None:
    stream = Stream()
    state = stream.state(ALL, n_batches=9)
    for split in range(3):
        for feature in range(N_FEATURES):
            values = stream.value[(stream.feature == feature) & (stream.window % 3 == split)]
            assert state.token_histogram(split, np.array([feature])).sum() == len(values)
            assert state.maximum()[split, feature] == values.max()
            assert state.sums()[split, feature] * 2.0**-16 == pytest.approx(float(values.double().sum()), rel=1e-4)


@pytest.mark.parametrize("share", [0.01, 0.25])
def test_windows_above_tau_are_counted_exactly_although_tau_is_known_only_at_the_end(share: float) -> None:
    stream = Stream()
    state = stream.state(ALL, n_batches=13)
    maximum = state.maximum().amax(0)
    tau, edge = edge_at_or_below(maximum * share)
    counted = state.windows_above(edge)
    for split in range(3):
        for feature in range(N_FEATURES):
            above = [v for v in stream.active_windows(feature, split).values() if v > tau[feature]]
            assert counted[split, feature] == len(above)
    assert (tau <= maximum * share).all()
    assert (tau > maximum * share * 2 ** (-1 / 8) * 0.999).all()


@pytest.mark.parametrize("n_batches", [2, 7, 50])
def test_batch_size_changes_nothing(n_batches: int) -> None:
    stream = Stream()
    assert_equal(stream.state(ALL), stream.state(ALL, n_batches=n_batches))


def test_shards_merge_to_the_state_of_one_pass_in_any_order() -> None:
    stream = Stream()
    whole = stream.state(ALL)
    parts = [stream.state(chunk, n_batches=2) for chunk in ALL.tensor_split(5)]
    forward = merge(parts)
    backward = merge([merge([parts[4], parts[2]]), merge([parts[0], merge([parts[3], parts[1]])])])
    assert_equal(whole, forward)
    assert_equal(whole, backward)


def test_an_empty_state_adds_nothing() -> None:
    whole = Stream().state(ALL)
    assert_equal(whole, merge([empty_state(SIZES), whole]))


@pytest.mark.parametrize("n", [30, 6_000])
def test_a_file_brings_back_the_same_state_whether_lists_are_full_or_not(tmp_path: Path, n: int) -> None:
    state = Stream(n=n).state(ALL)
    save_tensors(tmp_path / "state.safetensors", state.tensors())
    assert_equal(state, state_from(load_file(tmp_path / "state.safetensors")))


def test_states_of_different_seeds_are_not_merged() -> None:
    other = empty_state(Sizes(N_FEATURES, top=TOP, reservoir=RESERVOIR, seed=SEED + 1))
    with pytest.raises(ValueError, match="same sizes and seed"):
        merge([empty_state(SIZES), other])


def test_a_feature_takes_four_kilobytes_at_most_whatever_the_tokens() -> None:
    """Every list full, and every bin of every histogram used: the most that default sizes can take."""
    n_features, n_windows = 3, 6_000
    feature = torch.arange(n_features).repeat_interleave(n_windows)
    window = torch.arange(n_windows).repeat(n_features)
    value = torch.exp2(-(window // 3 % HISTOGRAM_BINS) / 8 + 1 / 16)
    sizes = Sizes(n_features, top=20, reservoir=100, seed=0)
    state = state_of(feature, window=window, split=window % 3, value=value, sizes=sizes)
    assert (state.window_histogram(2, np.arange(3)) > 0).all()
    n_bytes = sum(tensor.nbytes for name, tensor in state.tensors().items() if name != "sizes")
    assert 4_000 < n_bytes / n_features <= 4_096


def test_the_reservoir_is_uniform_over_active_windows() -> None:
    """Weak and strong windows are kept at the same rate: a chi-square over 200 seeds, deciles of activation."""
    window = torch.arange(100)
    value = torch.linspace(0.1, 10.0, 100)
    kept = torch.zeros(100)
    for seed in range(200):
        zeros, sizes = torch.zeros_like(window), Sizes(1, top=1, reservoir=20, seed=seed)
        state = state_of(zeros, window=window, split=zeros, value=value, sizes=sizes)
        kept[state.drawn_windows(0, np.array([0]))[0][0]] += 1
    by_decile = kept.view(10, 10).sum(1)
    assert ((by_decile - 400) ** 2 / 400).sum() < 27.9  # 99.9 % point of chi-square with 9 degrees of freedom
