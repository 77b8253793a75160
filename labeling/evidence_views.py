"""The views over the large tables, as SQL text. It runs nothing."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from labeling.evidence import EvidenceTable, shard_files
from labeling.statements import glob_escaped, literal, quoted
from labeling.workspace import Workspace

SQL_TYPES = {
    pl.String(): "VARCHAR",
    pl.Int64(): "BIGINT",
    pl.Int32(): "INTEGER",
    pl.Int16(): "SMALLINT",
    pl.Float32(): "FLOAT",
    pl.Float64(): "DOUBLE",
    pl.Datetime("us"): "TIMESTAMP",
}


def view_query(workspace: Workspace | None, table: EvidenceTable) -> str:
    """SELECT over all shards of a table, by absolute path: relative ones are refused inside the sandbox."""
    if workspace is None or not shard_files(workspace, table.name):
        return shards_query(table, [])
    return shards_query(table, [f"{glob_escaped(workspace.evidence(table.name))}/*.parquet"])


def shards_query(table: EvidenceTable, patterns: Sequence[str]) -> str:
    """SELECT over the shards of a table that fit some absolute paths, of which each fits at least one; or no row."""
    empty = ", ".join(f"NULL::{sql_type(dtype)} AS {quoted(name)}" for name, dtype in table.schema.items())
    if not patterns:
        return f"SELECT {empty} WHERE false"
    columns = ", ".join(quoted(name) for name in table.schema.names())
    listed = f"[{', '.join(map(literal, patterns))}]"
    if not table.added:
        return f"SELECT {columns} FROM read_parquet({listed})"
    files = f"SELECT * FROM read_parquet({listed}, union_by_name = true)"
    return f"SELECT {columns} FROM (SELECT {empty} WHERE false UNION ALL BY NAME {files})"


def comments(table: EvidenceTable, *, kind: str = "VIEW") -> str:
    """COMMENT ON statements of a view (or table) and its columns."""
    lines = [f"COMMENT ON {kind} {table.name} IS {literal(table.comment)};"]
    lines += [f"COMMENT ON COLUMN {table.name}.{quoted(c)} IS {literal(text)};" for c, _, text in table.columns]
    return "\n".join(lines)


def sql_type(dtype: pl.DataType) -> str:
    if isinstance(dtype, pl.List):
        return f"{SQL_TYPES[pl.List(dtype.inner).inner]}[]"  # type: ignore[index]
    return SQL_TYPES[dtype]
