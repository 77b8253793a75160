"""Progress for people: a bar on a terminal, a plain line now and then otherwise. Always on stderr, never on stdout.

Who else wants to know, such as the dashboard, is told every second.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

SECONDS_BETWEEN_LINES = 10.0
SECONDS_BETWEEN_TELLS = 1.0
Tell = Callable[[str, int, int, str], None]
"""Called with name, done, total and unit."""


@dataclass
class Progress:
    """Where a run says what it is doing. `bar` draws with tqdm; otherwise lines are written to `write`."""

    bar: bool
    write: Callable[[str], None]
    clock: Callable[[], float] = time.perf_counter
    tell: Tell | None = None
    _told: tuple[str, float] = ("", 0.0)
    _name: str = ""
    _last: float = 0.0
    _bars: Any = field(default=None, repr=False)

    def advance(self, name: str, *, done: int, total: int, unit: str) -> None:
        """State that `done` of `total` is finished."""
        self._tell(name, done, total, unit)
        if self.bar:
            self._draw(name, done, total, unit)
            return
        now = self.clock()
        if name != self._name:
            self._name, self._last = name, now
        if done >= total or now - self._last >= SECONDS_BETWEEN_LINES:
            self._last = now
            self.write(f"{name}: {min(done, total):,} of {total:,} {unit}")

    def say(self, text: str) -> None:
        """A line that stays."""
        self._close()
        self.write(text)

    def _tell(self, name: str, done: int, total: int, unit: str) -> None:
        now = time.monotonic()
        if self.tell is not None and (name != self._told[0] or now - self._told[1] >= SECONDS_BETWEEN_TELLS):
            self._told = (name, now)
            self.tell(name, min(done, total), total, unit)

    def _draw(self, name: str, done: int, total: int, unit: str) -> None:
        from tqdm import tqdm

        if self._bars is None or self._name != name:
            self._close()
            self._bars = tqdm(total=total, desc=name, unit=f" {unit}", leave=False, file=sys.stderr, unit_scale=True)
            self._name = name
        self._bars.total = total
        self._bars.update(min(done, total) - self._bars.n)
        if done >= total:
            self._close()

    def _close(self) -> None:
        if self._bars is not None:
            self._bars.close()
            self._bars = None
            self._name = ""


def terminal_progress() -> Progress:
    """A bar when stderr is a terminal, lines otherwise."""
    return Progress(bar=sys.stderr.isatty(), write=_to_stderr)


def silent_progress() -> Progress:
    """For tests and notebooks."""
    return Progress(bar=False, write=lambda _: None)


def _to_stderr(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()
