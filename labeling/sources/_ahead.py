"""Make the next items of an iterator in a thread while earlier ones are used, in the same order.

For sources on a GPU: it reads and encodes the next batch while the CPU samples the last one. Knows nothing of batches.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

Item = TypeVar("Item")
ITEMS_AHEAD = 2
"""Items that wait to be used at most; each is in memory meanwhile."""
LOOK_SECONDS = 0.1
"""How often a maker whose items nobody takes looks whether somebody will."""


@dataclass(frozen=True)
class _End:
    """No further item: the maker is through, or `error` was raised."""

    error: BaseException | None = None


def ahead(items: Iterable[Item], *, count: int = ITEMS_AHEAD) -> Iterator[Item]:
    """The same items. What making one raises is raised here; when the reader stops early, so does the maker."""
    made: queue.Queue[Item | _End] = queue.Queue(maxsize=count)
    stopped = threading.Event()

    def put(item: Item | _End) -> bool:
        while not stopped.is_set():
            try:
                made.put(item, timeout=LOOK_SECONDS)
            except queue.Full:
                continue
            return True
        return False

    def make() -> None:
        try:
            for item in items:
                if not put(item):
                    return
        except BaseException as error:  # noqa: BLE001 - raised again where the items are used
            put(_End(error))
        else:
            put(_End())

    maker = threading.Thread(target=make, name="ahead", daemon=True)
    maker.start()
    try:
        while not isinstance(item := made.get(), _End):
            yield item
        if item.error is not None:
            raise item.error
    finally:
        stopped.set()
        maker.join()
