"""Corpora: where text comes from. One file each; the file name is the name users write in `[corpus] source`.

A file defines `create(*, path) -> Corpus`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from labeling.types import Document


class Corpus(Protocol):
    @property
    def name(self) -> str:
        """For people: `embedded`, or the path."""

    def documents(self) -> Iterator[Document]:
        """Every document once, in a stable order. Exact duplicates are allowed: the caller drops and counts them."""

    @property
    def fingerprint(self) -> str:
        """Changes whenever a document could: hash of the files' contents, or of names and sizes where that is enough."""
