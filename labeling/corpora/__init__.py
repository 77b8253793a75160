"""Corpora: where text comes from. One file each; the file name is the name users write in `[corpus] source`.

A file defines `create(*, path, ...) -> Corpus`. Its other parameters are the keys of `[corpus]` that apply to it: a key
that it does not take is refused. A corpus that can meet unreadable text also has `problems`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

from labeling.types import Document

Problem = Literal[
    "damaged",
    "too long",
    "not JSON",
    "not an object",
    "no text",
    "not text",
    "empty",
    "characters replaced",
]
"""What can be wrong with a part of a corpus, in fixed words. All but the last cost the document.

`damaged`: bytes that can't be decompressed or read; `too long`: a line above the limit; `no text`: the column is missing
or null; `not text`: it holds a number, a list, ...; `characters replaced`: bytes that were not UTF-8, or half surrogates.
"""


@dataclass(frozen=True)
class Problems:
    """How often one thing was wrong."""

    count: int
    example: str
    """Where it was seen first, and what was there."""


class Corpus(Protocol):
    @property
    def name(self) -> str:
        """For people: `embedded`, or the path."""

    def documents(self) -> Iterator[Document]:
        """Every document once, in a stable order. Exact duplicates are allowed: the caller drops and counts them."""

    @property
    def fingerprint(self) -> str:
        """Changes whenever a document could: hash of the files' contents, or of names and sizes where that is enough."""


@runtime_checkable
class ReportsProblems(Protocol):
    """A corpus that says what it could not read as it stands."""

    @property
    def problems(self) -> Mapping[Problem, Problems]:
        """What was wrong in the last or running pass over the documents."""
