"""What every export format must do, tried on each file in `dashboards/exporters`."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

import dashboards.exporters
from dashboards.exporters import Exporter
from dashboards.exporters._places import MARK, export_to
from labeling import registry
from labeling.errors import FeatlasError
from labeling.selection import EVERYTHING
from labeling.workspace import Workspace
from tests.dashboards.build import make, publish

DEFAULTS: dict[str, Any] = {"features": EVERYTHING, "tables": ()}


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return publish(make(n_features=12, n_control=4, documents=4), Workspace(tmp_path_factory.mktemp("exported") / "w"))


@pytest.fixture(params=registry.names(dashboards.exporters))
def form(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def make_exporter(form: str) -> Exporter:
    taken = registry.settings_of(dashboards.exporters, form, kind="export format")
    settings = {name: DEFAULTS.get(name) for name in taken}
    made: Exporter = registry.create(dashboards.exporters, form, kind="export format", **settings)
    return made


def place_of(exporter: Exporter, folder: Path) -> Path:
    return folder / f"out{exporter.endings[0] if exporter.endings else ''}"


def files_of(folder: Path) -> set[Path]:
    return {file for file in folder.rglob("*") if file.is_file()}


def test_it_says_in_half_a_line_what_it_writes(form: str) -> None:
    about = import_module(f"{dashboards.exporters.__name__}.{form}").ABOUT
    assert 20 < len(about) <= 75
    assert not about.endswith(".")


def test_it_writes_to_its_place_and_nowhere_else(form: str, workspace: Workspace, tmp_path: Path) -> None:
    before, exporter = files_of(workspace.root), make_exporter(form)
    place = place_of(exporter, tmp_path)
    assert export_to(place, exporter, workspace, force=False)
    assert [found.name for found in tmp_path.iterdir()] == [place.name]
    assert files_of(workspace.root) == before
    assert place.is_file() if exporter.endings else (place / MARK).is_file()


def test_done_twice_it_replaces_itself(form: str, workspace: Workspace, tmp_path: Path) -> None:
    exporter = make_exporter(form)
    place = place_of(exporter, tmp_path)
    for force in (False, True):
        export_to(place, exporter, workspace, force=force)
    assert [found.name for found in tmp_path.iterdir()] == [place.name]


def test_without_a_snapshot_it_says_what_to_run_and_leaves_nothing(form: str, tmp_path: Path) -> None:
    exporter = make_exporter(form)
    with pytest.raises(FeatlasError, match="featlas run"):
        export_to(place_of(exporter, tmp_path), exporter, Workspace(tmp_path / "nothing"), force=False)
    assert list(tmp_path.iterdir()) == []
