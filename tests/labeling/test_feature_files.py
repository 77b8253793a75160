"""A feature's rows are looked for in the files alone that can hold them, and in any that does not say what it holds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from labeling.evidence import shard_file, write_shard
from labeling.feature_files import FeatureFiles
from labeling.snapshot import open_snapshot, read
from labeling.store import Store
from labeling.workspace import Workspace
from tests.labeling.store_builders import large


def put(workspace: Workspace, sample: str, shard: int, *features: int) -> Path:
    rows = [{"sample_id": sample, "feature": feature, "window_id": 7} for feature in features]
    return write_shard(workspace, "panel_activity", sample, shard, large("panel_activity", *rows))


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    workspace = Workspace(tmp_path / "w[or]k")
    with Store(workspace) as store:
        put(workspace, "s1", 0, 0, 4)
        put(workspace, "s1", 1, 5, 9)
        put(workspace, "s2", 0, 0, 9)
        store.publish()
    return workspace


class Asked:
    """Runs statements over a workspace and counts them."""

    def __init__(self, workspace: Workspace) -> None:
        self.connection, self.n = open_snapshot(workspace), 0

    def __call__(self, sql: str, parameters: Sequence[Any] = ()) -> pl.DataFrame:
        self.n += 1
        return read(self.connection, sql, parameters)


@pytest.fixture
def ask(workspace: Workspace) -> Iterator[Asked]:
    asked = Asked(workspace)
    yield asked
    asked.connection.close()


def names(files: FeatureFiles, ask: Asked, sample: str, feature: int) -> list[str]:
    return [file.name for file in files.files(ask, "panel_activity", sample, feature)]


def test_only_files_whose_range_has_the_feature_are_named(workspace: Workspace, ask: Asked) -> None:
    files = FeatureFiles(workspace)
    assert names(files, ask, "s1", 5) == ["s1-00001.parquet"]
    assert names(files, ask, "s2", 5) == ["s2-00000.parquet"]
    assert names(files, ask, "s1", 10) == []


def test_rows_of_a_feature_are_those_of_the_view(workspace: Workspace, ask: Asked) -> None:
    condition = "WHERE sample_id = 's1' AND feature = 4"
    rows = ask(f"SELECT * FROM {FeatureFiles(workspace).rows(ask, 'panel_activity', 's1', 4)} {condition}")
    assert rows.height == 1
    assert rows.equals(ask(f"SELECT * FROM panel_activity {condition}"))


def test_a_table_without_files_has_no_rows_of_a_feature(workspace: Workspace, ask: Asked) -> None:
    rows = ask(f"SELECT * FROM {FeatureFiles(workspace).rows(ask, 'judgments', 's1', 4)}")
    assert rows.columns == ask("SELECT * FROM judgments").columns
    assert rows.height == 0


def test_files_are_looked_into_once_and_again_where_they_changed(workspace: Workspace, ask: Asked) -> None:
    files = FeatureFiles(workspace)
    assert [names(files, ask, "s1", feature) for feature in (1, 1)] == [["s1-00000.parquet"]] * 2
    assert ask.n == 1
    put(workspace, "s1", 0, 20, 24, 29)
    assert names(files, ask, "s1", 1) == []
    assert names(files, ask, "s1", 24) == ["s1-00000.parquet"]
    assert ask.n == 2


def test_a_file_without_rows_is_left_out_and_one_without_ranges_never(workspace: Workspace, ask: Asked) -> None:
    put(workspace, "s1", 1)
    mute = shard_file(workspace, "panel_activity", "s1", 2)
    whole = pl.read_parquet(shard_file(workspace, "panel_activity", "s1", 0), glob=False)
    whole.write_parquet(mute, statistics=False)
    assert names(FeatureFiles(workspace), ask, "s1", 7) == ["s1-00002.parquet"]
