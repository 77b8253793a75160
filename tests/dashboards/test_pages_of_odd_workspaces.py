"""Workspaces that are missing, empty, half done, damaged or changing while pages look at them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import duckdb
import pytest

from labeling.run_progress import RunProgress, write_progress
from labeling.store import Store
from labeling.workspace import Workspace
from tests.dashboards.build import START, make, publish
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
            assert "default-src 'none'" in page.headers["content-security-policy"]


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


@pytest.mark.parametrize("damaged", [lambda _: b"", lambda _: b"not a database" * 1000, lambda whole: whole[:5000]])
def test_a_damaged_snapshot_is_told_and_not_a_traceback(tmp_path: Path, damaged: Callable[[bytes], bytes]) -> None:
    workspace = publish(make(), Workspace(tmp_path / "workspace"))
    workspace.snapshot.write_bytes(damaged(workspace.snapshot.read_bytes()))
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


def test_a_snapshot_that_another_program_holds_is_told(tmp_path: Path) -> None:
    workspace = publish(make(), Workspace(tmp_path / "workspace"))
    hold = "import duckdb, sys; c = duckdb.connect(sys.argv[1]); print('held', flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", hold, str(workspace.snapshot)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with serving(workspace) as served:
            page = served.get("/features")
        other.communicate("")
    assert page.status == 503
    assert f"process {other.pid}" in page.text


def test_damaged_evidence_is_told_on_the_pages_that_need_it(tmp_path: Path) -> None:
    workspace = publish(make(), Workspace(tmp_path / "workspace"))
    for file in workspace.evidence("contexts").rglob("*.parquet"):
        file.write_bytes(b"not Parquet" * 100)
    with serving(workspace) as served:
        page = served.get("/feature/1")
    assert page.status == 503
    assert "contexts" in page.text
    assert "Traceback" not in page.text


@pytest.mark.parametrize(
    "damaged", [lambda whole: whole[: len(whole) // 2], lambda whole: whole[:20] + b"?" * 400 + whole[420:]]
)
def test_a_shard_that_is_damaged_later_is_no_mistake_of_the_statement(
    tmp_path: Path, damaged: Callable[[bytes], bytes]
) -> None:
    workspace = publish(make(), Workspace(tmp_path / "workspace"))
    (file,) = workspace.evidence("contexts").rglob("*.parquet")
    last = file.with_name(f"z-{file.name}")  # the first one is looked into when the workspace is opened
    last.write_bytes(damaged(file.read_bytes()))
    with serving(workspace) as served:
        page = served.get("/sql", q="select * from contexts")
        csv = served.get("/sql.csv", q="select * from contexts")
        mistake = served.get("/sql", q="select nothing from contexts")
    assert (page.status, csv.status, mistake.status) == (503, 503, 400)
    assert all("cannot be read" in answer.text and last.name in answer.text for answer in (page, csv))
    assert "cannot be read" not in mistake.text


def test_a_run_that_has_published_nothing_yet_says_how_far_it_is(tmp_path: Path) -> None:
    now = RunProgress("run", "judge", 30, 120, "features", "2026-01-02T03:04:05", "2026-01-02T03:04:15", os.getpid())
    write_progress(Workspace(tmp_path), now)
    with serving(Workspace(tmp_path)) as served:
        page = served.get("/runs")
    assert page.status == 503
    assert "<b>judge</b>: 30 of 120 features, about 30.0 s left of this step" in page.text


def test_the_overview_says_which_labels_and_scores_the_last_run_changed(tmp_path: Path) -> None:
    made = make(n_features=12)
    made.add("runs", **{**made.tables["runs"][0], "run_id": "run2", "started_at": START + timedelta(days=1)})
    label = next(row for row in made.tables["explanations"] if row["sample_id"] == "s1" and row["feature"] == 1)
    later = {"explanation_id": "again", "run_id": "run2", "created_at": START + timedelta(days=1)}
    made.add("explanations", **{**label, **later, "text": "another label"})
    score = next(s for s in made.tables["scores"] if s["feature"] == 2 and s["metric"] == "headline")
    moved = {"score_id": "moved", "run_id": "run2", "value": 0.1, "low": 0.05, "high": 0.15}
    made.add("scores", **{**score, **moved})
    with serving(publish(made, Workspace(tmp_path / "workspace"))) as served:
        page = served.get("/", set="demo").text
    changed = page.split("<h2>What changed</h2>")[1].split("</section>")[0]
    assert "1 label read differently than before" in changed
    assert "another label" in changed
    assert "1 score moved beyond the interval" in changed
    assert changed.count("/feature/") == 2
