"""The corpus `parquet`: a text column of a Parquet file, or of the files of a folder; every row is a document.

Rows are read a few at a time, and of the columns only those that are needed, so files may be larger than memory. Texts
are decoded here, because the column's own type does not promise valid UTF-8. A row group that can't be read is counted
as damaged, and the next one is read.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from labeling.corpora._local_files import LocalFiles, find_files
from labeling.corpora._problems import Misfit, excerpt
from labeling.corpora._record_files import RecordFiles
from labeling.corpora._records import DEFAULT_COLUMN, NAME_COLUMNS, REPLACED, read_record
from labeling.errors import UsageError
from labeling.types import JSON, Document

ENDINGS = (".parquet", ".pq")
ROWS_AT_ONCE = 64
BUFFER = 1 << 20
"""Bytes read at once of a column. Without it, or with pre-buffering, the column of a whole row group is in memory."""


class ParquetCorpus(RecordFiles):
    """Reads one column of all files, one after the other."""

    def __init__(self, files: LocalFiles, column: str) -> None:
        hint = f"It must be a Parquet file with text in its column {column!r}, or set [corpus] column to another."
        super().__init__(files, kind="parquet", column=column, hint=hint)

    def _records(self, file: Path) -> Iterator[Document | Misfit]:
        import pyarrow as pa
        import pyarrow.parquet as pq

        place, row = self._files.place(file), 0
        try:
            parquet = pq.ParquetFile(file, buffer_size=BUFFER, pre_buffer=False)
        except (OSError, pa.ArrowException) as error:
            yield Misfit("damaged", place, excerpt(str(error)).rstrip("."))
            return
        with parquet:
            columns = _columns(parquet.schema_arrow, self._column, str(file))
            for group in range(parquet.num_row_groups):
                end = row + parquet.metadata.row_group(group).num_rows
                try:
                    for batch in parquet.iter_batches(
                        ROWS_AT_ONCE, row_groups=[group], columns=columns, use_threads=False
                    ):
                        for values in _rows(batch, columns):
                            row += 1
                            yield self._read(values, f"{place}:{row}")
                except (OSError, pa.ArrowException) as error:
                    yield Misfit("damaged", f"{place}:{row + 1}", f"{excerpt(str(error))}; rows to {end} are lost")
                    row = end

    def _read(self, values: dict[str, JSON], place: str) -> Document | Misfit:
        raw, replaced = values[self._column], 0
        if isinstance(raw, bytes):
            text = raw.decode("utf-8", "replace")
            replaced = text.count(REPLACED) - raw.count(REPLACED.encode())
            values = values | {self._column: text}
        return read_record(values, column=self._column, place=place, tally=self._tally, replaced=replaced)


def create(*, path: str | None, column: str | None = None) -> ParquetCorpus:
    """Make the corpus. `column` holds the text, with dots for a field of a struct; `text` when left out.

    Raise UsageError when the path is missing or has no file to read.
    """
    wanted = "a .parquet file, or a folder of them"
    return ParquetCorpus(find_files(path, source="parquet", endings=ENDINGS, wanted=wanted), column or DEFAULT_COLUMN)


def _columns(schema: Any, column: str, file: str) -> list[str]:
    """Columns to read: the text first, then those that may name a row."""
    kinds = dict(_leaves(schema))
    texts = [name for name, kind in kinds.items() if kind == "text"]
    if column not in texts:
        near = get_close_matches(column, texts, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        seen = "its type is no text" if column in {name.split(".")[0] for name in kinds} | set(kinds) else "it has none"
        raise UsageError(
            f"{file}: [corpus] column is {column!r}, but {seen}.{hint} Columns with text: {', '.join(texts) or 'none'}."
        )
    return [column, *(name for name in NAME_COLUMNS if name in kinds and kinds[name] != "other" and name != column)]


def _leaves(fields: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Names of columns, fields of structs with dots, and what they hold: text, integer or other."""
    from pyarrow import types

    for field in fields:
        kind = field.type.value_type if types.is_dictionary(field.type) else field.type
        if types.is_struct(kind):
            yield from _leaves(kind.fields, f"{prefix}{field.name}.")
        elif _is_text(kind):
            yield prefix + field.name, "text"
        else:
            yield prefix + field.name, "integer" if types.is_integer(kind) else "other"


def _is_text(kind: Any) -> bool:
    from pyarrow import types

    checks = ("string", "large_string", "string_view", "binary", "large_binary", "binary_view")
    return any(getattr(types, f"is_{check}")(kind) for check in checks)


def _rows(batch: Any, columns: Sequence[str]) -> Iterator[dict[str, JSON]]:
    """Rows with a value for each column; the text's as bytes, names as text."""
    values = [_values(batch, column) for column in columns]
    for text, *names in zip(*values, strict=True):
        decoded = (name.decode("utf-8", "replace") if isinstance(name, bytes) else name for name in names)
        yield {columns[0]: text} | dict(zip(columns[1:], decoded, strict=True))


def _values(batch: Any, column: str) -> list[JSON]:
    """Values of a column, or of a field of a struct; text as bytes, whether it is valid or not."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if column in batch.schema.names:
        array = batch.column(column)
    else:
        head, *fields = column.split(".")
        array = pc.struct_field(batch.column(head), fields)
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if _is_text(array.type):
        array = array.cast(pa.large_binary())
    values: list[JSON] = array.to_pylist()
    return values
