"""One budget a run, shared by all of its stages, when the run began, and the prices it counts with.

Jobs carry plain values, so the budget is found by the workspace: one run writes to it at a time, and the shards that
ask language models run in that run's process. A budget opened while one is open on the workspace is the same one, so a
flow of several stages has one budget.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from labeling.assets import asset
from labeling.config import LLMConfig
from labeling.llm._budget import Budget
from labeling.llm._prices import Prices, load_prices


@dataclass(frozen=True)
class _Run:
    budget: Budget
    started_at: float
    """Unix seconds."""


_OPEN: dict[Path, _Run] = {}


@contextmanager
def open_budget(root: Path, limits: LLMConfig) -> Iterator[Budget]:
    """The budget of the run on a workspace. Raise FeatlasError when the user's price table can't be read."""
    root = root.absolute()
    if root in _OPEN:
        yield _OPEN[root].budget
        return
    _OPEN[root] = _Run(make_budget(limits), time.time())
    try:
        yield _OPEN[root].budget
    finally:
        del _OPEN[root]


def budget_of(root: Path, limits: LLMConfig) -> Budget:
    """The open budget of a workspace; for a shard that runs on its own, a budget of its own."""
    run = _OPEN.get(root.absolute())
    return make_budget(limits) if run is None else run.budget


def started_at(root: Path) -> float:
    """When the run on a workspace began, in Unix seconds; now, for a shard that runs on its own."""
    run = _OPEN.get(root.absolute())
    return time.time() if run is None else run.started_at


def make_budget(limits: LLMConfig) -> Budget:
    return Budget(limits.max_cost, limits.max_requests, prices(limits.prices))


@lru_cache(maxsize=8)
def prices(own: str | None = None) -> Prices:
    """The dated price table that comes with Featlas, with the user's own file over it."""
    shipped = load_prices(asset("prices.json"))
    return shipped if own is None else shipped.with_own(load_prices(Path(own)))
