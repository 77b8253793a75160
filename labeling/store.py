"""The one writer of a workspace: small tables in DuckDB, large ones as shards of evidence, and their publication.

Everything has a natural key, so saving twice changes nothing, and a shard counts as done when its row is committed.
It knows the tables but not what the stages put into them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

import duckdb
import polars as pl

from labeling import evidence
from labeling.lock import WorkspaceLock
from labeling.migrations import Migration, latest_version, migrations
from labeling.snapshot import (
    NO_BAR,
    check_not_empty,
    copy_database,
    create_evidence_views,
    database_errors,
    fill_labels,
    one_line,
    remove_database,
    rename_database,
    schema_version,
    transaction,
    version_error,
)
from labeling.statements import quoted
from labeling.workspace import Workspace

Clock = Callable[[], datetime]
"""Gives the time now, in UTC without a zone, as the tables hold it."""


def utc_now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None)


MANY_ROWS = 10_000
"""Rows from which it pays to look whether any is there already: replacing takes four times as long as inserting."""


class Store:
    """Open a workspace for writing, making it or bringing its schema up to date where needed.

    Raise WorkspaceInUse when another process writes to it; FeatlasError when the database is damaged, is of a newer
    version, or the disk is full. Threads may share a Store; processes may not: workers use `evidence.write_shard`.
    """

    def __init__(self, workspace: Workspace, *, now: Clock = utc_now) -> None:
        self.workspace = workspace.create()
        self._now = now
        self._mutex = threading.RLock()
        self._lock = WorkspaceLock(workspace.lock)
        try:
            evidence.remove_unfinished(workspace)
            self._connection = open_database(workspace.database, now=now)
            self._columns = table_columns(self._connection)
            self._keys = table_keys(self._connection)
        except BaseException:
            self._lock.release()
            raise

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let other processes write. Everything that was saved is on disk already."""
        with self._mutex:
            self._connection.close()
            self._lock.release()

    def save(self, table: str, frame: pl.DataFrame) -> None:
        """Add rows to a small table; a row whose key is there already replaces it.

        All rows are saved or none. Raise ValueError, a programming error, for a table that can't be saved to, other
        columns than the table's, two rows of one key, an empty key, or NaN.
        """
        if table not in self._keys:
            raise ValueError(f"there is no table {table!r} to save to; tables: {', '.join(self._keys)}")
        evidence.check_columns(table, frame.columns, self._columns[table])
        evidence.check_numbers(table, frame)
        if frame.select(self._keys[table]).is_duplicated().any():
            raise ValueError(f"{table}: two rows of one key {self._keys[table]}")
        with self._writing() as connection:
            connection.register("incoming", frame)
            try:
                new = len(frame) >= MANY_ROWS and not self._has_some_of(table)
                verb = "INSERT" if new else "INSERT OR REPLACE"
                connection.execute(f"{verb} INTO {quoted(table)} BY NAME SELECT * FROM incoming")
            except (duckdb.ConstraintException, duckdb.ConversionException) as error:
                raise ValueError(f"{table}: {one_line(error)}") from error
            finally:
                connection.unregister("incoming")

    def _has_some_of(self, table: str) -> bool:
        """Whether a row that is there has the key of an incoming one."""
        keys = ", ".join(map(quoted, self._keys[table]))
        sql = f"SELECT count(*) FROM (SELECT 1 FROM incoming SEMI JOIN {quoted(table)} USING ({keys}) LIMIT 1)"
        row = self._connection.execute(sql).fetchone()
        return row is not None and row[0] > 0

    def remove(self, table: str, column: str, values: Sequence[str]) -> None:
        """Delete the rows of a small table that have one of the values in a column: what newer rows stand in for."""
        if table not in self._keys or column not in self._columns[table]:
            raise ValueError(f"there is no column {column!r} in a table {table!r} to remove rows from")
        with self._writing() as connection:
            sql = f"DELETE FROM {quoted(table)} WHERE list_contains(?::VARCHAR[], {quoted(column)})"
            connection.execute(sql, [list(values)])

    def save_shard(
        self, table: str, key: str, shard: int, frame: pl.DataFrame, *, seconds: float | None = None
    ) -> Path:
        """Write one shard of a large table and record it as done; return its file."""
        file = evidence.write_shard(self.workspace, table, key, shard, frame)
        self.finish_shard(table, key, shard, rows=frame.height, seconds=seconds, file=file)
        return file

    def finish_shard(
        self, stage: str, key: str, shard: int, *, rows: int, seconds: float | None = None, file: Path | None = None
    ) -> None:
        """Record that a shard of a stage is complete; call it after everything the shard wrote is saved."""
        place = None if file is None else file.relative_to(self.workspace.root).as_posix()
        row = (stage, key, shard, rows, seconds, place, self._now())
        with self._writing() as connection:
            connection.execute("INSERT OR REPLACE INTO shards VALUES (?, ?, ?, ?, ?, ?, ?)", row)

    def forget_shards(self, stage: str, keys: str, *, but: str, shards: Sequence[int]) -> None:
        """Take back that shards are complete, for the keys that start with `keys`, one excepted: other work takes the
        place of what they wrote."""
        with self._writing() as connection:
            connection.execute(
                "DELETE FROM shards WHERE stage = ? AND starts_with(key, ?) AND key <> ? AND list_contains(?::INTEGER[], shard)",
                [stage, keys, but, list(shards)],
            )

    def shard_done(self, stage: str, key: str, shard: int) -> bool:
        """Tell whether a shard is complete and can be skipped."""
        return self.read("shards", stage=stage, key=key, shard=shard).height > 0

    def read(self, table: str, **equals: Any) -> pl.DataFrame:
        """Rows of a small table or view whose columns equal the given values, in the order of the key.

        None asks for rows where the column is NULL. `labels` holds what the last `publish` wrote.
        """
        if table not in self._columns:
            raise ValueError(f"there is no table {table!r} to read; tables: {', '.join(self._columns)}")
        unknown = sorted(set(equals) - set(self._columns[table]))
        if unknown:
            raise ValueError(f"{table} has no columns {unknown}; columns: {self._columns[table]}")
        where = " AND ".join(f"{quoted(column)} IS NOT DISTINCT FROM ?" for column in equals)
        order = ", ".join(quoted(column) for column in self._keys.get(table, ()))
        sql = f"SELECT * FROM {quoted(table)}"
        sql += f" WHERE {where}" if where else ""
        sql += f" ORDER BY {order}" if order else ""
        return self.select(sql, list(equals.values()))

    def select(self, sql: str, parameters: Sequence[Any] = ()) -> pl.DataFrame:
        """Rows of a SELECT over the small tables. For statements of this package, never for text that people typed."""
        with self._mutex, database_errors(self.workspace.database):
            rows: pl.DataFrame = self._connection.sql(sql, params=list(parameters) or None).pl()
            return rows

    def evidence(self, table: str, key: str | None = None) -> pl.LazyFrame:
        """Rows of a large table in the order of its shards, of one key or of all."""
        return evidence.scan(self.workspace, table, key)

    def publish(self, llm_requests: pl.DataFrame | None = None) -> Path:
        """Fill `labels`, put the views over the evidence there is, and replace the snapshot; return its path.

        `llm_requests` is what the ledger holds; without it the last export stays. A process killed meanwhile leaves
        the previous snapshot.
        """
        if llm_requests is not None:
            self.save_shard("llm_requests", "ledger", 0, llm_requests)
        self.refresh_views()
        with self._writing() as connection:
            fill_labels(connection)
            return copy_database(connection, self.workspace)

    def refresh_views(self) -> None:
        """Put the views of the large tables over the shards that are there now."""
        with self._writing() as connection:
            create_evidence_views(connection, self.workspace)

    @contextmanager
    def _writing(self) -> Iterator[duckdb.DuckDBPyConnection]:
        with self._mutex, database_errors(self.workspace.database):
            yield self._connection


def open_database(file: Path, *, now: Clock) -> duckdb.DuckDBPyConnection:
    """Connect to the database, made or migrated where needed.

    A new one is made beside its place and then renamed, so that a process killed meanwhile leaves none.
    """
    if not file.exists():
        fresh = file.with_name(f"{file.name}.new")
        remove_database(fresh)
        with database_errors(fresh):
            connection = connect_migrated(fresh, now=now)
            try:
                # Closing would move the log into the file as well, but would say nothing when the disk is full.
                connection.execute("CHECKPOINT")
            finally:
                connection.close()
        rename_database(fresh, file)
    check_not_empty(file)
    with database_errors(file):
        return connect_migrated(file, now=now)


def connect_migrated(file: Path, *, now: Clock) -> duckdb.DuckDBPyConnection:
    is_new = not file.exists()
    connection = duckdb.connect(str(file))
    try:
        connection.execute(NO_BAR)
        # Times are stored in UTC; DuckDB would turn zoned ones into the machine's own time.
        connection.execute("SET TimeZone = 'UTC'")
        seen = schema_version(connection, database_name(connection))
        if not is_new and (seen is None or seen > latest_version()):
            raise version_error(file, seen)
        migrate(connection, now=now)
    except BaseException:
        connection.close()
        raise
    return connection


def migrate(
    connection: duckdb.DuckDBPyConnection, steps: Sequence[Migration] | None = None, *, now: Clock = utc_now
) -> None:
    """Apply the schema changes that the database does not have yet, each in one transaction with its record."""
    for step in migrations() if steps is None else steps:
        if step.version <= (schema_version(connection, database_name(connection)) or 0):
            continue
        with transaction(connection):
            connection.execute(step.sql)
            connection.execute("INSERT INTO schema_version VALUES (?, ?, ?)", (step.version, now(), step.name))


def database_name(connection: duckdb.DuckDBPyConnection) -> str:
    return str(connection.execute("SELECT current_database()").fetchall()[0][0])


def table_columns(connection: duckdb.DuckDBPyConnection) -> dict[str, list[str]]:
    """Columns of each small table and of the view `scoreboard`, in order."""
    rows = connection.execute(
        "SELECT table_name, column_name FROM duckdb_columns() "
        "WHERE database_name = current_database() AND NOT internal ORDER BY table_name, column_index"
    ).fetchall()
    columns: dict[str, list[str]] = {}
    for table, column in rows:
        if table not in evidence.TABLES:
            columns.setdefault(table, []).append(column)
    return columns


def table_keys(connection: duckdb.DuckDBPyConnection) -> dict[str, list[str]]:
    """Key columns of each table that is saved to."""
    rows = connection.execute(
        "SELECT table_name, constraint_column_names FROM duckdb_constraints() "
        "WHERE database_name = current_database() AND constraint_type = 'PRIMARY KEY' ORDER BY table_name"
    ).fetchall()
    return {table: list(columns) for table, columns in rows if table != "schema_version"}


def data_dictionary() -> pl.DataFrame:
    """Every table and view with its columns in order: `table, kind, table_comment, key, column, type, comment`."""
    connection = duckdb.connect()
    try:
        migrate(connection)
        create_evidence_views(connection, None)
        dictionary: pl.DataFrame = connection.sql(DATA_DICTIONARY).pl()
        return dictionary
    finally:
        connection.close()


DATA_DICTIONARY = """
WITH relations AS (
    SELECT table_name, 'table' AS kind, comment FROM duckdb_tables() WHERE NOT internal
    UNION ALL
    SELECT view_name, 'view', comment FROM duckdb_views() WHERE NOT internal
),
keys AS (
    SELECT table_name, unnest(constraint_column_names) AS column_name FROM duckdb_constraints()
    WHERE constraint_type = 'PRIMARY KEY'
)
SELECT r.table_name AS "table", r.kind, r.comment AS table_comment, k.column_name IS NOT NULL AS "key",
    c.column_name AS "column", c.data_type AS "type", c.comment
FROM relations AS r
JOIN duckdb_columns() AS c ON c.table_name = r.table_name AND NOT c.internal
LEFT JOIN keys AS k ON k.table_name = c.table_name AND k.column_name = c.column_name
ORDER BY r.table_name, c.column_index
"""


def render_data_dictionary() -> str:
    """The data dictionary as Markdown: the text of `docs/data-dictionary.md`."""
    parts = [
        "# Data dictionary",
        "Generated from the comments in the database; a test keeps it up to date. Key columns are marked with `*`. "
        f"Large tables ({', '.join(sorted(evidence.TABLES))}) are Parquet files behind views of the same names.",
    ]
    for (table, kind, comment), rows in data_dictionary().group_by(
        "table", "kind", "table_comment", maintain_order=True
    ):
        lines = [
            f"| `{r['column']}`{'*' if r['key'] else ''} | {r['type']} | {r['comment']} |" for r in rows.to_dicts()
        ]
        parts += [
            f"## {table}",
            f"{comment} ({kind})",
            "\n".join(["| column | type | meaning |", "|---|---|---|", *lines]),
        ]
    return "\n\n".join(parts) + "\n"
