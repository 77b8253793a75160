"""How far a run is, told through a file."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from labeling.run_progress import RunProgress, clear_progress, read_progress, write_progress
from labeling.workspace import Workspace

HALFWAY = RunProgress("run", "judge", 30, 120, "features", "2026-01-02T03:04:05", "2026-01-02T03:04:15", os.getpid())


def test_what_was_written_is_read_until_it_is_cleared(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    assert read_progress(workspace) is None
    write_progress(workspace, HALFWAY)
    assert read_progress(workspace) == HALFWAY
    clear_progress(workspace)
    assert read_progress(workspace) is None


def test_the_time_left_follows_from_the_pace_so_far() -> None:
    assert (HALFWAY.share, HALFWAY.seconds_left) == (0.25, 30.0)
    assert replace(HALFWAY, done=0).seconds_left is None
    assert replace(HALFWAY, done=0, total=0).share == 0.0


def test_a_run_that_was_killed_is_not_shown_as_running(tmp_path: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    write_progress(Workspace(tmp_path), replace(HALFWAY, process=gone.pid))
    assert read_progress(Workspace(tmp_path)) is None


@pytest.mark.parametrize("content", ["", "{", "[]", '{"done": 1}', '{"a": NaN}'])
def test_a_damaged_file_says_nothing(tmp_path: Path, content: str) -> None:
    Workspace(tmp_path).progress.write_text(content)
    assert read_progress(Workspace(tmp_path)) is None
