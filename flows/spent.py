"""Time that some work took, added up over its pieces."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass
class Spent:
    seconds: float = 0.0
    """Wall clock."""
    cpu_seconds: float = 0.0
    """Of this process, all its threads."""

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Add what is done inside."""
        wall, cpu = time.perf_counter(), time.process_time()
        try:
            yield
        finally:
            self.seconds += time.perf_counter() - wall
            self.cpu_seconds += time.process_time() - cpu
