"""SQL as text: quoting names and values, and telling whether a statement only reads. It runs nothing."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from labeling.errors import UsageError

QUERY_NODES = {"SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE", "CTE_NODE"}
"""Parts of a statement that only read. A CTE can also hold COPY or INSERT, and DuckDB still calls it SELECT."""
TABLE_FUNCTIONS = {
    "duckdb_columns",
    "duckdb_constraints",
    "duckdb_functions",
    "duckdb_indexes",
    "duckdb_keywords",
    "duckdb_schemas",
    "duckdb_settings",
    "duckdb_tables",
    "duckdb_types",
    "duckdb_views",
    "generate_series",
    "generate_subscripts",
    "glob",
    "histogram",
    "histogram_values",
    "json_each",
    "json_tree",
    "parquet_file_metadata",
    "parquet_metadata",
    "parquet_scan",
    "parquet_schema",
    "pragma_table_info",
    "pragma_version",
    "query_table",
    "range",
    "read_parquet",
    "repeat",
    "repeat_row",
    "summary",
    "unnest",
}
"""Table functions a query may call. Others run text as SQL, change settings or read files of other kinds."""


def quoted(name: str) -> str:
    """A name of a table or column."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A text value."""
    return "'" + text.replace("'", "''") + "'"


def glob_escaped(path: Path) -> str:
    """A path as a pattern that matches this path alone."""
    return re.sub(r"([\[*?])", r"[\1]", str(path))


def without_explain(sql: str) -> str:
    """The statement that an EXPLAIN explains, which EXPLAIN ANALYZE also runs; any other statement as it is."""
    return re.sub(r"^\s*explain\s+(analyze\s+)?", "", sql, flags=re.IGNORECASE)


def check_only_reads(parsed: str) -> None:
    """Raise UsageError unless the text is one statement that reads tables and does nothing else.

    `parsed` is DuckDB's `json_serialize_sql` of `without_explain(text)`. The kind DuckDB gives a statement is not
    enough: it says SELECT also where a CTE writes files.
    """
    try:
        tree = json.loads(parsed)
        parts = list(parts_of(tree))
    except RecursionError as error:
        raise refused("it is nested too deeply") from error
    if tree["error"] and tree["error_type"] == "parser":
        raise UsageError(f"This query cannot be read: {tree['error_message']}. Correct it and run it again.")
    if tree["error"]:
        raise refused(f"it is not a query that reads ({tree['error_message']})")
    if len(tree["statements"]) != 1:
        raise UsageError(f"A query is one statement; this text has {len(tree['statements'])}. Send them one by one.")
    for part in parts:
        kind = part.get("type")
        if isinstance(kind, str) and kind.endswith("_NODE") and kind not in QUERY_NODES:
            raise refused(f"it contains {kind.removesuffix('_NODE').removesuffix('_QUERY')}")
        if kind == "TABLE_FUNCTION" and part["function"]["function_name"].lower() not in TABLE_FUNCTIONS:
            raise refused(f"it calls {part['function']['function_name']}")


def parts_of(tree: Any) -> Iterator[dict[str, Any]]:
    """Every object inside a parsed statement."""
    if isinstance(tree, dict):
        yield tree
        tree = list(tree.values())
    if isinstance(tree, list):
        for part in tree:
            yield from parts_of(part)


def refused(why: str) -> UsageError:
    return UsageError(
        f"This query is refused because {why}. Queries only read: SELECT, WITH, FROM, VALUES, DESCRIBE, SHOW, "
        "SUMMARIZE and EXPLAIN of them are allowed, over the tables and views of the workspace. To keep a result in a "
        "file, let `featlas query` write it."
    )
