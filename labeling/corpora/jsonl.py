"""The corpus `jsonl`: one JSON object a line, plain or compressed with gzip or zstd; a file, or a folder of them.

Compression is told by the first bytes, not by the name. A line is read at a time, so files may be larger than memory.
Lines that give no document are counted by what is wrong with them. What follows a damaged place in a compressed file
is lost and counted as one.
"""

from __future__ import annotations

import codecs
import gzip
import io
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

from labeling.corpora._local_files import LocalFiles, find_files
from labeling.corpora._problems import Misfit, excerpt
from labeling.corpora._record_files import RecordFiles
from labeling.corpora._records import DEFAULT_COLUMN, REPLACED, read_record
from labeling.types import Document

ENDINGS = tuple(
    name + packed
    for name in (".jsonl", ".ndjson", ".json")
    for packed in ("", ".gz", ".zst")
    if name + packed != ".json"  # in a folder, these describe the data more often than they hold it
)
LONGEST_LINE = 64 << 20
"""Bytes of a line that is still read: what bounds memory."""
BUFFER = 1 << 20
GZIP, ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"


class JsonlCorpus(RecordFiles):
    """Reads the objects of all files, one after the other."""

    def __init__(self, files: LocalFiles, column: str) -> None:
        hint = f"Each line must be a JSON object with a text under {column!r}, or set [corpus] column to its key."
        super().__init__(files, kind="jsonl", column=column, hint=hint)

    def _records(self, file: Path) -> Iterator[Document | Misfit]:
        place = self._files.place(file)
        for number, line in numbered_lines(file):
            here = f"{place}:{number}"
            if isinstance(line, Misfit):
                yield Misfit(line.problem, here, line.seen)
            elif line.strip():
                yield self._read(line, here)

    def _read(self, line: bytes, place: str) -> Document | Misfit:
        text = line.decode("utf-8", "replace").strip()
        try:
            record = json.loads(text)
        except (ValueError, RecursionError) as error:  # also numbers of too many digits, and too deep nesting
            why = f"{error.msg}: character {error.pos + 1}" if isinstance(error, json.JSONDecodeError) else str(error)
            return Misfit("not JSON", place, f"{excerpt(why)} of {excerpt(text)}")
        if not isinstance(record, dict):
            return Misfit("not an object", place, excerpt(text))
        replaced = text.count(REPLACED) - line.count(REPLACED.encode()) if REPLACED in text else 0
        return read_record(record, column=self._column, place=place, tally=self._tally, replaced=replaced)


def create(*, path: str | None, column: str | None = None) -> JsonlCorpus:
    """Make the corpus. `column` is the key of the text, with dots for nested objects; `text` when left out.

    Raise UsageError when the path is missing or has no file to read.
    """
    wanted = "a .jsonl file, plain or packed as .gz or .zst, or a folder of them"
    return JsonlCorpus(find_files(path, source="jsonl", endings=ENDINGS, wanted=wanted), column or DEFAULT_COLUMN)


def numbered_lines(file: Path) -> Iterator[tuple[int, bytes | Misfit]]:
    """Lines of a file from 1, unpacked; in place of what can't be read a misfit without a place."""
    number = 0
    try:
        with open_unpacked(file) as stream:
            while line := stream.readline(LONGEST_LINE):
                number += 1
                if len(line) == LONGEST_LINE and not line.endswith(b"\n"):
                    while (rest := stream.readline(LONGEST_LINE)) and not rest.endswith(b"\n"):
                        pass
                    yield number, Misfit("too long", "", f"more than {LONGEST_LINE >> 20} MiB without an end of line")
                    continue
                yield number, line.removeprefix(codecs.BOM_UTF8) if number == 1 else line
    except (OSError, EOFError, zlib.error) as error:
        yield number + 1, Misfit("damaged", "", f"{excerpt(str(error))}; the rest of the file is lost")


def open_unpacked(file: Path) -> BinaryIO:
    """Open a plain, gzip or zstd file for reading what it holds."""
    with file.open("rb") as stream:
        first = stream.read(4)
    if first.startswith(GZIP):
        return cast(BinaryIO, io.BufferedReader(gzip.open(file), BUFFER))
    if first.startswith(ZSTD):
        import pyarrow as pa

        return cast(BinaryIO, io.BufferedReader(pa.input_stream(str(file), compression="zstd"), BUFFER))
    return file.open("rb", BUFFER)
