"""Means over features and their intervals."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import t

from evals.groups import score_groups
from evals.items import Items
from evals.metrics import MetricTable, score_features
from labeling.types import STRATA
from tests.evals.judged import rates, sampled, yes_no


def scored(items: Items, *, intervals: bool = False) -> MetricTable:
    return score_features(items, generator=np.random.default_rng(0), intervals=intervals, draws=20, tau_shares=(0.01,))


def test_unscored_features_are_counted_and_leave_the_mean_alone() -> None:
    table = scored(sampled(yes_no(rates(0.8, 0.2, 0.2)), n_features=4, generator=np.random.default_rng(0)))
    row = table.row("headline")
    value = table.value.copy()
    value[row] = [0.6, 0.8, np.nan, 0.7]
    group = score_groups(replace(table, value=value, shared_variance=np.zeros(len(value))))
    assert (group.n_features[row], group.n_unscored[row]) == (3, 1)
    assert group.mean[row] == pytest.approx(0.7)
    half = t.ppf(0.975, 2) * max(0.1 / np.sqrt(3), 0.5 / 4 / np.sqrt(3))
    assert (group.low[row], group.high[row]) == pytest.approx((0.7 - half, min(0.7 + half, 1.0)))


def test_a_group_without_a_value_has_no_mean_and_one_feature_keeps_its_own_interval() -> None:
    items = sampled(yes_no(rates(0.8, 0.2, 0.2)), n_features=1, generator=np.random.default_rng(0))
    table = scored(items, intervals=True)
    group = score_groups(table)
    row, unscored = table.row("balanced_hard"), table.row("average_precision")
    assert (group.low[row], group.high[row]) == (table.low[row, 0], table.high[row, 0])
    assert np.isnan([group.mean[unscored], group.low[unscored]]).all()
    assert group.n_unscored[unscored] == 1


def test_features_that_all_score_alike_have_an_interval_around_the_mean() -> None:
    constant = {s: np.full(len(g), 0.3) for s, g in yes_no({}).items()}
    group_table = scored(sampled(constant, n_features=20, generator=np.random.default_rng(0)))
    group = score_groups(group_table)
    row = group_table.row("balanced_hard")
    assert group.low[row] < 0.5 < group.high[row]
    assert group.high[row] - group.low[row] < 0.05


def with_shared_panel(generator: np.random.Generator, n_features: int) -> Items:
    """Features that judge the same 60 panel windows, some of which mislead the judge for every feature at once."""
    items = sampled(yes_no(rates(0.9, 0.1, 0.0)), n_features=n_features, generator=generator, panel=60)
    misleading = generator.random(60) < 0.15
    own = items.stratum == STRATA.index("random")
    document = items.document.copy()
    document[items.panel] = np.tile(np.arange(2_000_000, 2_000_060), n_features)
    probability = items.probability.copy()
    probability[own] = generator.random(int(own.sum())) < 0.15
    probability[items.panel] = np.tile(misleading, n_features)
    return replace(items, document=document, probability=probability)


def test_documents_shared_by_features_widen_the_interval_of_the_mean_to_its_coverage() -> None:
    generator = np.random.default_rng(4)
    oracle = (0.9 + 1 - 0.15) / 2
    covered: list[bool] = []
    without: list[bool] = []
    for _ in range(100):
        table = scored(with_shared_panel(generator, 30))
        row = table.row("balanced_random")
        alone = replace(table, shared_variance=np.zeros_like(table.shared_variance))
        for found, group in ((covered, score_groups(table)), (without, score_groups(alone))):
            found.append(bool(group.low[row] <= oracle <= group.high[row]))
    assert np.mean(covered) >= 0.92
    assert np.mean(without) < 0.8


def test_the_interval_of_the_mean_has_the_width_of_a_crossed_two_level_bootstrap() -> None:
    generator = np.random.default_rng(9)
    items = with_shared_panel(generator, 30)
    table = scored(items)
    row = table.row("balanced_random")
    group = score_groups(table)
    means = []
    panel = np.flatnonzero(items.panel[0])
    for _ in range(120):
        # Features outside; panel windows drawn once for all of them.
        order = np.arange(items.width)
        order[panel] = generator.choice(panel, len(panel))
        drawn = Items(
            **{
                name: value[:, order] if value.ndim == 2 else value
                for name, value in vars(items.take(generator.integers(0, 30, 30))).items()
            }
        )
        means.append(scored(drawn).value[row].mean())
    half = t.ppf(0.975, 29) * np.std(means, ddof=1)
    assert (group.high[row] - group.low[row]) / 2 == pytest.approx(half, rel=0.25)
