"""Rows are looked for in the row groups alone that can hold them, and in any that does not say what it holds."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from labeling import row_groups
from labeling.errors import FeatlasError
from labeling.evidence import TABLES, scan, shard_file, shard_files, write_shard
from labeling.row_groups import RowGroups
from labeling.workspace import Workspace
from tests.labeling.store_builders import large


def put(workspace: Workspace, sample: str, shard: int, *features: int) -> Path:
    rows = [{"sample_id": sample, "feature": feature, "window_id": 7} for feature in features]
    return write_shard(workspace, "panel_activity", sample, shard, large("panel_activity", *rows))


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    workspace = Workspace(tmp_path / "w[or]k")
    put(workspace, "s1", 0, 0, 4)
    put(workspace, "s1", 1, 5, 9)
    put(workspace, "s2", 0, 0, 9)
    return workspace


def found(groups: RowGroups, sample: str, *features: int) -> list[tuple[str, int]]:
    return groups.rows("panel_activity", sample, features, ("sample_id", "feature")).rows()


def looked_into(groups: RowGroups, sample: str, feature: int) -> list[str]:
    wanted = pl.Series([feature]).to_numpy()
    return [
        file.name for file, shard in groups.shards("panel_activity").items() if len(shard.groups(sample, wanted)) > 0
    ]


def test_only_files_whose_range_has_the_feature_are_read(workspace: Workspace) -> None:
    groups = RowGroups(workspace)
    assert looked_into(groups, "s1", 5) == ["s1-00001.parquet"]
    assert looked_into(groups, "s2", 5) == ["s2-00000.parquet"]
    assert looked_into(groups, "s1", 10) == []


def test_rows_are_those_of_the_table_with_that_number_and_owner(workspace: Workspace) -> None:
    groups = RowGroups(workspace)
    assert found(groups, "s1", 4) == [("s1", 4)]
    assert found(groups, "s1", 9, 0, 9, 77) == [("s1", 0), ("s1", 9)]
    assert found(groups, "s2", 5) == found(groups, "s3", 0) == found(groups, "s1") == []
    whole = groups.rows("panel_activity", "s2", [0, 9])
    assert whole.equals(scan(workspace, "panel_activity", "s2").collect())


def test_one_row_group_is_read_of_many(workspace: Workspace) -> None:
    rows = [{"corpus_id": "c", "window_id": 2 * n, "text": str(n), "tokens": [str(n)]} for n in range(1000)]
    write_shard(workspace, "windows", "c", 0, large("windows", *rows))
    groups = RowGroups(workspace)
    (shard,) = groups.shards("windows").values()
    assert len(shard.first) == -(-1000 // TABLES["windows"].rows_together)
    assert shard.groups("c", pl.Series([500]).to_numpy()) == [250 // TABLES["windows"].rows_together]
    texts = groups.rows("windows", "c", [1998, 3, 0, 500], ("window_id", "text", "tokens"))
    assert texts.rows() == [(0, "0", ["0"]), (500, "250", ["250"]), (1998, "999", ["999"])]


def test_a_table_without_files_has_no_rows_of_a_feature(workspace: Workspace) -> None:
    rows = RowGroups(workspace).rows("judgments", "s1", [4])
    assert rows.schema == TABLES["judgments"].schema
    assert rows.height == 0


def test_columns_that_an_older_file_lacks_are_null(workspace: Workspace) -> None:
    row = {"sample_id": "s1", "feature": 3, "window_id": 7, "scorer": "pattern", "trial": 1}
    file = write_shard(workspace, "judgments", "s1", 0, large("judgments", row))
    pl.read_parquet(file, glob=False).drop(TABLES["judgments"].added).write_parquet(file)
    rows = RowGroups(workspace).rows("judgments", "s1", [3])
    assert rows.schema == TABLES["judgments"].schema
    assert rows.row(0, named=True)["scorer"] == "pattern"
    assert rows.select(TABLES["judgments"].added).null_count().sum_horizontal().item() == len(TABLES["judgments"].added)


def test_files_are_looked_into_once_and_again_where_they_changed(workspace: Workspace) -> None:
    groups = RowGroups(workspace)
    first, again = groups.shards("panel_activity"), groups.shards("panel_activity")
    assert [again[file] is shard for file, shard in first.items()] == [True] * 3
    changed = put(workspace, "s1", 0, 20, 24, 29)
    assert found(groups, "s1", 0) == []
    assert found(groups, "s1", 24) == [("s1", 24)]
    last = groups.shards("panel_activity")
    assert [file for file, shard in first.items() if last[file] is not shard] == [changed]


def test_a_file_that_is_replaced_while_it_is_read_is_looked_into_again(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    groups, look = RowGroups(workspace), RowGroups.shards
    changes = iter([(2, 4), (4, 5)])

    def shards_then_change(self: RowGroups, table: str) -> object:
        seen = look(self, table)
        for features in changes:
            put(workspace, "s1", 0, *features)
            break
        return seen

    monkeypatch.setattr(RowGroups, "shards", shards_then_change)
    assert found(groups, "s1", 4) == [("s1", 4)]
    assert next(changes, None) is None


def test_a_file_that_is_taken_away_meanwhile_is_left_out(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = shard_file(workspace, "panel_activity", "s1", 0)
    listed = shard_files(workspace, "panel_activity")
    monkeypatch.setattr(row_groups, "shard_files", lambda *_: listed)
    groups = RowGroups(workspace)
    gone.unlink()
    assert found(groups, "s1", 0, 5) == [("s1", 5)]
    known = RowGroups(workspace)
    assert known.shards("panel_activity").keys() == {*listed} - {gone}


def test_a_file_without_rows_is_left_out_and_one_without_ranges_never(workspace: Workspace) -> None:
    put(workspace, "s1", 1)
    mute = shard_file(workspace, "panel_activity", "s1", 2)
    whole = pl.read_parquet(shard_file(workspace, "panel_activity", "s1", 0), glob=False)
    whole.write_parquet(mute, statistics=False)
    groups = RowGroups(workspace)
    assert looked_into(groups, "s1", 7) == ["s1-00002.parquet"]
    assert found(groups, "s1", 4) == [("s1", 4)] * 2


@pytest.mark.parametrize("content", [b"", b"PAR1 no table PAR1"])
def test_a_damaged_file_is_named(workspace: Workspace, content: bytes) -> None:
    file = shard_file(workspace, "panel_activity", "s1", 0)
    file.write_bytes(content)
    with pytest.raises(FeatlasError, match="panel_activity cannot be read as the table panel_activity"):
        found(RowGroups(workspace), "s1", 4)


def test_a_file_of_other_columns_is_named(workspace: Workspace) -> None:
    pl.DataFrame({"sample_id": ["s1"], "other": [4]}).write_parquet(shard_file(workspace, "panel_activity", "s1", 0))
    with pytest.raises(FeatlasError, match=r"s1-00000\.parquet has no column feature"):
        found(RowGroups(workspace), "s1", 4)
    file = write_shard(workspace, "panel_activity", "s1", 0, large("panel_activity", {"sample_id": "s1", "feature": 4}))
    pl.read_parquet(file, glob=False).with_columns(stratum=pl.lit("x"), max_activation=pl.lit("x")).write_parquet(file)
    with pytest.raises(FeatlasError, match="cannot be read as the table panel_activity"):
        RowGroups(workspace).rows("panel_activity", "s1", [4])


def test_a_file_that_is_damaged_inside_is_named(workspace: Workspace) -> None:
    file = shard_file(workspace, "panel_activity", "s1", 0)
    groups = RowGroups(workspace)
    content = bytearray(file.read_bytes())
    content[8:200] = bytes(192)
    file.write_bytes(content)
    with pytest.raises(FeatlasError, match="cannot be read as the table panel_activity"):
        found(groups, "s1", 4)
