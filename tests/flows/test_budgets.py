"""One budget a run: found by the workspace, shared by all stages, gone when the run ends."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows.budgets import budget_of, open_budget, prices
from flows.llm import LLMSettings
from labeling.errors import BudgetReached, FeatlasError
from tests.labeling.llm_builders import request

THREE = LLMSettings(max_requests=3)


def test_all_who_work_on_a_workspace_share_the_open_budget(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with open_budget(Path("ws"), THREE) as outer, open_budget(tmp_path / "ws", THREE) as stage:
        assert stage is outer is budget_of(tmp_path / "ws", LLMSettings())
        for _ in range(3):
            stage.reserve(request("q"))
        with pytest.raises(BudgetReached):
            outer.reserve(request("q"))
        assert budget_of(tmp_path / "other", THREE) is not outer
    assert budget_of(tmp_path / "ws", THREE).spent().requests == 0


def test_the_inner_end_leaves_the_budget_open_and_the_outer_one_closes_it(tmp_path: Path) -> None:
    with open_budget(tmp_path, THREE) as outer:
        with open_budget(tmp_path, THREE):
            pass
        assert budget_of(tmp_path, THREE) is outer
    with open_budget(tmp_path, THREE) as later:
        assert later is not outer


def test_a_shard_on_its_own_keeps_the_limits_that_its_job_carries(tmp_path: Path) -> None:
    alone = budget_of(tmp_path, LLMSettings(max_requests=1))
    alone.reserve(request("q"))
    with pytest.raises(BudgetReached):
        alone.reserve(request("q"))


def test_a_table_of_one_s_own_stands_over_the_shipped_one(tmp_path: Path) -> None:
    own = tmp_path / "own.json"
    own.write_text('{"as_of": "2026-01-01", "models": {"openai/gpt-4o": {"input": 1, "output": 2}}}')
    both, shipped = prices(str(own)), prices()
    assert both.price_of("openai/gpt-4o") != shipped.price_of("openai/gpt-4o") is not None
    assert both.price_of("openai/gpt-4o-mini") == shipped.price_of("openai/gpt-4o-mini") is not None
    with pytest.raises(FeatlasError, match=r"none\.json cannot be read"):
        prices(str(tmp_path / "none.json"))
