"""The corpus `files`: a text file, or a folder of .txt and .md files, as documents.

In a folder every file is a document. A single file is cut: at ` = Title = ` lines when it has them (the format of
wikitext), else at blank lines to documents of about 2,000 characters. Bytes that are not UTF-8 are replaced and counted.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property, partial
from pathlib import Path

from labeling.corpora import Problem, Problems
from labeling.corpora._local_files import LocalFiles, find_files
from labeling.corpora._problems import Misfit, Tally, readable
from labeling.corpora._records import REPLACED, around_replaced
from labeling.identity import identify, text_id
from labeling.types import Document

RULES_VERSION = 2
"""Raise it when the rules below make other documents of the same files."""
ENDINGS = (".txt", ".md")
DOCUMENT_CHARACTERS = 2_000
LONGEST_CHARACTERS = 20_000
"""Of a single file without titles, a piece that has no blank line so far ends with the next line."""
LINE_CHARACTERS = 1 << 20
"""Longer lines are read in parts: with this, no file needs more memory than its longest document."""
SNIFFED_BYTES = 4096
MOST_ZEROS = 0.01
"""Share of zero bytes at the start of a text: a stray one spoils nothing, UTF-16 and programs have more."""
PACKED = (b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"PAR1", b"PK\x03\x04", b"%PDF-")
"""How gzip, zstd, Parquet, zip and PDF files start."""
HINT = "Text must be UTF-8. For JSONL (also packed) set [corpus] source to 'jsonl', for Parquet to 'parquet'."
TITLE = re.compile(r"^ ?= ([^=\n]+) = ?$")


class FilesCorpus:
    """Reads text files, one at a time and line by line."""

    def __init__(self, files: LocalFiles) -> None:
        self.name = str(files.path)
        self._files = files
        self._tally = Tally()

    @cached_property
    def fingerprint(self) -> str:
        """From the names and contents of the files, and the version of the rules below."""
        return identify("files corpus", rules=RULES_VERSION, files=self._files.content_hash())

    @property
    def problems(self) -> Mapping[Problem, Problems]:
        return self._tally.by_problem

    def documents(self) -> Iterator[Document]:
        self._tally = Tally()
        yield from readable(self._records(), self._tally, file=self.name, hint=HINT)

    def _records(self) -> Iterator[Document | Misfit]:
        path = self._files.path
        for file in self._files.files:
            place = self._files.place(file)
            if _is_binary(file):
                yield Misfit("not text", place, "it has many zero bytes, or starts like a packed file")
            elif path.is_dir():
                text = "".join(self._lines(file)).strip()
                yield from _document(place, text) if text else [Misfit("empty", place, "nothing but blanks")]
            else:
                yield from _cut(place, self._lines(file), by_title=_has_titles(file))

    def _lines(self, file: Path) -> Iterator[str]:
        with file.open(encoding="utf-8-sig", errors="surrogateescape") as lines:
            for number, line in enumerate(iter(partial(lines.readline, LINE_CHARACTERS), ""), start=1):
                whole = line.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
                if replaced := whole.count(REPLACED) - line.count(REPLACED):
                    example = f"{self._files.place(file)}:{number}: {around_replaced(whole)}"
                    self._tally.add("characters replaced", example, replaced)
                yield whole


def create(*, path: str | None) -> FilesCorpus:
    """Make the corpus. Raise UsageError when the path is missing or holds no text."""
    return FilesCorpus(
        find_files(path, source="files", endings=ENDINGS, wanted="a text file, or a folder of .txt and .md files")
    )


def _is_binary(file: Path) -> bool:
    with file.open("rb") as stream:
        start = stream.read(SNIFFED_BYTES)
    return start.count(0) > MOST_ZEROS * len(start) or start.startswith(PACKED)


def _has_titles(file: Path) -> bool:
    with file.open(encoding="utf-8", errors="replace") as lines:
        return any(TITLE.match(line.rstrip("\n")) for line in iter(partial(lines.readline, LINE_CHARACTERS), ""))


def _cut(name: str, lines: Iterable[str], *, by_title: bool) -> Iterator[Document]:
    """Documents of one file: articles, or paragraphs gathered to DOCUMENT_CHARACTERS."""
    gathered: list[str] = []
    title = f"{name} (start)"
    size = number = 0
    for line in lines:
        heading = TITLE.match(line.rstrip("\n")) if by_title else None
        full = not by_title and size >= (LONGEST_CHARACTERS if line.strip() else DOCUMENT_CHARACTERS)
        if heading or full:
            number += 1
            yield from _document(title if by_title else f"{name} ({number})", "".join(gathered).strip())
            gathered, size = [], 0
            title = heading[1].strip() if heading else title
        gathered.append(line)
        size += len(line)
    yield from _document(title if by_title else f"{name} ({number + 1})", "".join(gathered).strip())


def _document(name: str, text: str) -> Iterator[Document]:
    if text:
        yield Document(document_id=text_id(text), name=name, text=text)
