"""A corpus of files that hold records: what JSONL and Parquet share. How a file's records are read is the format's."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path

from labeling.corpora import Problem, Problems
from labeling.corpora._local_files import LocalFiles
from labeling.corpora._problems import Misfit, Tally, readable
from labeling.identity import identify
from labeling.types import Document


class RecordFiles(ABC):
    """Reads all files, one after the other. `column` holds the text; `hint` says what a file must look like."""

    def __init__(self, files: LocalFiles, *, kind: str, column: str, hint: str) -> None:
        self.name = str(files.path)
        self._files, self._kind, self._column, self._hint = files, kind, column, hint
        self._tally = Tally()

    @cached_property
    def fingerprint(self) -> str:
        """From the names and contents of the files, as they lie there, and the column."""
        return identify(f"{self._kind} corpus", files=self._files.content_hash(), column=self._column)

    @property
    def problems(self) -> Mapping[Problem, Problems]:
        return self._tally.by_problem

    def documents(self) -> Iterator[Document]:
        """Every record with a text. Raise UsageError when a file holds none."""
        self._tally = Tally()
        for file in self._files.files:
            yield from readable(self._records(file), self._tally, file=str(file), hint=self._hint)

    @abstractmethod
    def _records(self, file: Path) -> Iterator[Document | Misfit]: ...
