"""Picking silent windows against a plain sort, and firing ones whose activations are equal."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from labeling.contexts import (
    LAST_RANK,
    QUOTAS,
    SILENT_CODES,
    STRATUM_CODE,
    Firing,
    Negatives,
    choose_pool,
    firing_limits,
    pick_first,
    pick_negatives,
    stratify_firing,
)
from labeling.feature_table import describe_features
from labeling.sampler import Sizes
from labeling.types import QUANTILES, SPLITS, STRATA
from tests.labeling.sampler_builders import state_of


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


def firing_of(value: torch.Tensor) -> Firing:
    """Strata of a feature that is active once in each of some windows of `score`, with these activations."""
    window, zero = torch.arange(len(value)), torch.zeros(len(value), dtype=torch.int64)
    sizes = Sizes(1, top=20, reservoir=100, seed=3)
    state = state_of(zero, window=window, split=zero + SPLITS.index("score"), value=value, sizes=sizes)
    table = describe_features(state, np.array([0, 0, 5000]), n_tokens=40_000)
    return stratify_firing(state, table, split="score", features=np.array([0]))


@pytest.mark.parametrize(("values", "strata"), [((1.0,), 1), ((1.0, 9.0), 2), ((1.0, 2.0, 3.0, 4.0, 5.0), 5)])
def test_ties_cost_no_judged_windows_and_populations_stay_exact(values: tuple[float, ...], strata: int) -> None:
    firing = firing_of(torch.tensor(values).repeat(600 // len(values)))
    limits = firing_limits(firing.stratum, QUOTAS["score"])
    picked = firing.stratum[pick_first(firing.stratum, limits)]
    counts = np.bincount(picked, minlength=len(STRATA))
    assert counts.sum() == 50
    assert (counts > 0).sum() == strata
    assert firing.population[0, [STRATUM_CODE[q] for q in QUANTILES]].sum() == 600
    assert firing.population[0, np.unique(picked)].sum() == 600


def test_a_feature_with_enough_windows_of_each_quantile_gives_the_quota_of_each() -> None:
    firing = firing_of(torch.exp(torch.linspace(0, 3, 700)))
    assert firing_limits(firing.stratum, QUOTAS["score"])[0, :6].tolist() == [0, 10, 10, 10, 10, 10]


def test_of_few_firing_windows_all_are_judged() -> None:
    firing = firing_of(torch.tensor([1.0] * 21 + [4.0, 8.0, 8.5]))
    picked = pick_first(firing.stratum, firing_limits(firing.stratum, QUOTAS["score"]))
    assert picked.sum() == 24


def test_the_pool_of_a_pool_and_more_windows_is_that_of_all() -> None:
    window, split = np.arange(900), (np.arange(900) // 9 % 3).astype(np.int8)
    whole = choose_pool(window, split, size=50, seed=1)
    first = choose_pool(window[:500], split[:500], size=50, seed=1)
    both, splits = (
        np.concatenate([window[:500][first], window[500:]]),
        np.concatenate([split[:500][first], split[500:]]),
    )
    assert both[choose_pool(both, splits, size=50, seed=1)].tolist() == whole.tolist()
