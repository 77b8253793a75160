"""Picking silent windows against a plain sort."""

from __future__ import annotations

import numpy as np
import pytest

from labeling.contexts import LAST_RANK, SILENT_CODES, STRATUM_CODE, Negatives, choose_pool, pick_negatives
from labeling.types import STRATA


def negatives(n_features: int = 20, n_windows: int = 600) -> Negatives:
    draw = np.random.default_rng(0)
    drawn = draw.choice([-1, *SILENT_CODES], (n_features, n_windows), p=[0.2, 0.1, 0.05, 0.05, 0.6])
    return Negatives(drawn.astype(np.int8), np.zeros((n_features, len(STRATA)), np.int64))


def lowest(stratum: np.ndarray, order: np.ndarray, code: int, n: int) -> set[int]:
    columns = np.flatnonzero(stratum == code)
    return set(columns[np.argsort(order[columns], kind="stable")][:n].tolist())


@pytest.mark.parametrize("highest", [LAST_RANK, 3])
def test_the_lowest_ranks_of_each_stratum_are_picked(highest: int) -> None:
    some = negatives()
    order = np.random.default_rng(1).integers(0, highest, some.stratum.shape).astype(np.int32)
    place, column = pick_negatives(some, order, hard=9, random=12)
    for feature in range(len(order)):
        picked = set(column[place == feature].tolist())
        expected = [lowest(some.stratum[feature], order[feature], code, 3) for code in SILENT_CODES[:3]]
        expected.append(lowest(some.stratum[feature], order[feature], STRATUM_CODE["random"], 12))
        assert picked == set.union(*expected)


def test_ranks_that_are_all_high_are_picked_too() -> None:
    some = negatives()
    order = np.full(some.stratum.shape, LAST_RANK, np.int32)
    place, column = pick_negatives(some, order, hard=9, random=12)
    assert np.bincount(place).tolist() == [21] * len(order)
    first = np.flatnonzero(some.stratum[0] == STRATUM_CODE["random"])[:12]
    assert set(first.tolist()) <= set(column[place == 0].tolist())


def test_places_are_in_order() -> None:
    some = negatives()
    order = np.random.default_rng(2).integers(0, LAST_RANK, some.stratum.shape).astype(np.int32)
    place, column = pick_negatives(some, order, hard=9, random=12)
    assert (np.diff(place * order.shape[1] + column) > 0).all()


def test_the_pool_of_a_pool_and_more_windows_is_that_of_all() -> None:
    window, split = np.arange(900), (np.arange(900) // 9 % 3).astype(np.int8)
    whole = choose_pool(window, split, size=50, seed=1)
    first = choose_pool(window[:500], split[:500], size=50, seed=1)
    both, splits = (
        np.concatenate([window[:500][first], window[500:]]),
        np.concatenate([split[:500][first], split[500:]]),
    )
    assert both[choose_pool(both, splits, size=50, seed=1)].tolist() == whole.tolist()
