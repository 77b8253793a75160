"""The export `parquet`: a folder with one Parquet file a table, and the data dictionary.

Empty tables have a file too, so that a program finds its columns. What a table and its columns mean also stands in the
schema of its file.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from dashboards.export_queries import Table, described_tables, table_pieces
from dashboards.exporters._card import what_columns_mean
from dashboards.exporters._places import mark
from dashboards.exporters._table_files import write_table
from dashboards.queries import open_reader
from labeling.errors import unknown_name
from labeling.workspace import Workspace

ABOUT = "every table as a Parquet file, with the data dictionary"


class ParquetExporter:
    endings: tuple[str, ...] = ()

    def __init__(self, tables: tuple[Table, ...]) -> None:
        self._tables = tables

    def write(self, workspace: Workspace, place: Path) -> str:
        place.mkdir()
        rows = sum(n for _, n in write_tables(workspace, place, self._tables))
        title = "# Data dictionary\n\nEach table is the Parquet file of its name."
        (place / "data-dictionary.md").write_text(f"{title}\n\n{what_columns_mean(self._tables)}\n", encoding="utf-8")
        mark(place, "parquet")
        return f"{len(self._tables)} tables, {rows:,} rows, and data-dictionary.md"


def write_tables(workspace: Workspace, folder: Path, tables: tuple[Table, ...]) -> Iterator[tuple[Table, int]]:
    """Write a file a table; yield each table with its number of rows."""
    with open_reader(workspace) as reader:
        for table in tables:
            yield table, write_table(table_pieces(workspace, reader, table), folder / f"{table.name}.parquet", table)


def chosen_tables(names: tuple[str, ...], default: tuple[str, ...] | None = None) -> tuple[Table, ...]:
    """Tables by name; all, or the default, when none is named. Raise UsageError for a name that does not exist."""
    known = {table.name: table for table in described_tables()}
    for name in names:
        if name not in known:
            raise unknown_name("table", name, known)
    return tuple(known[name] for name in names or default or known)


def create(*, tables: tuple[str, ...]) -> ParquetExporter:
    """Export the tables named, or all."""
    return ParquetExporter(chosen_tables(tables))
