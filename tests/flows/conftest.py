"""The finished mini demo, made once and shared. Tests that change a workspace take a copy."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from tests.flows.mini import Mini, Ran, tables, write_config


@pytest.fixture(scope="session")
def mini_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Mini, Ran]:
    """The mini demo and how its run ended."""
    folder = tmp_path_factory.mktemp("mini")
    mini = Mini(write_config(folder), folder / "workspace")
    return mini, mini.featlas("run")


@pytest.fixture(scope="session")
def mini(mini_run: tuple[Mini, Ran]) -> Mini:
    """The finished mini demo; to be read, not changed."""
    return mini_run[0]


@pytest.fixture
def mini_copy(mini: Mini, tmp_path: Path) -> Mini:
    """A copy that a test may change."""
    return mini.copy(tmp_path)


@pytest.fixture(scope="session")
def mini_tables(mini: Mini) -> dict[str, pl.DataFrame]:
    """Every table of the finished mini demo."""
    return tables(mini.workspace)
