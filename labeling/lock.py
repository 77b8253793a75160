"""One writing process a workspace: a lock that the system drops when its holder dies, however it dies.

`lockf` locks belong to the process, so that workers forked from it don't keep the workspace locked after it was killed.
The price is that they can't tell two holders inside one process apart; `_held` does.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from labeling.errors import WorkspaceInUse
from labeling.evidence import disk_error

_held: set[tuple[int, Path]] = set()
"""Process id and lock file; a forked child has another id and holds nothing."""


class WorkspaceLock:
    """Held from construction to `release`. Raise WorkspaceInUse at once when somebody else holds it."""

    def __init__(self, file: Path) -> None:
        self._mark = (os.getpid(), file.resolve())
        # Opening the file a second time in this process and closing it again would drop the lock: look first.
        if self._mark in _held:
            raise in_use(file.parent, str(os.getpid()))
        try:
            self._handle = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise disk_error(file, error) from error
        try:
            fcntl.lockf(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(self._handle, 32, 0).decode(errors="replace").strip()
            os.close(self._handle)
            raise in_use(file.parent, holder or "unknown") from error
        self._write_holder(file)
        _held.add(self._mark)

    def _write_holder(self, file: Path) -> None:
        try:
            os.ftruncate(self._handle, 0)
            os.pwrite(self._handle, f"{os.getpid()}\n".encode(), 0)
        except OSError as error:
            os.close(self._handle)
            raise disk_error(file, error) from error

    def release(self) -> None:
        if self._mark in _held:
            _held.remove(self._mark)
            os.close(self._handle)


def in_use(folder: Path, holder: str) -> WorkspaceInUse:
    """Say who writes to the workspace."""
    return WorkspaceInUse(
        f"The workspace {folder} is in use: process {holder} is writing to it, and one process can write at a time. "
        "Wait until it is done or stop it, or choose another workspace with --workspace DIR. "
        "Reading (query, report) works meanwhile."
    )
