"""Progress lines for logs: a few, never one an item."""

from __future__ import annotations

from flows.progress import Progress


def test_lines_come_every_ten_seconds_and_at_the_end() -> None:
    lines: list[str] = []
    times = iter(range(0, 1000, 4))
    progress = Progress(bar=False, write=lines.append, clock=lambda: float(next(times)))
    for done in range(1, 9):
        progress.advance("label", done=done, total=8, unit="features")
    assert lines == ["label: 4 of 8 features", "label: 7 of 8 features", "label: 8 of 8 features"]
