"""The files of an activation table as rows that can be read piece by piece, whatever their size.

Checks that files, columns and types are there; what stands in the rows is checked in `_table_checks.py`. Memory is that
of one row group.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from labeling.activation_table import TYPES, FileForm, Kind
from labeling.errors import FeatlasError

BLOCK_ROWS = 262_144
MOST_ROWS_IN_GROUP = 1 << 21
"""Files with larger row groups are not read at random: every piece would cost the whole group."""
EXPECTED: dict[Kind, str] = {
    "id": "text or a whole number",
    "text": "text",
    "whole": "a whole number",
    "number": "a floating-point number, float32",
}


@dataclass(frozen=True)
class RowGroup:
    """Rows that a file keeps together."""

    file: Path
    number: int
    """0-based, within the file."""
    first: int
    """Its first row, counted over all files."""
    rows: int


class ParquetRows:
    """The rows of one or more Parquet files, numbered from 0, as polars frames of the declared types."""

    def __init__(self, files: Sequence[Path], columns: Mapping[str, Kind]) -> None:
        self.files = tuple(files)
        self._columns = columns
        self._groups = _row_groups(self.files)
        self._firsts = np.array([group.first for group in self._groups], dtype=np.int64)
        self._opened: tuple[Path, Any] | None = None
        self._kept: tuple[int, pl.DataFrame] | None = None

    def __len__(self) -> int:
        return self._groups[-1].first + self._groups[-1].rows if self._groups else 0

    @property
    def is_read_at_random(self) -> bool:
        return all(group.rows <= MOST_ROWS_IN_GROUP for group in self._groups)

    def blocks(self, rows: int = BLOCK_ROWS) -> Iterator[pl.DataFrame]:
        """All rows in order, at most `rows` at a time."""
        for file in self.files:
            opened = _open(file)
            try:
                for batch in opened.iter_batches(batch_size=rows, columns=list(self._columns), use_threads=False):
                    yield self._typed(pa.Table.from_batches([batch]), file)
            except (pa.ArrowException, OSError) as error:
                raise _unreadable(file, error) from error

    def read(self, begin: int, end: int) -> pl.DataFrame:
        """Rows `begin` to `end`, exclusive. Reading forward in small steps costs each row group once."""
        first = int(np.searchsorted(self._firsts, begin, side="right")) - 1
        parts = []
        for number in range(max(first, 0), len(self._groups)):
            group = self._groups[number]
            if group.first >= end:
                break
            low, high = max(begin - group.first, 0), min(end - group.first, group.rows)
            if high > low:
                parts.append(self._group(number)[low:high])
        return pl.concat(parts) if parts else self._empty()

    def _group(self, number: int) -> pl.DataFrame:
        if self._kept is None or self._kept[0] != number:
            group = self._groups[number]
            self._kept = None
            if self._opened is None or self._opened[0] != group.file:
                self._opened = (group.file, _open(group.file))
            try:
                table = self._opened[1].read_row_group(group.number, columns=list(self._columns), use_threads=False)
            except (pa.ArrowException, OSError) as error:
                raise _unreadable(group.file, error) from error
            self._kept = (number, self._typed(table, group.file))
        return self._kept[1]

    def _typed(self, table: Any, file: Path) -> pl.DataFrame:
        frame = pl.from_arrow(table)
        assert isinstance(frame, pl.DataFrame)
        try:
            return frame.select(pl.col(name).cast(TYPES[kind]) for name, kind in self._columns.items())
        except pl.exceptions.PolarsError as error:
            raise _unreadable(file, error) from error

    def _empty(self) -> pl.DataFrame:
        return pl.DataFrame(schema={name: TYPES[kind] for name, kind in self._columns.items()})


def find_files(folder: Path, form: FileForm) -> list[Path]:
    """The Parquet files of one part of a table, in the order of their names; none when it is not there."""
    place = folder / f"{form.name}.parquet"
    if place.is_dir():
        return sorted(file for file in place.glob("*.parquet") if not file.name.startswith("."))
    return [place] if place.exists() else []


def open_rows(folder: Path, form: FileForm) -> ParquetRows:
    """Open one part of a table.

    Raise FeatlasError when it is missing, is no Parquet, or has other columns or types than declared.
    """
    files = find_files(folder, form)
    columns = ", ".join(form.columns)
    if not files:
        seen = ", ".join(sorted(file.name for file in folder.iterdir())[:10]) or "nothing"
        raise FeatlasError(
            f"The activation table {folder} has no {form.name}.parquet. There is: {seen}. Expected: a Parquet file, or a "
            f"folder of that name with several, with the columns {columns}; see docs/activation-tables.md."
        )
    for file in files:
        _check_schema(file, form)
    return ParquetRows(files, form.columns)


def hash_files(folder: Path, files: Sequence[Path]) -> str:
    """Hash of the names and contents of some files of a table."""
    digest = blake2b(digest_size=8)
    for file in files:
        digest.update(
            f"{file.relative_to(folder).as_posix()}\0{file.stat().st_size}\0".encode("utf-8", "surrogatepass")
        )
        with file.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def _check_schema(file: Path, form: FileForm) -> None:
    schema = _open(file).schema_arrow
    missing = [name for name in form.columns if name not in schema.names]
    if missing:
        raise FeatlasError(
            f"{file} has no column {' and no column '.join(missing)}. Its columns: {', '.join(schema.names) or 'none'}. "
            f"Expected: {', '.join(form.columns)}. Rename or add what is missing."
        )
    for name, kind in form.columns.items():
        seen = schema.field(name).type
        if not _is(kind, seen):
            raise FeatlasError(
                f"{file}: the column {name} is of type {seen}; expected: {EXPECTED[kind]}. Write it with that type."
            )


def _is(kind: Kind, seen: Any) -> bool:
    types = pa.types
    plain = seen.value_type if types.is_dictionary(seen) else seen
    text = types.is_string(plain) or types.is_large_string(plain) or types.is_string_view(plain)
    if kind == "id":
        return bool(text or types.is_integer(plain))
    return bool({"text": text, "whole": types.is_integer(seen), "number": types.is_floating(seen)}[kind])


def _row_groups(files: Sequence[Path]) -> list[RowGroup]:
    found: list[RowGroup] = []
    first = 0
    for file in files:
        metadata = _open(file).metadata
        for number in range(metadata.num_row_groups):
            rows = metadata.row_group(number).num_rows
            found.append(RowGroup(file, number, first, rows))
            first += rows
    return found


def _open(file: Path) -> Any:
    try:
        return pq.ParquetFile(file, pre_buffer=False, buffer_size=1 << 20)
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(file, error) from error


def _unreadable(file: Path, error: Exception) -> FeatlasError:
    return FeatlasError(
        f"{file} can't be read as Parquet: {str(error).splitlines()[0]} Expected: a file that was written whole. Write it again."
    )
