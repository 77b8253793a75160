"""The bench of the statistics, on few features. No times: those depend on the day."""

from __future__ import annotations

import numpy as np
import pytest

from evals.strata import ABOVE, HARD_PARTS, RANDOM, lay_out
from flows.benches import BenchOptions
from flows.benches.statistics import StatisticsBench, create, graded_items
from labeling.errors import UsageError


def test_the_bench_meets_its_targets_on_a_few_features() -> None:
    rows = {row.name: row for row in StatisticsBench(features=200, draws=60, tested=600).measure()}
    assert all(row.ok for row in rows.values())
    assert rows["intervals of zero width"].value == 0
    assert rows["true labels with q < 0.05, judge 0.92 / 0.02"].target == ">= 0.9"
    assert any(name.startswith("all metrics with intervals: 200 features x 100 judgments") for name in rows)


def test_items_have_the_default_design_and_the_rates_asked_for() -> None:
    items = graded_items(400, 0.9, 0.1, np.random.default_rng(0))
    design = lay_out(items, share_of_max=0.01)
    assert items.width == 100
    assert design.answered[0, ABOVE].sum() == 50
    assert design.answered[0, HARD_PARTS].sum() == design.answered[0, RANDOM] == 25
    yes, fires = items.probability >= 0.5, items.activation > 0.5
    assert (yes[fires].mean(), yes[~fires].mean()) == pytest.approx((0.9, 0.1), abs=0.01)


def test_it_takes_a_seed_and_nothing_else() -> None:
    assert create(options=BenchOptions(seed=3)).seed == 3
    with pytest.raises(UsageError, match="takes no --kills"):
        create(options=BenchOptions(kills=2))
