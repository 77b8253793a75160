"""The finished mini demo, made once and shared, also between processes. Tests that change a workspace take a copy."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import polars as pl
import pytest

from tests.flows.mini import Mini, Ran, tables, write_config


@pytest.fixture(scope="session")
def mini_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Mini, Ran]:
    """The mini demo and how its run ended. The first process that needs it makes it, the others wait for it."""
    own = tmp_path_factory.getbasetemp()
    folder = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "mini"
    folder.mkdir(exist_ok=True)
    mini, ended = Mini(folder / "mini.toml", folder / "workspace"), folder / "ended.json"
    with _alone(folder / "lock"):
        if not ended.exists():
            write_config(folder)
            ended.write_text(json.dumps(asdict(mini.featlas("run"))))
    return mini, Ran(**json.loads(ended.read_text()))


@contextmanager
def _alone(file: Path) -> Iterator[None]:
    """One process at a time."""
    with file.open("w") as opened:
        fcntl.flock(opened, fcntl.LOCK_EX)
        yield


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


@pytest.fixture(autouse=True)
def _mini_stays_as_it_is(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail the test that changes the shared workspace: others, in other processes too, read and copy it."""
    if "mini" not in request.fixturenames:
        yield
        return
    root = request.getfixturevalue("mini").workspace
    before = _files(root)
    yield
    changed = sorted(str(file.relative_to(root)) for file in {file for file, _ in before ^ _files(root)})
    assert changed == [], "the shared workspace was changed; change a `mini_copy`"


def _files(folder: Path) -> set[tuple[Path, int]]:
    """Every file and when it was last written."""
    return {(file, file.stat().st_mtime_ns) for file in folder.rglob("*") if file.is_file()}
