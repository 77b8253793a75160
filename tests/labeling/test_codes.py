"""Sparse activations on disk: what was saved is read, also where features have nothing in a shard."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from labeling.codes import read_codes, save_codes
from tests.labeling.sampler_builders import sorted_events


def test_features_without_activations_at_the_end_of_a_shard_are_read_as_nothing(tmp_path: Path) -> None:
    some = torch.tensor([0, 1])
    events = sorted_events(some, window=some, split=some, position=some, value=torch.ones(2))
    save_codes(tmp_path / "shard", events, n_features=8)
    for wanted in ([0, 1, 5, 7], [1, 7], [6, 7]):
        read = read_codes([tmp_path / "shard"], np.array(wanted))
        assert read.feature.tolist() == [feature for feature in wanted if feature < 2]


def test_an_activation_takes_ten_bytes(tmp_path: Path) -> None:
    window = torch.arange(10_000)
    events = sorted_events(window % 7, window=window, split=window % 3, value=torch.ones(10_000))
    save_codes(tmp_path / "shard", events, n_features=7)
    assert (tmp_path / "shard").stat().st_size < 10 * 10_000 + 1_000
