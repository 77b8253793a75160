"""The published copy of the small tables: making it, and reading it without being able to do anything else.

Publishing turns the database into `snapshot.duckdb`, whole or not at all. Reading attaches it to a database in memory
that sees the snapshot and the evidence folder and no other file. It knows nothing of stages.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import duckdb
import polars as pl

from labeling.best_labels import FILL_LABELS
from labeling.errors import FeatlasError, UsageError
from labeling.evidence import TABLES, disk_error, sync_folder, unreadable
from labeling.evidence_views import comments, view_query
from labeling.lock import in_use
from labeling.migrations import latest_version
from labeling.statements import check_only_reads, glob_escaped, literal, quoted, without_explain
from labeling.workspace import Workspace

NO_BAR = "SET enable_progress_bar = false"
"""DuckDB would draw a bar into logs and pipes too; how far a run is, we say ourselves."""


def fill_labels(connection: duckdb.DuckDBPyConnection) -> None:
    """Write the table `labels` anew, in one transaction."""
    with transaction(connection):
        connection.execute("DELETE FROM labels")
        connection.execute(FILL_LABELS)


def create_evidence_views(
    connection: duckdb.DuckDBPyConnection, workspace: Workspace | None, *, temporary: bool = False
) -> None:
    """Put a view over the finished shards of each large table; an empty one of the same columns where there is none.

    Without a workspace all views are empty. Stored views get their comments; temporary ones are for one query.
    """
    with transaction(connection):
        for table in TABLES.values():
            kind = "TEMP VIEW" if temporary else "VIEW"
            try:
                connection.execute(f"CREATE OR REPLACE {kind} {table.name} AS {view_query(workspace, table)}")
            except duckdb.Error as error:
                raise unreadable(workspace, table.name, one_line(error)) from error
            if not temporary:
                connection.execute(comments(table))


def copy_database(connection: duckdb.DuckDBPyConnection, workspace: Workspace) -> Path:
    """Replace `snapshot.duckdb` by a copy of the connection's database. Readers keep the old one until they reopen."""
    fresh = workspace.snapshot.with_name("snapshot.duckdb.new")
    remove_database(fresh)
    with database_errors(fresh):
        connection.execute(f"ATTACH {literal(str(fresh))} AS fresh")
        try:
            connection.execute(f"COPY FROM DATABASE {quoted(workspace.database.stem)} TO fresh")
            # Detaching would move the log into the file as well, but would say nothing when the disk is full.
            connection.execute("CHECKPOINT fresh")
        finally:
            connection.execute("DETACH fresh")
    rename_database(fresh, workspace.snapshot)
    return workspace.snapshot


def outdated(workspace: Workspace) -> bool:
    """Whether there is a snapshot, made by an earlier version."""
    if not workspace.snapshot.exists():
        return False
    check_not_empty(workspace.snapshot)
    with database_errors(workspace.snapshot), duckdb.connect(workspace.snapshot, read_only=True) as connection:
        seen = schema_version(connection, database_of(connection))
    return seen is not None and seen < latest_version()


def export_single_file(workspace: Workspace, target: Path) -> Path:
    """Write the snapshot and all evidence into one DuckDB file, with tables in the place of views.

    Raise UsageError when the file exists, FeatlasError when there is no snapshot or the disk is full.
    """
    if target.exists():
        raise UsageError(f"{target} exists already; nothing was overwritten. Remove it or name another file.")
    if not target.absolute().parent.is_dir():
        raise UsageError(
            f"{target} can't be written: there is no folder {target.parent}. Make it or name another file."
        )
    fresh = target.absolute().with_name(f".{target.name}.new")
    remove_database(fresh)
    open_snapshot(workspace).close()  # says what is wrong with a missing or damaged one
    with database_errors(fresh), duckdb.connect(fresh) as connection:
        connection.execute(NO_BAR)
        connection.execute(f"ATTACH {literal(str(workspace.snapshot))} AS snapshot (READ_ONLY)")
        connection.execute(f"COPY FROM DATABASE snapshot TO {quoted(database_of(connection))}")
        for table in TABLES.values():
            connection.execute(f"DROP VIEW {table.name}")
            connection.execute(f"CREATE TABLE {table.name} AS {view_query(workspace, table)}")
            connection.execute(comments(table, kind="TABLE"))
    rename_database(fresh, target.absolute())
    return target


def database_of(connection: duckdb.DuckDBPyConnection) -> str:
    """Name of the database that a connection was opened on."""
    row = connection.execute("SELECT current_database()").fetchone()
    return str(row[0]) if row else ""


def rename_database(fresh: Path, place: Path) -> None:
    """Put a closed database in its place in one step, so that nobody ever sees half of it."""
    try:
        with fresh.open("rb") as stream:
            os.fsync(stream.fileno())
        fresh.replace(place)
        sync_folder(place.parent)
    except OSError as error:
        raise disk_error(place, error) from error


def remove_database(file: Path) -> None:
    """Delete what a killed process left of an unfinished database."""
    for leftover in (file, file.with_name(f"{file.name}.wal")):
        with suppress(FileNotFoundError):
            leftover.unlink()


def open_snapshot(
    workspace: Workspace, *, memory_limit: str = "4GB", threads: int = 2, views: bool = True
) -> duckdb.DuckDBPyConnection:
    """Connection that reads the snapshot and the evidence, and no other file, by unqualified names.

    Without `views` of the evidence, which take time to make, it is only there to open others beside it.

    DuckDB itself still lets statements write into the evidence folder: pass everything a person typed through
    `select`. Raise FeatlasError when there is no snapshot, or none that this version can read.
    """
    file = workspace.snapshot
    if not file.exists():
        raise FeatlasError(
            f"There is no snapshot at {file}: nothing was published in this workspace yet. "
            "Run `featlas demo` or `featlas run` first, or name another workspace with --workspace DIR."
        )
    check_not_empty(file)
    connection = duckdb.connect(config={"memory_limit": memory_limit, "threads": threads, "temp_directory": ""})
    try:
        with database_errors(file):
            connection.execute(NO_BAR)
            connection.execute(f"ATTACH {literal(str(file))} AS snapshot (READ_ONLY)")
            check_version(file, schema_version(connection, "snapshot"))
            connection.execute(
                "SET parquet_metadata_cache = true"
            )  # what says what stands where in a file is read once
            if views:
                create_evidence_views(connection, workspace, temporary=True)
            close_the_door(connection, workspace)
    except BaseException:
        connection.close()
        raise
    return connection


def open_beside(connection: duckdb.DuckDBPyConnection, workspace: Workspace) -> duckdb.DuckDBPyConnection:
    """Another connection to a snapshot that `open_snapshot` opened, for another thread.

    They share the limit of memory, the threads and what was read already; each is closed for itself.
    """
    beside = connection.cursor()
    try:
        with database_errors(workspace.snapshot):
            create_evidence_views(beside, workspace, temporary=True)
            beside.execute("USE snapshot")
    except BaseException:
        beside.close()
        raise
    return beside


def close_the_door(connection: duckdb.DuckDBPyConnection, workspace: Workspace) -> None:
    """Leave the evidence as the only files that statements can reach, for as long as the connection lives."""
    folder = workspace.evidence_folder
    # A folder whose name has wildcard characters is asked for in its escaped spelling, and found in the plain one.
    allowed = ", ".join(sorted({literal(str(folder)), literal(glob_escaped(folder))}))
    for statement in (
        "USE snapshot",
        "SET GLOBAL TimeZone = 'UTC'",  # of connections that are opened beside it too
        f"SET allowed_directories = [{allowed}]",
        "SET enable_external_access = false",
        "SET autoload_known_extensions = false",
        "SET autoinstall_known_extensions = false",
        "SET lock_configuration = true",
    ):
        connection.execute(statement)


def query(
    workspace: Workspace,
    sql: str,
    *,
    timeout_seconds: float = 60.0,
    memory_limit: str = "4GB",
    most_rows: int | None = None,
) -> pl.DataFrame:
    """Rows of one SELECT-like statement over the snapshot and the evidence. Raise as `open_snapshot` and `select`."""
    connection = open_snapshot(workspace, memory_limit=memory_limit)
    try:
        return select(connection, sql, timeout_seconds=timeout_seconds, most_rows=most_rows)
    finally:
        connection.close()


def select(
    connection: duckdb.DuckDBPyConnection,
    sql: str,
    parameters: Sequence[Any] = (),
    *,
    timeout_seconds: float = 60.0,
    most_rows: int | None = None,
) -> pl.DataFrame:
    """Rows of one statement that only reads, at most `most_rows` of them.

    Raise UsageError for any other statement and for mistakes in it, FeatlasError when it takes too long or a file is
    damaged.
    """
    try:
        parsed = connection.execute("SELECT json_serialize_sql(?)", [without_explain(sql)]).fetchall()
    except duckdb.Error as error:
        raise UsageError(f"{one_line(error)} {known_tables(connection)}") from error
    check_only_reads(parsed[0][0])
    return read(connection, sql, parameters, timeout_seconds=timeout_seconds, most_rows=most_rows)


def read(
    connection: duckdb.DuckDBPyConnection,
    sql: str,
    parameters: Sequence[Any] = (),
    *,
    timeout_seconds: float = 60.0,
    most_rows: int | None = None,
) -> pl.DataFrame:
    """Rows of one statement that is known to read only. Raise as `select`, which finds that out first."""
    with _reading(connection, timeout_seconds):
        return rows_of(connection, sql, parameters, most_rows=most_rows)


def read_few(
    connection: duckdb.DuckDBPyConnection, sql: str, parameters: Sequence[Any], *, timeout_seconds: float
) -> list[dict[str, Any]]:
    """The same for a statement of few rows, as Python's own values: a data frame takes some milliseconds to make."""
    with _reading(connection, timeout_seconds):
        rows = connection.execute(sql, list(parameters)).fetchall()
        names = [column[0] for column in connection.description or ()]
        return [dict(zip(names, row, strict=True)) for row in rows]


@contextmanager
def _reading(connection: duckdb.DuckDBPyConnection, timeout_seconds: float) -> Iterator[None]:
    """Stop a statement that takes too long, and say what is wrong with one that fails."""
    try:
        with time_limit(connection, timeout_seconds):
            yield
    except duckdb.InterruptException as error:
        raise FeatlasError(
            f"The query was stopped after {timeout_seconds:g} seconds. Ask for fewer rows or columns, or filter by "
            "sample_id and feature, by which the large tables are sorted."
        ) from error
    except duckdb.OutOfMemoryException as error:
        raise FeatlasError(
            f"The query needs more memory than the {_memory_limit(connection)} it may use. Ask for fewer rows or columns."
        ) from error
    except duckdb.Error as error:
        if _tells_of_damage(error):
            raise FeatlasError(
                f"A file of the workspace cannot be read: {one_line(error).rstrip('.')}. If it is damaged, restore it from "
                "a copy, or start another workspace with --workspace DIR; a snapshot comes back with `featlas report`."
            ) from error
        raise UsageError(f"{one_line(error)} {known_tables(connection)}") from error


def _tells_of_damage(error: duckdb.Error) -> bool:
    """Whether a file is to blame and not the statement: DuckDB calls damaged Parquet an invalid input, or just an error."""
    if isinstance(error, duckdb.IOException):
        return "No files found that match" not in str(error)  # a name that the statement has made up
    if isinstance(error, duckdb.InvalidInputException):
        return re.search(r"""\.parquet['"]""", str(error)) is not None
    return type(error) is duckdb.Error or isinstance(error, duckdb.SerializationException | duckdb.FatalException)


def _memory_limit(connection: duckdb.DuckDBPyConnection) -> str:
    return str(connection.execute("SELECT current_setting('memory_limit')").fetchall()[0][0])


def rows_of(
    connection: duckdb.DuckDBPyConnection, sql: str, parameters: Sequence[Any], *, most_rows: int | None = None
) -> pl.DataFrame:
    """Rows of a statement. Intervals and unions become text: data frames have none of months and days, and no unions."""
    relation = connection.sql(sql, params=list(parameters) or None)
    if most_rows is not None:
        relation = relation.limit(most_rows)
    odd = ["INTERVAL" in str(kind) or "UNION" in str(kind) for kind in relation.types]
    if any(odd):
        columns = zip(relation.columns, odd, strict=True)
        texts = (f"{quoted(name)}::VARCHAR" if is_odd else quoted(name) for name, is_odd in columns)
        named = zip(texts, relation.columns, strict=True)
        relation = relation.project(", ".join(f"{text} AS {quoted(name)}" for text, name in named))
    rows: pl.DataFrame = relation.pl()
    return rows


@contextmanager
def time_limit(connection: duckdb.DuckDBPyConnection, seconds: float) -> Iterator[None]:
    """Interrupt the connection's statement after some seconds; it then raises InterruptException."""
    timer = threading.Timer(seconds, connection.interrupt)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def known_tables(connection: duckdb.DuckDBPyConnection) -> str:
    rows = connection.execute(
        "SELECT table_name FROM duckdb_tables() WHERE database_name = 'snapshot' "
        "UNION SELECT view_name FROM duckdb_views() WHERE database_name = 'snapshot' AND NOT internal ORDER BY 1"
    ).fetchall()
    return f"Tables: {', '.join(name for (name,) in rows)}."


def check_version(file: Path, seen: int | None) -> None:
    """Raise FeatlasError unless the snapshot has the schema of this version."""
    if seen == latest_version():
        return
    raise (
        version_error(file, seen)
        if seen is None or seen > latest_version()
        else FeatlasError(
            f"{file} has schema {seen}, this version of Featlas reads schema {latest_version()}. "
            "Run `featlas report`: it brings the database up to date and publishes a new snapshot; nothing is lost."
        )
    )


def version_error(file: Path, seen: int | None) -> FeatlasError:
    """Say that a database is not ours to touch: made by a newer version, or by another program."""
    if seen is None:
        return FeatlasError(
            f"{file} is not a Featlas database: it has no table schema_version. Choose another workspace."
        )
    return FeatlasError(
        f"{file} has schema {seen}, made by a newer version of Featlas; this one knows up to {latest_version()}. "
        "Install the newer version, or choose another workspace. Nothing was changed."
    )


def schema_version(connection: duckdb.DuckDBPyConnection, database: str) -> int | None:
    """Newest schema change applied to an attached database; None when it has no record of any."""
    known = connection.execute(
        "SELECT count(*) FROM duckdb_tables() WHERE database_name = ? AND table_name = 'schema_version'", [database]
    ).fetchall()
    if not known[0][0]:
        return None
    rows = connection.execute(f"SELECT max(version) FROM {quoted(database)}.main.schema_version").fetchall()
    return None if rows[0][0] is None else int(rows[0][0])


def check_not_empty(file: Path) -> None:
    """Raise FeatlasError for a file of no bytes, which DuckDB would take for a new database."""
    if file.stat().st_size == 0:
        raise damaged(file, "the file is empty")


def damaged(file: Path, why: str) -> FeatlasError:
    return FeatlasError(
        f"{file} cannot be read: {why}. If it is damaged, move it away. A snapshot comes back with `featlas report`; a "
        "database is built again by `featlas run`, which takes answers that were already paid for from ledger.sqlite."
    )


@contextmanager
def transaction(connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """All statements inside or none."""
    connection.begin()
    try:
        yield
        connection.commit()
    except BaseException:
        # A failed commit has ended the transaction already.
        with suppress(duckdb.Error):
            connection.rollback()
        raise


@contextmanager
def database_errors(file: Path) -> Iterator[None]:
    """Turn what a user can mend about a database file into FeatlasError: locked, full disk, damaged."""
    try:
        yield
    except duckdb.TransactionException as error:
        if "Failed to commit" not in str(error):
            raise
        raise file_error(file, one_line(error)) from error
    except (
        duckdb.IOException,
        duckdb.SerializationException,
        duckdb.FatalException,
        duckdb.InternalException,
    ) as error:
        raise file_error(file, one_line(error)) from error
    except RuntimeError as error:
        if str(error) == "Query interrupted":  # how DuckDB passes Ctrl-C on
            raise KeyboardInterrupt from error
        raise


def file_error(file: Path, message: str) -> FeatlasError:
    if "Conflicting lock" in message:
        holder = re.search(r"PID (\d+)", message)
        return in_use(file.parent, holder.group(1) if holder else "unknown")
    about = message.replace(str(file), "")  # whose folder may well be called `workspace`
    if re.search(r"write|space|create|permission|too large", about, re.IGNORECASE):
        return FeatlasError(
            f"{file} cannot be written: {message} Everything stored before is still there. Make room on the disk or "
            "the folder writable, then run the same command again; it resumes."
        )
    return damaged(file, message.rstrip("."))


def one_line(error: Exception) -> str:
    """DuckDB's message without the picture of the statement."""
    text = re.split(r"\n\s*\nLINE \d+:|\n\nStack Trace", str(error))[0]
    return " ".join(text.split())
