"""Workspaces that are missing, empty, half done, damaged or changing while pages look at them."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from labeling.store import Store
from labeling.workspace import Workspace
from tests.dashboards.build import make, publish
from tests.dashboards.serving import serving

ADDRESSES = (
    "/",
    "/scoreboard",
    "/features",
    "/feature/0",
    "/feature/0/judgments",
    "/map",
    "/neighborhood/0",
    "/runs",
    "/sql",
)


def test_before_the_first_run_every_page_says_which_command_comes_first(tmp_path: Path) -> None:
    with serving(Workspace(tmp_path)) as served:
        for address in ADDRESSES:
            page = served.get(address)
            assert (page.status, "featlas demo" in page.text) == (503, True)


def test_a_workspace_without_a_sample_says_so(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "workspace")
    with Store(workspace) as store:
        store.publish()
    with serving(workspace) as served:
        assert {address: served.get(address).status for address in ADDRESSES} == dict.fromkeys(ADDRESSES, 200)
        assert "Nothing is sampled yet" in served.get("/features").text


@pytest.mark.parametrize(
    ("gone", "address", "said"),
    [
        (("scores", "score_groups", "judgments"), "/scoreboard", "featlas score"),
        (("scores", "score_groups", "judgments"), "/", "featlas score"),
        (("explanations", "scores", "score_groups", "judgments"), "/feature/1", "featlas label"),
        (("neighbors", "map_points", "clusterings", "cluster_members", "clusters"), "/map", "featlas cluster"),
        (("neighbors", "map_points", "clusterings", "cluster_members", "clusters"), "/feature/1", "featlas cluster"),
        (
            ("neighbors", "map_points", "clusterings", "cluster_members", "clusters"),
            "/neighborhood/1",
            "featlas cluster",
        ),
    ],
)
def test_a_stage_that_has_not_run_is_named(tmp_path: Path, gone: tuple[str, ...], address: str, said: str) -> None:
    made = make()
    for table in gone:
        del made.tables[table]
    with serving(publish(made, Workspace(tmp_path / "workspace"))) as served:
        page = served.get(address)
    assert page.status == 200, page.text
    assert said in page.text


@pytest.mark.parametrize("content", [b"", b"not a database" * 1000])
def test_a_damaged_snapshot_is_told_and_not_a_traceback(tmp_path: Path, content: bytes) -> None:
    workspace = publish(make(), Workspace(tmp_path / "workspace"))
    workspace.snapshot.write_bytes(content)
    with serving(workspace) as served:
        page = served.get("/")
    assert page.status == 503
    assert "cannot be read" in page.text


def test_a_snapshot_of_an_earlier_version_says_what_brings_it_up_to_date(tmp_path: Path) -> None:
    workspace = publish(make(), Workspace(tmp_path / "workspace"))
    with duckdb.connect(workspace.snapshot) as connection:
        connection.execute("DELETE FROM schema_version WHERE version > 3")
    with serving(workspace) as served:
        page = served.get("/")
    assert page.status == 503
    assert "featlas report" in page.text


def test_a_new_snapshot_is_shown_without_a_restart(tmp_path: Path) -> None:
    workspace = publish(make(n_features=10), Workspace(tmp_path / "workspace"))
    with serving(workspace) as served:
        before = served.get("/features", set="demo").text
        publish(make(n_features=30), workspace)
        after = served.get("/features", set="demo").text
    assert "<b>10</b> features" in before
    assert "<b>30</b> features" in after


def test_pages_are_read_while_a_run_holds_the_database(tmp_path: Path) -> None:
    workspace = publish(make(), Workspace(tmp_path / "workspace"))
    with Store(workspace), serving(workspace) as served:
        assert served.get("/features").status == 200
