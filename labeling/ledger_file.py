"""The SQLite file below the ledger: opens it safely, says what is wrong with it in words, knows whose process lives.

It decides whether a file is a ledger of this version, an older one, a newer one, something else or damaged, and never
writes to one it does not understand. It knows nothing of requests; the tables stand in `ledger_schema.py`.
"""

from __future__ import annotations

import os
import sqlite3
import time
import uuid
import zlib
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from labeling.errors import FeatlasError
from labeling.ledger_schema import VERSION, make_tables, migrate

APPLICATION_ID = 0x46544C47  # "FTLG": tells a ledger from any other SQLite file
BUSY_TIMEOUT_SECONDS = 60.0


def open_ledger(path: Path) -> sqlite3.Connection:
    """Open or make the ledger. Raise FeatlasError for a newer version, another kind of file, damage, no access."""
    if path.exists() and not path.stat().st_size:
        raise FeatlasError(
            f"The ledger {path} is an empty file: its answers are lost, by a full disk perhaps. Nothing was written. Put a "
            "copy back, if you have one; or delete the file, and what was asked before is asked, and paid, again."
        )
    with in_words(path):
        if not path.exists():
            _make(path)
        connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT_SECONDS, isolation_level=None, check_same_thread=False)
        try:
            if _version(connection, path) < VERSION:
                _bring_up_to_date(connection, path)
            _use_wal(connection)
        except BaseException:
            connection.close()
            raise
    return connection


def open_to_read(path: Path) -> sqlite3.Connection:
    """Open a ledger without being able to write to it. One of an earlier version is migrated first.

    Raise FeatlasError like `open_ledger`, and when there is none.
    """
    if not path.exists():
        raise FeatlasError(f"There is no ledger {path}: no language model was asked from there yet.")
    connection = _connect_to_read(path)
    with in_words(path):
        version = _version(connection, path)
        if version == VERSION:
            return connection
        connection.close()
    open_ledger(path).close()
    return _connect_to_read(path)


def _connect_to_read(path: Path) -> sqlite3.Connection:
    with in_words(path):
        return sqlite3.connect(
            f"{path.as_uri()}?mode=ro",
            uri=True,
            timeout=BUSY_TIMEOUT_SECONDS,
            isolation_level=None,
            check_same_thread=False,
        )


@contextmanager
def in_words(path: Path) -> Iterator[None]:
    """Turn what SQLite says about the file into a FeatlasError."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        code = getattr(error, "sqlite_errorcode", None)
        if code is None:  # a mistake in our own SQL
            raise
        raise FeatlasError(_explain(path, code & 0xFF, str(error))) from error


@contextmanager
def transaction(connection: sqlite3.Connection, *, durably: bool = False) -> Iterator[None]:
    """Everything or nothing, with the write lock taken at the start.

    What is committed outlasts a killed process; what is committed `durably`, and all before it, a power cut too.
    """
    connection.execute(f"PRAGMA synchronous = {'FULL' if durably else 'NORMAL'}")
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        if connection.in_transaction:  # a full disk has rolled it back already
            connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


@contextmanager
def reading(connection: sqlite3.Connection) -> Iterator[None]:
    """Let several queries see one state of the file. It waits for nobody, and nobody waits for it."""
    connection.execute("BEGIN")
    try:
        yield
    finally:
        if connection.in_transaction:  # a disk that fails has ended it already
            connection.execute("ROLLBACK")


def this_process() -> str:
    """Name of this process that no later process has: id and start time."""
    return f"{os.getpid()}:{_start_time(os.getpid())}"


def is_alive(owner: str) -> bool:
    """Whether the process with this name runs on this machine."""
    pid, _, start_time = owner.partition(":")
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it runs, for another user
        pass
    return _start_time(int(pid)) == start_time


def _start_time(pid: int) -> str:
    """Start of a process in clock ticks; empty where the system does not tell, or where it is a zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    fields = stat.rpartition(")")[2].split()
    return "" if fields[0] in "ZX" else fields[19]


def _version(connection: sqlite3.Connection, path: Path) -> int:
    """0 for a new, empty file. Reads only. Raise FeatlasError for a file that is none of ours, or a newer one."""
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if tables == 0:
        return 0
    if application != APPLICATION_ID:
        raise FeatlasError(
            f"{path} is an SQLite file of some other program, not a ledger of language-model answers. It was left as "
            "it is. Move it away, or choose another workspace."
        )
    if version > VERSION:
        raise FeatlasError(
            f"The ledger {path} has version {version}; this featlas knows versions up to {VERSION}. It was left as it "
            "is. Install the newer featlas that wrote it, or choose another workspace."
        )
    return int(version)


def _make(path: Path) -> None:
    """Make a new ledger aside and put it in place as a whole: an empty file is never one that is being made."""
    new = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        with closing(sqlite3.connect(new, isolation_level=None)) as connection:
            _bring_up_to_date(connection, path)
        with suppress(OSError):  # another process was faster; or there are no links here, and it is made in place
            os.link(new, path)
    finally:
        new.unlink(missing_ok=True)


def _bring_up_to_date(connection: sqlite3.Connection, path: Path) -> None:
    """Make the tables of a new file, or migrate those of an earlier version, in one transaction."""
    with transaction(connection):
        version = _version(connection, path)
        if version == VERSION:  # another process was faster
            return
        if version == 0:
            make_tables(connection)
        else:
            _migrate(connection, path, version)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {VERSION}")


def _migrate(connection: sqlite3.Connection, path: Path, version: int) -> None:
    try:
        migrate(connection, version)
    except zlib.error as error:
        raise FeatlasError(damaged(path, str(error))) from error


def _use_wal(connection: sqlite3.Connection) -> None:
    """Let readers and one writer work at the same time. SQLite does not wait by itself for the lock this needs."""
    deadline = time.monotonic() + BUSY_TIMEOUT_SECONDS
    while connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def damaged(path: Path, said: str) -> str:
    """What to tell about a ledger that cannot be read."""
    return (
        f"The ledger {path} is damaged ({said}). It was left as it is. Move it away to start a new one (its "
        "answers will be paid for again), or put back a copy; `sqlite3 FILE .recover` can save most rows."
    )


def _explain(path: Path, code: int, said: str) -> str:
    kept = "Everything stored before is kept; running again asks only for the missing answers."
    match code:
        case sqlite3.SQLITE_FULL:
            return f"The disk that holds the ledger {path} is full ({said}). Free some space and run again. {kept}"
        case sqlite3.SQLITE_NOTADB | sqlite3.SQLITE_CORRUPT:
            return damaged(path, said)
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return (
                f"Another process has locked the ledger {path} for {BUSY_TIMEOUT_SECONDS:g} seconds ({said}). "
                f"Find out which one and end it, then run again. {kept}"
            )
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_PERM:
            return f"The ledger {path} cannot be written ({said}). Check that its folder exists and may be written to."
        case _:
            return f"The ledger {path} cannot be used ({said}). Check the disk and run again. {kept}"
