"""Sparse activations on disk: what was saved is read, also where features have nothing in a shard."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from labeling.codes import Codes, read_codes, save_codes


def test_features_without_activations_at_the_end_of_a_shard_are_read_as_nothing(tmp_path: Path) -> None:
    some = np.array([0, 1])
    save_codes(tmp_path / "shard", Codes(some, some, some, np.ones(2, np.float32)), n_features=8)
    for wanted in ([0, 1, 5, 7], [1, 7], [6, 7]):
        read = read_codes([tmp_path / "shard"], np.array(wanted))
        assert read.feature.tolist() == [feature for feature in wanted if feature < 2]
