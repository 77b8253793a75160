"""Idle cores are those that nothing runs on now, not those of the last minute."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from labeling import cores
from labeling.cores import busy_cores, idle_cores, usable_cores


def test_ticks_that_are_neither_idle_nor_waiting_are_busy() -> None:
    before = [100, 0, 50, 1000, 10, 0, 0, 0]
    after = [140, 0, 60, 1040, 20, 0, 0, 0]  # of 100 ticks, 40 idle and 10 waiting
    assert busy_cores(before, after, cores=4) == pytest.approx(2.0)


def test_readings_at_one_moment_say_nothing_is_busy() -> None:
    assert busy_cores([1] * 8, [1] * 8, cores=4) == 0.0


def test_there_is_always_one_core_and_never_more_than_the_process_may_use() -> None:
    assert 1 <= idle_cores() <= usable_cores() <= (os.cpu_count() or 1)


@pytest.mark.skipif(not hasattr(os, "getloadavg"), reason="no load average on this system")
def test_without_kernel_counters_the_load_of_the_last_minute_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cores, "KERNEL_COUNTERS", tmp_path / "absent")
    assert idle_cores() == max(1, round(usable_cores() - os.getloadavg()[0]))
