"""Schema changes: numbered, applied once, whole or not at all, and never onto a database of a newer version."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import duckdb
import pytest

from labeling.errors import FeatlasError
from labeling.migrations import Migration, latest_version, migrations
from labeling.snapshot import query
from labeling.store import Store, migrate
from labeling.workspace import Workspace
from tests.labeling.store_builders import run, small

NEXT = latest_version() + 1


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path).create()


def test_schema_changes_are_numbered_from_one_without_gaps() -> None:
    assert [step.version for step in migrations()] == list(range(1, NEXT))


@pytest.mark.parametrize("version", range(1, NEXT))
def test_a_database_of_any_earlier_schema_opens_with_its_rows(workspace: Workspace, version: int) -> None:
    with duckdb.connect(str(workspace.database)) as old:
        migrate(old, migrations()[:version])
        old.execute("INSERT INTO runs (run_id, state) VALUES ('old', 'complete')")
    with Store(workspace) as store:
        small(store, "runs", run("new"))
        assert store.read("runs").select("run_id", "state").rows() == [("new", "running"), ("old", "complete")]
        assert store.read("schema_version")["version"].to_list() == list(range(1, NEXT))
        store.publish()


def test_an_old_schema_and_a_new_one_are_the_same_in_the_end(workspace: Workspace) -> None:
    shapes = []
    for start in (1, len(migrations())):
        with duckdb.connect() as connection:
            migrate(connection, migrations()[:start])
            migrate(connection)
            sql = "SELECT table_name, column_name, data_type, comment FROM duckdb_columns() ORDER BY ALL"
            shapes.append(connection.execute(sql).fetchall())
    assert shapes[0] == shapes[1]


def test_each_change_is_applied_once_and_recorded(workspace: Workspace) -> None:
    with duckdb.connect() as connection:
        for _ in range(2):
            migrate(connection, now=lambda: datetime(2026, 1, 1))
        rows = connection.execute("SELECT version, name, applied_at FROM schema_version ORDER BY version").fetchall()
    assert rows[0] == (1, "tables", datetime(2026, 1, 1))
    assert len(rows) == len(migrations())


def test_a_change_that_fails_leaves_the_database_as_it_was() -> None:
    broken = Migration(NEXT, "broken", "CREATE TABLE half (a INTEGER); ALTER TABLE nope ADD COLUMN b INTEGER;")
    with duckdb.connect() as connection:
        migrate(connection)
        with pytest.raises(duckdb.CatalogException):
            migrate(connection, [*migrations(), broken])
        assert connection.execute("SELECT max(version) FROM schema_version").fetchall() == [(NEXT - 1,)]
        assert connection.execute("FROM duckdb_tables() WHERE table_name = 'half'").fetchall() == []


def test_a_database_of_a_newer_version_is_refused_and_not_touched(workspace: Workspace) -> None:
    with duckdb.connect(str(workspace.database)) as newer:
        migrate(newer, [*migrations(), Migration(NEXT, "later", "CREATE TABLE later (a INTEGER)")])
    before = workspace.database.read_bytes()
    with pytest.raises(FeatlasError, match=f"schema {NEXT}, made by a newer version"):
        Store(workspace)
    assert workspace.database.read_bytes() == before


def test_a_database_of_another_program_is_refused(workspace: Workspace) -> None:
    with duckdb.connect(str(workspace.database)) as other:
        other.execute("CREATE TABLE mine (a INTEGER)")
    with pytest.raises(FeatlasError, match="not a Featlas database"):
        Store(workspace)


@pytest.mark.parametrize(("version", "message"), [(NEXT, "newer version"), (0, "publishes a new snapshot")])
def test_a_snapshot_of_another_schema_is_refused(workspace: Workspace, version: int, message: str) -> None:
    with duckdb.connect(str(workspace.snapshot)) as other:
        migrate(other)
        other.execute("DELETE FROM schema_version")
        other.execute("INSERT INTO schema_version VALUES (?, NULL, NULL)", [version])
    with pytest.raises(FeatlasError, match=message):
        query(workspace, "FROM runs")
