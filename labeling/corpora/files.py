"""The corpus `files`: a text file, or a folder of .txt and .md files, as documents.

In a folder every file is a document. A single file is cut: at ` = Title = ` lines when it has them (the format of
wikitext), else at blank lines to documents of about 2,000 characters. Bytes that are not UTF-8 are replaced and counted.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path

from labeling.corpora import Problem, Problems
from labeling.corpora._local_files import LocalFiles, find_files
from labeling.corpora._problems import Tally
from labeling.corpora._records import REPLACED, around_replaced
from labeling.identity import text_id
from labeling.types import Document

ENDINGS = (".txt", ".md")
DOCUMENT_CHARACTERS = 2_000
TITLE = re.compile(r"^ ?= ([^=\n]+) = ?$")


class FilesCorpus:
    """Reads text files, one at a time and line by line."""

    def __init__(self, files: LocalFiles) -> None:
        self.name = str(files.path)
        self._files = files
        self._tally = Tally()

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the names and contents of the files."""
        return self._files.content_hash()

    @property
    def problems(self) -> Mapping[Problem, Problems]:
        return self._tally.by_problem

    def documents(self) -> Iterator[Document]:
        self._tally = Tally()
        path = self._files.path
        if path.is_dir():
            for file in self._files.files:
                yield from _document(self._files.place(file), "".join(self._lines(file)).strip())
        else:
            yield from _cut(path.name, self._lines(path), by_title=_has_titles(path))

    def _lines(self, file: Path) -> Iterator[str]:
        with file.open(encoding="utf-8-sig", errors="surrogateescape") as lines:
            for number, line in enumerate(lines, start=1):
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


def _has_titles(file: Path) -> bool:
    with file.open(encoding="utf-8", errors="replace") as lines:
        return any(TITLE.match(line.rstrip("\n")) for line in lines)


def _cut(name: str, lines: Iterable[str], *, by_title: bool) -> Iterator[Document]:
    """Documents of one file: articles, or paragraphs gathered to DOCUMENT_CHARACTERS."""
    gathered: list[str] = []
    title = f"{name} (start)"
    size = number = 0
    for line in lines:
        heading = TITLE.match(line.rstrip("\n")) if by_title else None
        full = not by_title and size >= DOCUMENT_CHARACTERS and not line.strip()
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
