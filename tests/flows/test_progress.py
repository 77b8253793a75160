"""Progress lines for logs: a few, never one an item."""

from __future__ import annotations

from pathlib import Path

from flows.progress import Progress, silent_progress
from flows.session import open_session
from flows.shards import run_serially
from labeling.config_files import demo_config
from labeling.run_progress import read_progress


def test_lines_come_every_ten_seconds_and_at_the_end() -> None:
    lines: list[str] = []
    times = iter(range(0, 1000, 4))
    progress = Progress(bar=False, write=lines.append, clock=lambda: float(next(times)))
    for done in range(1, 9):
        progress.advance("label", done=done, total=8, unit="features")
    assert lines == ["label: 4 of 8 features", "label: 7 of 8 features", "label: 8 of 8 features"]


def test_who_else_wants_to_know_is_told_at_each_step_and_not_more_than_once_a_second() -> None:
    told: list[tuple[str, int, int, str]] = []
    progress = Progress(bar=False, write=lambda _: None, tell=lambda *what: told.append(what))
    for name in ("label", "judge"):
        for done in range(1, 50):
            progress.advance(name, done=done, total=49, unit="features")
    assert [what for what in told if what[1] == 1] == [("label", 1, 49, "features"), ("judge", 1, 49, "features")]
    assert len(told) <= 4


def test_a_run_says_how_far_it_is_while_it_runs_and_nothing_afterwards(tmp_path: Path) -> None:
    config = demo_config(environment={}, overrides={})
    with open_session(
        tmp_path / "w", config, command="run", progress=silent_progress(), runner=run_serially
    ) as session:
        session.progress.advance("label", done=3, total=9, unit="features")
        during = read_progress(session.workspace)
    assert during is not None
    assert (during.command, during.step, during.done, during.total) == ("run", "label", 3, 9)
    assert read_progress(session.workspace) is None
