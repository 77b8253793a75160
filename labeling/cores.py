"""How many CPU cores are idle at this moment. Knows nothing of what they are wanted for."""

from __future__ import annotations

import os
import time
from pathlib import Path

LOOK_SECONDS = 0.3
KERNEL_COUNTERS = Path("/proc/stat")
IDLE, WAITING = 3, 4
"""Positions in the kernel's line of counters."""


def idle_cores() -> int:
    """Cores that nothing runs on now, 1 at least; looks on for a third of a second.

    Where the kernel has no counters the load of the last minute is taken: it still counts work that has ended.
    """
    cores = usable_cores()
    try:
        before = _counters()
        time.sleep(LOOK_SECONDS)
        after = _counters()
    except (OSError, ValueError, IndexError):
        busy = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    else:
        busy = busy_cores(before, after, cores=os.cpu_count() or 1)
    return max(1, round(cores - busy))


def usable_cores() -> int:
    """Cores this process may run on: fewer than the machine has in a container, or under `taskset`."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def busy_cores(before: list[int], after: list[int], *, cores: int) -> float:
    """Cores that were busy between two readings of the kernel's counters (clock ticks since the start, by state)."""
    passed = [new - old for old, new in zip(before, after, strict=True)]
    total = sum(passed)
    return cores * (1 - (passed[IDLE] + passed[WAITING]) / total) if total else 0.0


def _counters() -> list[int]:
    """user, nice, system, idle, iowait, irq, softirq, steal; guests' time is part of user time."""
    line = KERNEL_COUNTERS.read_text(encoding="ascii").split("\n", 1)[0]
    return [int(field) for field in line.split()[1:9]]
