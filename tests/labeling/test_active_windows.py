"""Active windows against brute force, from parts in any order."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np

from labeling.active_windows import find_active, firing_sets
from labeling.codes import CodePart, CodeReader
from labeling.types import IntArray

N_FEATURES, N_WINDOWS, WIDTH = 9, 50, 4
VALUES = np.where(
    np.random.default_rng(1).random((N_FEATURES, N_WINDOWS, WIDTH)) < 0.2,
    np.random.default_rng(2).exponential(size=(N_FEATURES, N_WINDOWS, WIDTH)),
    0,
).astype(np.float32)
AT_HAND = np.flatnonzero(np.arange(N_WINDOWS) % 5 != 2)


def read(features: IntArray, order: tuple[range, ...]) -> Iterator[CodePart]:
    for windows in order:
        place, window, position = np.nonzero(VALUES[features][:, windows])
        ids = np.array(windows)[window]
        yield CodePart(place, ids, position.astype(np.int16), VALUES[features[place], ids, position])


WHOLE: CodeReader = partial(read, order=(range(N_WINDOWS),))
# windows of a part descend, as they may: only those of one window must stand together
IN_PARTS: CodeReader = partial(read, order=(range(49, 29, -1), range(0, 12), range(12, 30)))


def test_activations_of_a_pair_are_those_in_the_window() -> None:
    features = np.array([1, 2, 7])
    for reader in (WHOLE, IN_PARTS):
        active = find_active(reader, features, AT_HAND)
        for place, feature in enumerate(features):
            for row, window in enumerate(AT_HAND):
                pair = active.pair[place, row]
                sizes, entries = active.entries_of(np.array([pair]))
                expected = VALUES[feature, window]
                assert active.position[entries].tolist() == np.flatnonzero(expected).tolist()
                assert active.value[entries].tolist() == expected[expected > 0].tolist()
                assert sizes[0] == np.count_nonzero(expected)
                assert (pair < 0) if not expected.any() else (active.maximum[pair] == expected.max())


def test_windows_that_are_not_at_hand_are_left_out() -> None:
    active = find_active(WHOLE, np.arange(N_FEATURES), AT_HAND[:3])
    assert len(active.value) == np.count_nonzero(VALUES[:, AT_HAND[:3]])


def test_features_that_are_silent_everywhere_have_no_pairs() -> None:
    active = find_active(WHOLE, np.array([4]), np.array([1_000]))
    assert (active.pair == -1).all()
    assert len(active.place) == 0


def test_a_feature_fires_where_its_largest_activation_is_above_the_threshold() -> None:
    above = np.linspace(0, 2, N_FEATURES).astype(np.float32)
    split = (AT_HAND % 3).astype(np.int8)
    column = np.zeros(len(AT_HAND), np.int32)
    for s in range(3):
        column[split == s] = np.arange((split == s).sum())
    for reader in (WHOLE, IN_PARTS):
        found = firing_sets(reader, above, window=AT_HAND, split=split, column=column, n_splits=3)
        for s, sets in enumerate(found):
            for feature in range(N_FEATURES):
                largest = VALUES[feature, AT_HAND[split == s]].max(1)
                members = sets.column[sets.ends[feature] : sets.ends[feature + 1]]
                assert sorted(members.tolist()) == np.flatnonzero(largest > above[feature]).tolist()
