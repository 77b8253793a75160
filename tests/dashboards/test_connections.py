"""Connections lend readers of the newest snapshot and remember what was read from it, never across snapshots."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from dashboards.connections import Connections
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
