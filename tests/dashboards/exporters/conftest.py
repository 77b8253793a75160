"""One published workspace that all tests of exporters read, and a function that exports from it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import dashboards.exporters
from dashboards.exporters._places import export_to
from labeling.registry import create, settings_of
from labeling.selection import EVERYTHING
from labeling.workspace import Workspace
from tests.dashboards.build import Made, make, publish

Export = Callable[..., Path]


@pytest.fixture(scope="session")
def made() -> Made:
    return make()


@pytest.fixture(scope="session")
def workspace(made: Made, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return publish(made, Workspace(tmp_path_factory.mktemp("exported") / "w"))


@pytest.fixture
def export(workspace: Workspace, tmp_path: Path) -> Export:
    """Export in a format, with the defaults of the command line for what is not given; returns the place."""

    def run(form: str, name: str = "out", **settings: Any) -> Path:
        given: dict[str, Any] = {"features": EVERYTHING, "tables": (), **settings}
        taken = settings_of(dashboards.exporters, form, kind="export format")
        made = create(dashboards.exporters, form, kind="export format", **{name: given.get(name) for name in taken})
        export_to(tmp_path / name, made, workspace, force=False)
        return tmp_path / name

    return run
