"""Waits that Ctrl-C ends at once.

Libraries install signal handlers of their own (polars does, at its first query), after which the system goes on with a
wait that a signal has interrupted, and Python gets to see the signal only when the wait is over. So a long wait is cut
into short ones.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import TypeVar

Result = TypeVar("Result")

LOOK_SECONDS = 0.2
"""How long a signal can go unseen."""


def wait_for(event: threading.Event) -> None:
    """Wait until the event is set."""
    while not event.wait(LOOK_SECONDS):
        pass


def first_ended(futures: Iterable[Future[Result]]) -> set[Future[Result]]:
    """Wait until one of the futures has ended at least, and return those that have."""
    waiting = list(futures)
    while not (ended := wait(waiting, timeout=LOOK_SECONDS, return_when=FIRST_COMPLETED).done):
        pass
    return ended
