"""Evidence shards: replaced as a whole, read in order, never half written."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from labeling import evidence
from labeling.errors import FeatlasError
from labeling.workspace import Workspace
from tests.labeling.store_builders import large


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path).create()


def panel(*windows: int) -> pl.DataFrame:
    return large("panel", *({"sample_id": "s", "rank": rank, "window_id": w} for rank, w in enumerate(windows)))


def test_a_shard_comes_back_in_the_declared_columns_types_and_order(workspace: Workspace) -> None:
    shuffled = pl.DataFrame({"window_id": [7, 5], "rank": [1, 0], "sample_id": ["s", "s"]})  # 64-bit ranks
    evidence.write_shard(workspace, "panel", "s", 0, shuffled)
    assert_frame_equal(evidence.scan(workspace, "panel").collect(), panel(5, 7))


def test_lists_come_back_as_they_were(workspace: Workspace) -> None:
    row = {"sample_id": "s", "feature": 1, "positions": [0, 31], "activations": [0.5, 2.0], "population": 9}
    evidence.write_shard(workspace, "contexts", "s", 0, large("contexts", row))
    back = evidence.scan(workspace, "contexts").collect().row(0, named=True)
    assert (back["positions"], back["activations"]) == ([0, 31], [0.5, 2.0])


def test_columns_that_an_earlier_version_did_not_write_are_null(workspace: Workspace) -> None:
    old = evidence.write_shard(workspace, "judgments", "g", 0, large("judgments", {"window_id": 1}))
    pl.read_parquet(old).drop("place").write_parquet(old)
    evidence.write_shard(workspace, "judgments", "g", 1, large("judgments", {"window_id": 2, "place": 3}))
    read = evidence.scan(workspace, "judgments", "g").collect()
    assert read.select("window_id", "place").rows() == [(1, None), (2, 3)]
    assert read.schema == evidence.JUDGMENTS.schema


def test_writing_a_shard_again_replaces_it_and_leaves_nothing_else(workspace: Workspace) -> None:
    for windows in ((1, 2, 3), (4,)):
        evidence.write_shard(workspace, "panel", "s", 0, panel(*windows))
    assert evidence.scan(workspace, "panel").collect()["window_id"].to_list() == [4]
    assert [f.name for f in workspace.evidence("panel").iterdir()] == ["s-00000.parquet"]


def test_the_same_rows_make_the_same_bytes(workspace: Workspace) -> None:
    first = evidence.write_shard(workspace, "panel", "s", 0, panel(1, 2)).read_bytes()
    assert evidence.write_shard(workspace, "panel", "s", 0, panel(1, 2).reverse()).read_bytes() == first


def test_shards_of_one_key_are_read_in_their_order(workspace: Workspace) -> None:
    for key, shard, window in (("s", 11, 3), ("s", 2, 2), ("s2", 0, 9), ("s", 0, 1)):
        evidence.write_shard(workspace, "panel", key, shard, panel(window))
    assert evidence.scan(workspace, "panel", "s").collect()["window_id"].to_list() == [1, 2, 3]


def test_a_table_without_shards_is_empty_and_typed(workspace: Workspace) -> None:
    assert_frame_equal(evidence.scan(workspace, "contexts").collect(), large("contexts"))


def test_unfinished_files_are_not_read(workspace: Workspace) -> None:
    done = evidence.write_shard(workspace, "panel", "s", 0, panel(1))
    done.with_name(".s-00001.parquet.123.tmp").write_bytes(b"half")
    assert evidence.shard_files(workspace, "panel") == [done]


def test_a_folder_with_wildcards_in_its_name_is_read(tmp_path: Path) -> None:
    odd = Workspace(tmp_path / "it's [1]*?").create()
    evidence.write_shard(odd, "panel", "s", 0, panel(1))
    assert evidence.scan(odd, "panel").collect().height == 1


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (pl.DataFrame({"sample_id": ["s"], "rank": [0]}), r"missing \['window_id'\]"),
        (panel(1).with_columns(extra=1), r"unknown \['extra'\]"),
    ],
)
def test_other_columns_than_declared_are_an_error(workspace: Workspace, frame: pl.DataFrame, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        evidence.write_shard(workspace, "panel", "s", 0, frame)


def test_what_is_not_known_is_null_and_not_nan(workspace: Workspace) -> None:
    with pytest.raises(ValueError, match=r"NaN in \['grade'\]"):
        evidence.write_shard(workspace, "judgments", "s", 0, large("judgments", {"grade": float("nan")}))


@pytest.mark.parametrize("key", ["", "../s", "a/b", "a-b", ".s"])
def test_a_key_cannot_leave_its_folder(workspace: Workspace, key: str) -> None:
    with pytest.raises(ValueError, match="key"):
        evidence.write_shard(workspace, "panel", key, 0, panel(1))


def test_a_disk_that_refuses_is_one_paragraph_with_the_path(workspace: Workspace) -> None:
    workspace.evidence("panel").write_text("a file where the folder should be")
    with pytest.raises(FeatlasError, match=r"panel/s-00000.parquet cannot be written: .*still there"):
        evidence.write_shard(workspace, "panel", "s", 0, panel(1))


FILL_THE_DISK = """
import resource, sys
from pathlib import Path
from labeling import evidence
from labeling.errors import FeatlasError
from labeling.workspace import Workspace
from tests.labeling.test_evidence import panel
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
try:
    evidence.write_shard(Workspace(Path(sys.argv[1])), "panel", "s", 0, panel(*(i * i % 99991 for i in range(50000))))
except FeatlasError as error:
    sys.stdout.write(str(error))
"""


def test_a_full_disk_keeps_the_earlier_shard_and_leaves_no_half_one(workspace: Workspace) -> None:
    evidence.write_shard(workspace, "panel", "s", 0, panel(1))
    done = subprocess.run(
        [sys.executable, "-c", FILL_THE_DISK, str(workspace.root)], capture_output=True, text=True, check=True
    )
    assert "cannot be written: File too large" in done.stdout
    assert evidence.scan(workspace, "panel").collect()["window_id"].to_list() == [1]
    assert len(list(workspace.evidence("panel").iterdir())) == 1


def test_a_column_that_older_files_lack_is_null(workspace: Workspace) -> None:
    evidence.write_shard(workspace, "judgments", "s", 1, large("judgments", {"first_request_key": "k"}))
    old = large("judgments", {"feature": 1}).drop("first_request_key")
    old.write_parquet(evidence.shard_file(workspace, "judgments", "s", 0))
    assert evidence.scan(workspace, "judgments").collect()["first_request_key"].to_list() == [None, "k"]
