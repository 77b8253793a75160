"""Run a program as a child process, and say what it took: time, CPU time, memory."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from labeling.errors import FeatlasError


@dataclass(frozen=True)
class Finished:
    """A child process that has ended."""

    exit_code: int
    stdout: str
    wall_seconds: float
    cpu_seconds: float
    """User and system time, of its own children too."""
    peak_mib: float
    """Largest resident memory. Never less than what this process had when it started the child."""


def run_child(arguments: Sequence[str], *, environment: Mapping[str, str] | None = None) -> Finished:
    """Run a program to its end and say what it used. Its stderr goes where ours goes."""
    started = time.perf_counter()
    with tempfile.TemporaryFile() as output:  # a file never fills up and stops the child, as a pipe would
        child = subprocess.Popen(list(arguments), stdout=output, env=environment)
        try:
            _, status, used = os.wait4(child.pid, 0)
        except BaseException:
            child.kill()
            child.wait()
            raise
        wall = time.perf_counter() - started
        child.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        text = output.read().decode("utf-8", "replace")
    return Finished(child.returncode, text, wall, used.ru_utime + used.ru_stime, _mib(used))


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
