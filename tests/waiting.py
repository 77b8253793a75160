"""Waiting for something that happens elsewhere, never without an end."""

from __future__ import annotations

import time
from collections.abc import Callable


def wait_until(happened: Callable[[], bool], *, seconds: float = 60.0) -> None:
    """Look until something has happened. Fail the test when it has not within the time."""
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end, f"it did not happen within {seconds:g} s"
        time.sleep(0.02)
