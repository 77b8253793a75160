"""Exports replace nothing unasked, and never leave half of one."""

from __future__ import annotations

from pathlib import Path

import pytest

from dashboards.exporters._places import mark, written_aside
from labeling.errors import UsageError


def write(place: Path, text: str, *, force: bool = False) -> None:
    with written_aside(place, force=force) as aside:
        aside.write_text(text)


def write_half(place: Path) -> None:
    with written_aside(place, force=True) as aside:
        aside.write_text("half")
        raise RuntimeError("disk")


def test_a_file_that_is_there_is_kept_unless_forced(tmp_path: Path) -> None:
    write(tmp_path / "a.csv", "first")
    with pytest.raises(UsageError, match="--force"):
        write(tmp_path / "a.csv", "second")
    write(tmp_path / "a.csv", "third", force=True)
    assert (tmp_path / "a.csv").read_text() == "third"
    assert [file.name for file in tmp_path.iterdir()] == ["a.csv"]


def test_a_folder_is_replaced_only_if_an_export_made_it(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "thesis.txt").write_text("years of work")
    with pytest.raises(UsageError, match=r"no export\.json"):
        write(folder, "x", force=True)
    mark(folder, "delphi")
    write(folder, "x", force=True)
    assert folder.read_text() == "x"
    assert [file.name for file in tmp_path.iterdir()] == ["mine"]


def test_an_export_that_fails_leaves_what_was_there_and_nothing_else(tmp_path: Path) -> None:
    write(tmp_path / "a.csv", "first")
    with pytest.raises(RuntimeError, match="disk"):
        write_half(tmp_path / "a.csv")
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("a.csv", "first")]


def test_what_a_killed_export_left_is_cleared_away(tmp_path: Path) -> None:
    (tmp_path / ".out.new").mkdir()
    (tmp_path / ".out.new" / "half").write_text("x")
    write(tmp_path / "out", "whole")
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("out", "whole")]


def test_a_place_in_no_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no folder"):
        write(tmp_path / "absent" / "a.csv", "x")


def test_a_file_gives_way_to_a_folder_when_forced(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("old", encoding="utf-8")
    with written_aside(tmp_path / "a", force=True) as aside:
        aside.mkdir()
    assert [file.is_dir() for file in tmp_path.iterdir()] == [True]


def test_a_place_that_can_not_be_made_is_told(tmp_path: Path) -> None:
    with (
        pytest.raises(UsageError, match="can't be written: No such file"),
        written_aside(tmp_path / "a", force=False) as aside,
    ):
        (aside / "absent" / "file").write_text("x", encoding="utf-8")
