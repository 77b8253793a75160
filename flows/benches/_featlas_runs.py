"""Runs of `featlas` as processes of their own, which can be killed with all they started, and never outlast their owner.

Each is forked from a server that has only loaded libraries: that takes several times as long as a small run. Everything
of Featlas, and polars, which starts threads when it is loaded, is loaded after the fork, as in any other run.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Self

from flows.benches._provider import child_environment
from flows.pipeline import Stage
from labeling.errors import FeatlasError

LONGEST_RUN_SECONDS = 180.0
KEYS = {"OPENAI_API_KEY": "loopback", "ANTHROPIC_API_KEY": "loopback"}
DONE = (0, 3)
"""Exit codes of a run that came to its end; 3 says that there are features without a label or a score."""
LOADED_ONCE = [
    "numpy",
    "duckdb",
    "torch",
    "scipy.stats",
    "sklearn.isotonic",
    "transformers.models.bert.modeling_bert",
    "openai.resources.chat.completions",
    "openai.resources.batches",
    "anthropic.resources.messages",
]
"""Slow to load. A fork copies no thread: OpenBLAS, which comes with numpy, starts some when it is loaded, ends them
before a fork and starts them anew after it; the pools of torch start at the first large product, which the server makes
none of. Polars has neither and is left to the child.
"""


class FeatlasRun:
    """One process, in a group of its own, that runs some stages of `featlas`."""

    def __init__(self, stages: Sequence[Stage], arguments: Sequence[str], output: Path) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(LOADED_ONCE)
        self._output = output
        environment = {**child_environment(), **KEYS}
        self._process = context.Process(target=_run, args=(tuple(stages), tuple(arguments), output, environment))
        self._process.start()

    @property
    def is_running(self) -> bool:
        return self._process.is_alive()

    def ends_within(self, seconds: float) -> bool:
        self._process.join(seconds)
        return not self.is_running

    def kill(self) -> bool:
        """Kill -9 the process and all it started. False when it had ended before."""
        if self.is_running:
            assert self._process.pid is not None  # as group 0 it would be our own
            with suppress(ProcessLookupError):  # it has not made its group yet, or has just ended
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.kill()
        self._process.join()
        return self._process.exitcode == -signal.SIGKILL

    def output(self) -> str:
        """What it printed, when it has ended. Raise FeatlasError when it failed or took too long."""
        if not self.ends_within(LONGEST_RUN_SECONDS):
            self.kill()
            raise FeatlasError(f"A run of featlas was stopped: it had not ended after {LONGEST_RUN_SECONDS:g} seconds.")
        if self._process.exitcode not in DONE:
            said = self._output.with_suffix(".err").read_text(encoding="utf-8", errors="replace").strip()[-2000:]
            raise FeatlasError(f"A run of featlas ended with exit code {self._process.exitcode} and said: {said}")
        return self._output.read_text(encoding="utf-8")


@dataclass
class FeatlasRuns:
    """Starts runs, from any thread. On leaving, those that are left are killed, and no more are started."""

    folder: Path
    """What they print is kept here."""
    _runs: list[FeatlasRun] = field(default_factory=list)
    _numbers: count[int] = field(default_factory=count)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _closed: bool = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Kill what runs. What would be started from then on raises FeatlasError."""
        with self._lock:
            self._closed = True
            for run in self._runs:
                run.kill()

    def start(self, stages: Sequence[Stage], *arguments: str) -> FeatlasRun:
        """Start some stages with the options of `featlas run`."""
        with self._lock:
            if self._closed:
                raise FeatlasError("The bench was stopped before it was done.")
            self._runs = [run for run in self._runs if run.is_running]
            run = FeatlasRun(stages, arguments, self.folder / f"run-{next(self._numbers)}.out")
            self._runs.append(run)
        return run


def _run(stages: Sequence[Stage], arguments: Sequence[str], output: Path, environment: dict[str, str]) -> None:
    """In the child: become what a shell would have started."""
    os.setsid()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    for stream, path in ((sys.stdout, output), (sys.stderr, output.with_suffix(".err"))):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), stream.fileno())
    os.environ.clear()
    os.environ.update(environment)
    from flows.commands.run import stage_command

    stage_command(" and ".join(stages), stages, "")(list(arguments))


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.killpg(0, signal.SIGKILL)
