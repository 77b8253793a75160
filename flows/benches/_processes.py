"""Run a program as a child process, and say what it took: time, CPU time, memory."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from labeling.errors import FeatlasError

LOOK_SECONDS = 0.3


@dataclass(frozen=True)
class Finished:
    """A child process that has ended."""

    exit_code: int
    stdout: str
    wall_seconds: float
    cpu_seconds: float
    """User and system time, of its own children too."""
    peak_mib: float
    """Largest memory of the child and its own children together where the kernel tells (Linux: proportional set size,
    read a few times a second), else the largest resident memory of the child alone."""


def run_child(arguments: Sequence[str], *, environment: Mapping[str, str] | None = None) -> Finished:
    """Run a program to its end and say what it used. Its stderr goes where ours goes."""
    started = time.perf_counter()
    with tempfile.TemporaryFile() as output:  # a file never fills up and stops the child, as a pipe would
        child = subprocess.Popen(list(arguments), stdout=output, env=environment)
        watch = _MemoryWatch(child.pid)
        watch.start()
        try:
            _, status, used = os.wait4(child.pid, 0)
        except BaseException:
            child.kill()
            child.wait()
            raise
        wall = time.perf_counter() - started
        watch.stop()
        child.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        text = output.read().decode("utf-8", "replace")
    return Finished(child.returncode, text, wall, used.ru_utime + used.ru_stime, watch.peak_mib or _mib(used))


class _MemoryWatch(threading.Thread):
    """Follows the memory of a process and its children until it is stopped."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._pid = pid
        self._ended = threading.Event()
        self.peak_mib = 0.0

    def run(self) -> None:
        while not self._ended.wait(LOOK_SECONDS):
            self.peak_mib = max(self.peak_mib, sum(_proportional_mib(pid) for pid in _family(self._pid)))

    def stop(self) -> None:
        self._ended.set()
        self.join()


def _family(pid: int) -> list[int]:
    """A process and its children; nothing where the kernel does not tell."""
    try:
        threads = list(Path(f"/proc/{pid}/task").iterdir())
        return [pid, *(int(child) for thread in threads for child in (thread / "children").read_text().split())]
    except OSError:
        return []


def _proportional_mib(pid: int) -> float:
    """Memory of a process, each page shared with others counted in part; 0 when it has ended."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("Pss:")), 0.0)


def _mib(used: resource.struct_rusage) -> float:
    """Linux counts peak memory in KiB, macOS in bytes."""
    return used.ru_maxrss / (1024 if sys.platform != "darwin" else 1024 * 1024)


def featlas_program() -> str:
    """The command `featlas` as it was installed. Raise FeatlasError when it is not."""
    program = Path(sys.executable).with_name("featlas")
    if not program.exists():
        raise FeatlasError(
            f"There is no command {program}, so it can't be measured. Install Featlas into this environment: "
            "pip install -e . in its folder."
        )
    return str(program)
