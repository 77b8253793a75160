"""The bench of explainers on a small plantation, with the scripted reader for a language model."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows.benches import BenchOptions
from flows.benches.explainers import SCRIPT, ExplainersBench, create
from labeling.errors import UsageError
from labeling.llm.scripted import SCRIPTS
from labeling.snapshot import query
from labeling.workspace import Workspace


def test_options_of_other_benches_and_unknown_sizes_are_refused() -> None:
    with pytest.raises(UsageError, match="--kills"):
        create(options=BenchOptions(kills=3))
    with pytest.raises(UsageError, match="default, large, small"):
        create(options=BenchOptions(size="huge"))
    assert create(options=BenchOptions(model="openai/m")) == ExplainersBench(model="openai/m")


@pytest.mark.slow
def test_labels_are_measured_beside_the_truth_and_labels_that_know_nothing(tmp_path: Path) -> None:
    rows = {row.name: row.value for row in ExplainersBench(workspace=tmp_path / "kept", size="small").measure()}
    mcc = {name.removesuffix(": oracle MCC, mean"): value for name, value in rows.items() if name.endswith("MCC, mean")}
    assert mcc["baseline truth"] == 1.0
    assert rows["baseline truth: nearest to true"] == 1.0
    assert mcc["baseline generic label"] == mcc["baseline always no"] == 0.0
    assert abs(mcc["baseline random label"] or 1) < 0.1
    known = [mcc[name] or 0.0 for name in ("baseline token table", "token_pattern", "top_and_random")]
    assert 0.3 < known[0] < known[1] < known[2] <= 1.0
    for name in ("token_pattern", "top_and_random"):
        shares = [value or 0.0 for row, value in rows.items() if row.startswith(f"{name}: nearest to")]
        assert sum(shares) == pytest.approx(1.0)
    assert SCRIPT not in SCRIPTS
    labels = query(
        Workspace(tmp_path / "kept" / "workspace"),
        "SELECT explainer, count(*) AS n FROM explanations WHERE state = 'labeled' GROUP BY ALL ORDER BY ALL",
    )
    assert {"token_pattern", "top_and_random"} <= set(labels["explainer"])
