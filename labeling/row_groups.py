"""Rows of a large table looked up by number: those of one feature, or some windows wherever they stand.

They are read from the row groups alone that can hold them, by the ranges that the files state themselves. DuckDB does
that too, but for fifty windows that are scattered over a corpus it takes four times as long. It knows nothing of pages.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from labeling.errors import FeatlasError
from labeling.evidence import TABLES, EvidenceTable, shard_files, unreadable
from labeling.workspace import Workspace

Ints = npt.NDArray[np.int64]
Stamp = tuple[int, int, int]
SETTLED_NANOSECONDS = 1_000_000_000
"""A folder that was changed more recently may change again without a newer time."""
ATTEMPTS = 5
"""Times to look again when shards are replaced while they are read."""
LEAST, GREATEST = np.iinfo(np.int64).min, np.iinfo(np.int64).max


@dataclass(frozen=True)
class Shard:
    """A file as it was when it was looked into: what its row groups hold, a range each of owners and of numbers.

    A row group that does not say what it holds may hold anything.
    """

    stamp: Stamp
    metadata: Any
    columns: frozenset[str]
    owners: tuple[tuple[str, str] | None, ...]
    first: Ints
    last: Ints

    def groups(self, owner: str, numbers: Ints) -> list[int]:
        """Row groups that can hold rows of an owner with one of the numbers, which are in order."""
        place = np.searchsorted(numbers, self.first)
        held = (place < len(numbers)) & (numbers[np.minimum(place, len(numbers) - 1)] <= self.last)
        return [group for group in np.flatnonzero(held).tolist() if _within(owner, self.owners[group])]


class RowGroups:
    """Remembers what each shard of a workspace holds; looks again into those that changed. Safe for threads.

    A row's *owner* is its first column, a sample or a corpus; its *number* is the column that shards are sorted by first.
    """

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._lock = threading.Lock()
        self._folders: dict[str, int] = {}
        self._shards: dict[str, dict[Path, Shard]] = {}

    def rows(
        self, table: str, owner: str, numbers: Iterable[int], columns: Sequence[str] | None = None
    ) -> pl.DataFrame:
        """Rows of an owner that have one of the numbers, in the order of the shards: all columns, or some.

        Raise FeatlasError where a file can't be read.
        """
        declared = TABLES[table]
        columns = declared.schema.names() if columns is None else columns
        wanted = np.unique(np.fromiter(numbers, dtype=np.int64))
        needed = list(dict.fromkeys((*keys(declared), *columns)))
        empty = declared.schema.to_frame().select(needed)
        if not len(wanted):
            return empty.select(columns)
        for _ in range(ATTEMPTS):
            parts = [
                self._read(declared, file, shard, groups=groups, owner=owner, columns=needed)
                for file, shard in self.shards(table).items()
                if (groups := shard.groups(owner, wanted))
            ]
            found = [part for part in parts if part is not None]
            if len(found) == len(parts):
                owns, number = keys(declared)
                ours = (pl.col(owns) == owner) & pl.col(number).is_in(pl.Series(wanted).implode())
                return pl.concat([empty, *(part.filter(ours) for part in found)]).select(columns)
            with self._lock:
                self._folders.pop(table, None)
        raise FeatlasError(f"The files in {self._workspace.evidence(table)} change all the time. Try again later.")

    def shards(self, table: str) -> dict[Path, Shard]:
        """What every shard of a table holds, in the order of their names. Raise FeatlasError for one that is damaged."""
        with self._lock:
            changed_at = _changed_at(self._workspace.evidence(table))
            if self._folders.get(table) != changed_at:
                known = self._shards.get(table, {})
                found = {
                    file: self._look_into(TABLES[table], file, known.get(file))
                    for file in shard_files(self._workspace, table)
                }
                self._shards[table] = {file: shard for file, shard in found.items() if shard is not None}
                self._folders.pop(table, None)
                if time.time_ns() - changed_at > SETTLED_NANOSECONDS:
                    self._folders[table] = changed_at
            return self._shards[table]

    def _read(
        self, table: EvidenceTable, file: Path, shard: Shard, *, groups: list[int], owner: str, columns: Sequence[str]
    ) -> pl.DataFrame | None:
        """Some row groups of a shard; None where another file has taken its place."""
        known: dict[str, str | None] = dict.fromkeys(name for name in columns if name not in shard.columns)
        if set(shard.owners) == {(owner, owner)}:  # as in nearly every shard: the column need not be read
            known[keys(table)[0]] = owner
        there = [name for name in columns if name not in known]
        try:
            with pa.OSFile(str(file)) as source:  # a file in memory that somebody cuts short would end the process
                if _stamp(file) != shard.stamp:
                    return None
                opened = pq.ParquetFile(source, metadata=shard.metadata)
                frame = pl.DataFrame(pl.from_arrow(opened.read_row_groups(groups, columns=there)))
            whole = frame.with_columns(pl.lit(value).alias(name) for name, value in known.items())
            return whole.select(pl.col(name).cast(table.schema[name]) for name in columns)
        except FileNotFoundError:
            return None
        except (OSError, pa.ArrowException, pl.exceptions.PolarsError) as error:
            raise unreadable(self._workspace, table.name, str(error)) from error

    def _look_into(self, table: EvidenceTable, file: Path, known: Shard | None) -> Shard | None:
        """What a shard holds, which is not read again where it is known; None for a file that was taken away meanwhile."""
        try:
            stamp = _stamp(file)
            if known is not None and known.stamp == stamp:
                return known
            metadata = pq.read_metadata(file)
        except FileNotFoundError:
            return None
        except (OSError, pa.ArrowException) as error:
            raise unreadable(self._workspace, table.name, str(error)) from error
        missing = [name for name in keys(table) if name not in metadata.schema.names]
        if missing:
            raise unreadable(self._workspace, table.name, f"{file.name} has no column {missing[0]}")
        owns, number = (_column(metadata, name) for name in keys(table))
        groups = [metadata.row_group(group) for group in range(metadata.num_row_groups)]
        ranges = [_range(group, number) or (LEAST, GREATEST) for group in groups]
        return Shard(
            stamp,
            metadata,
            frozenset(metadata.schema.to_arrow_schema().names),
            tuple(_range(group, owns) for group in groups),
            np.array([first for first, _ in ranges], dtype=np.int64),
            np.array([last for _, last in ranges], dtype=np.int64),
        )


def keys(table: EvidenceTable) -> tuple[str, str]:
    """Names of the columns that rows are looked up by: of the owner and of the number."""
    return table.columns[0][0], table.sorted_by[0]


def _column(metadata: Any, name: str) -> int:
    """Place of a column without nesting."""
    return next(place for place in range(metadata.num_columns) if metadata.schema.column(place).path == name)


def _range(group: Any, column: int) -> tuple[Any, Any] | None:
    """The least and the greatest value of a column; None where the file does not say."""
    statistics = group.column(column).statistics
    if statistics is None or not statistics.has_min_max:
        return None
    return statistics.min, statistics.max


def _within(owner: str, held: tuple[str, str] | None) -> bool:
    return held is None or held[0] <= owner <= held[1]


def _changed_at(folder: Path) -> int:
    """When a file was last put into a folder or taken away; 0 where there is no folder."""
    try:
        return folder.stat().st_mtime_ns
    except FileNotFoundError:
        return 0


def _stamp(file: Path) -> Stamp:
    status = file.stat()
    return status.st_ino, status.st_mtime_ns, status.st_size
