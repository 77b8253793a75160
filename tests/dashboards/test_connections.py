"""Connections lend readers of the newest snapshot and remember what was read from it, never across snapshots."""

from __future__ import annotations

import gc
import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from dashboards.connections import Connections
from labeling.errors import UsageError
from labeling.store import Store
from labeling.workspace import Workspace
from tests.labeling.store_builders import run, small


def publish(workspace: Workspace, run_id: str) -> None:
    with Store(workspace) as store:
        small(store, "runs", run(run_id))
        store.publish()


@pytest.fixture
def connections(tmp_path: Path) -> Iterator[Connections]:
    workspace = Workspace(tmp_path / "workspace")
    publish(workspace, "r1")
    opened = Connections(workspace)
    yield opened
    opened.close()


def test_what_a_reader_reads_is_remembered_for_its_snapshot(connections: Connections) -> None:
    turn = itertools.count()
    for _ in range(2):
        with connections.reader() as reader:
            assert connections.remember(reader, "runs", lambda: next(turn)) == 0
    assert next(turn) == 1


def test_a_reader_of_an_earlier_snapshot_neither_gets_nor_leaves_what_belongs_to_another(
    connections: Connections,
) -> None:
    with connections.reader() as old:
        assert connections.remember(old, "runs", lambda: "old") == "old"
        publish(connections.workspace, "r2")
        assert connections.remember(old, "runs", lambda: "old again") == "old again"
        with connections.reader() as new:
            assert connections.remember(new, "runs", lambda: "new") == "new"
            assert connections.remember(old, "runs", lambda: "old once more") == "old once more"
            assert connections.remember(new, "runs", lambda: "newer") == "new"


def test_a_reader_whose_snapshot_is_replaced_while_it_reads_leaves_nothing(connections: Connections) -> None:
    def read_slowly() -> str:
        publish(connections.workspace, "r2")
        with connections.reader():
            return "old"

    with connections.reader() as old:
        assert connections.remember(old, "runs", read_slowly) == "old"
    with connections.reader() as new:
        assert connections.remember(new, "runs", lambda: "new") == "new"


def test_readers_share_one_database_and_each_knows_its_tables(connections: Connections) -> None:
    with connections.reader() as one, connections.reader() as other:
        first, second = (
            reader.few("SELECT current_setting('TimeZone') AS zone, current_database() AS place, version() AS v")
            for reader in (one, other)
        )
        assert first == second
        assert (first[0]["zone"], first[0]["place"]) == ("UTC", "snapshot")
        assert one.few("SELECT count(*) AS n FROM windows") == other.few("SELECT count(*) AS n FROM windows")
        one.query("SELECT sum(range) FROM range(1000000)")
        sizes = [
            reader.few("SELECT database_size, memory_limit FROM pragma_database_size()") for reader in (one, other)
        ]
        assert sizes[0] == sizes[1]
    assert one is not other


def test_an_error_ends_its_own_reader_alone(connections: Connections) -> None:
    with connections.reader() as other:
        with pytest.raises(UsageError), connections.reader() as one:
            one.query("SELECT no_such_column FROM runs")
        assert other.few("SELECT run_id FROM runs") == [{"run_id": "r1"}]
        with connections.reader() as next_one:
            assert next_one.few("SELECT run_id FROM runs") == [{"run_id": "r1"}]


def test_a_reader_of_an_earlier_snapshot_reads_it_to_the_end(connections: Connections) -> None:
    with connections.reader() as old:
        publish(connections.workspace, "r2")
        with connections.reader() as new:
            gc.collect()
            assert {row["run_id"] for row in new.few("SELECT run_id FROM runs")} == {"r1", "r2"}
            assert old.few("SELECT run_id FROM runs") == [{"run_id": "r1"}]


def test_a_page_that_is_not_there_costs_no_connection(connections: Connections) -> None:
    lent = []

    def fail() -> None:
        with connections.reader() as reader:
            lent.append(reader)
            raise UsageError("no such page")

    for _ in range(2):
        with pytest.raises(UsageError):
            fail()
    assert lent[0] is lent[1]


def test_a_database_that_answers_nobody_any_more_is_opened_anew(connections: Connections) -> None:
    with connections.reader() as lent_before, connections.reader():
        assert connections._first is not None
        connections._first.close()
    with connections.reader() as next_one:
        assert next_one is not lent_before
        assert next_one.few("SELECT run_id FROM runs") == [{"run_id": "r1"}]
