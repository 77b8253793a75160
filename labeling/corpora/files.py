"""The corpus `files`: a text file, or a folder of .txt and .md files, as documents.

In a folder every file is a document. A single file is cut: at ` = Title = ` lines when it has them (the format of
wikitext), else at blank lines to documents of about 2,000 characters. Bytes that are not UTF-8 are replaced and counted.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import blake2b
from pathlib import Path

from labeling.errors import UsageError
from labeling.identity import text_id
from labeling.types import Document

SUFFIXES = (".txt", ".md")
DOCUMENT_CHARACTERS = 2_000
TITLE = re.compile(r"^ ?= ([^=\n]+) = ?$")
REPLACED = "\N{REPLACEMENT CHARACTER}"


@dataclass
class FilesCorpus:
    """Reads text files, one at a time and line by line."""

    path: Path
    files: tuple[Path, ...]
    replaced_characters: int = field(default=0, init=False)
    """Characters put in place of bytes that are not UTF-8, in the last or running pass over the documents."""

    @property
    def name(self) -> str:
        return str(self.path)

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the names and contents of the files."""
        digest = blake2b(digest_size=8)
        for file in self.files:
            digest.update(f"{self._place(file)}\0{file.stat().st_size}\0".encode("utf-8", "surrogatepass"))
            with file.open("rb") as stream:
                while block := stream.read(1 << 20):
                    digest.update(block)
        return digest.hexdigest()

    def documents(self) -> Iterator[Document]:
        self.replaced_characters = 0
        if self.path.is_dir():
            for file in self.files:
                yield from _document(self._place(file), "".join(self._lines(file)).strip())
        else:
            yield from _cut(self.path.name, self._lines(self.path), by_title=self._has_titles())

    def _has_titles(self) -> bool:
        with self.path.open(encoding="utf-8", errors="replace") as lines:
            return any(TITLE.match(line.rstrip("\n")) for line in lines)

    def _lines(self, file: Path) -> Iterator[str]:
        with file.open(encoding="utf-8-sig", errors="replace") as lines:
            for line in lines:
                self.replaced_characters += line.count(REPLACED)
                yield line

    def _place(self, file: Path) -> str:
        return file.relative_to(self.path).as_posix() if self.path.is_dir() else file.name


def create(*, path: str | None) -> FilesCorpus:
    """Make the corpus. Raise UsageError when the path is missing, is not text, or holds no text."""
    if path is None:
        raise UsageError(
            "The corpus 'files' needs a path. Set it to a text file, or to a folder of .txt and .md files."
        )
    place = Path(path).expanduser()
    if not place.exists():
        raise UsageError(
            f"The corpus path {path!r} does not exist. Set it to a text file or a folder of .txt and .md files."
        )
    files = tuple(_text_files(place)) if place.is_dir() else (place,)
    if not any(file.stat().st_size for file in files):
        seen = f"{len(files)} files, all empty" if files else "no .txt or .md file"
        raise UsageError(f"The corpus path {path!r} has no text: {seen}. Point it at a file or folder with text.")
    return FilesCorpus(place, files)


def _text_files(folder: Path) -> Iterator[Path]:
    for here, subfolders, names in os.walk(folder):
        subfolders.sort()
        yield from (Path(here, name) for name in sorted(names) if name.lower().endswith(SUFFIXES))


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
