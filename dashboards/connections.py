"""Connections to the published snapshot for pages: opened once, lent to one request at a time, renewed when a run publishes.

A connection belongs to the snapshot it was opened on. When another file takes its place, connections to the old one are
closed as they come back, and what was remembered of it is forgotten. It knows nothing of pages.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from dashboards.queries import Reader
from labeling.errors import FeatlasError
from labeling.row_groups import RowGroups
from labeling.snapshot import open_snapshot
from labeling.workspace import Workspace

MEMORY_LIMIT = "512MB"
"""Of all connections together. A page that needs more is a mistake, and says so."""
AT_ONCE = 4
"""Requests that read at the same time; others wait."""
QUESTIONS_AT_ONCE = 2
Value = TypeVar("Value")
Generation = tuple[int, int, int]


class Connections:
    """Readers of one workspace's snapshot. Safe for threads."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self._lock = threading.Lock()
        self._places = threading.Semaphore(AT_ONCE)
        self._questions = threading.Semaphore(QUESTIONS_AT_ONCE)  # not one of the places: its page holds one already
        self._first: Reader | None = None
        """Lent to nobody: the others are opened beside it, so that they share memory."""
        self._idle: list[Reader] = []
        self._remembered: dict[Hashable, object] = {}
        self._generation: Generation | None = None
        self._groups = RowGroups(workspace)
        self.file_threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="files")
        """For what reads files while its page asks the database. The same few threads: each keeps memory of its own."""

    @contextmanager
    def reader(self) -> Iterator[Reader]:
        """Lend a reader of the newest snapshot. Raise FeatlasError when there is none, or none that can be read."""
        with self._places:
            reader = self._take()
            try:
                yield reader
            finally:
                self._give_back(reader)

    @contextmanager
    def question(self) -> Iterator[None]:
        """Wait for a place for a statement that a person typed, which reads on a connection of its own."""
        with self._questions:
            yield

    def remember(self, reader: Reader, key: Hashable, make: Callable[[], Value]) -> Value:
        """What `make` reads with the reader, made once a snapshot: for means over all features, which no request changes.

        A reader of a snapshot that another has taken the place of reads again, and nothing of it is kept.
        """
        with self._lock:
            self._look()
            if reader.generation == self._generation and key in self._remembered:
                return self._remembered[key]  # type: ignore[return-value]  # the key says what was made
        value = make()
        with self._lock:
            if reader.generation == self._generation:
                self._remembered[key] = value
        return value

    def close(self) -> None:
        self.file_threads.shutdown()
        with self._lock:
            self._forget()

    def _take(self) -> Reader:
        with self._lock:
            self._look()
            if self._idle:
                return self._idle.pop()
            if self._first is None:
                self._first = Reader(
                    open_snapshot(self.workspace, memory_limit=MEMORY_LIMIT, threads=2, views=False), self._groups
                )
            reader = self._first.beside(self.workspace)
            reader.generation = self._generation
            return reader

    def _give_back(self, reader: Reader) -> None:
        """Keep a reader for the next request, unless its snapshot is no longer the newest or answers nobody any more."""
        with self._lock:
            if reader.opened_beside is self._first:
                if reader.answers():
                    self._idle.append(reader)
                    return
                self._forget()
        reader.close()

    def _look(self) -> None:
        """See whether another snapshot has taken the place of the one that is known."""
        generation = _generation(self.workspace)
        if generation != self._generation:
            self._forget()
            self._generation = generation

    def _forget(self) -> None:
        for reader in self._idle:
            reader.close()
        self._idle.clear()
        self._first = None  # closing it would close readers that are lent out
        self._remembered.clear()


def _generation(workspace: Workspace) -> Generation | None:
    try:
        status = workspace.snapshot.stat()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise FeatlasError(f"{workspace.snapshot} can't be read: {error.strerror or error}.") from error
    return status.st_ino, status.st_mtime_ns, status.st_size
