"""The corpus `huggingface`: a data set of the Hugging Face hub, or a folder in one of its forms, streamed in its order.

Needs the package `datasets`, which no other corpus does, so it is imported here alone. A data set of the hub is read at
one revision: that of the path (`owner/data@revision`), or the newest, looked up once a process. A folder is one that
`save_to_disk` wrote, or a repository with data files.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from labeling.corpora import Problem, Problems
from labeling.corpora._local_files import LocalFiles, find_files
from labeling.corpora._problems import Misfit, Tally, excerpt, readable
from labeling.corpora._records import DEFAULT_COLUMN, NAME_COLUMNS, read_record
from labeling.errors import FeatlasError, UsageError
from labeling.identity import identify
from labeling.types import Document

HUB_ID = re.compile(r"(?:hf://)?(?:datasets/)?([\w.-]+(?:/[\w.-]+)?)(?:@([\w./-]+))?")
COMMIT = re.compile(r"[0-9a-f]{40}")
SAVED = ("state.json", "dataset_dict.json")
"""Files that tell a folder written by `save_to_disk`."""


@dataclass(frozen=True)
class Wanted:
    """Which part of which data set."""

    path: str
    subset: str | None
    split: str
    column: str


class HuggingFaceCorpus:
    """Reads one split of one data set."""

    def __init__(self, wanted: Wanted) -> None:
        self.name = f"{wanted.path} ({', '.join(filter(None, [wanted.subset, wanted.split]))})"
        self._wanted = wanted
        self._folder = _folder(wanted.path)
        self._tally = Tally()

    @cached_property
    def fingerprint(self) -> str:
        """From the data set's name and revision, or the contents of the folder, and the subset, split and column."""
        wanted = self._wanted
        parts = {"subset": wanted.subset, "split": wanted.split, "column": wanted.column}
        if self._folder is not None:
            return identify("huggingface folder", files=self._folder.content_hash(), **parts)
        name, revision = _hub_id(wanted.path)
        return identify("huggingface data set", name=name, revision=resolve(name, revision), **parts)

    @property
    def problems(self) -> Mapping[Problem, Problems]:
        return self._tally.by_problem

    def documents(self) -> Iterator[Document]:
        """Every row with a text. Raise UsageError for a subset, split or column that the data set does not have."""
        self._tally = Tally()
        hint = f"Each row must have a text in the column {self._wanted.column!r}, or set [corpus] column to another."
        yield from readable(self._records(), self._tally, file=self.name, hint=hint)

    def _records(self) -> Iterator[Document | Misfit]:
        column, row = self._wanted.column, 0
        try:
            for record in _needed(self._open(), column, self.name):
                row += 1
                yield read_record(record, column=column, place=f"row {row}", tally=self._tally)
        except FeatlasError:
            raise
        except Exception as error:  # whatever the data set's own format, server or connection raises
            raise FeatlasError(
                f"The data set {self.name} can't be read past row {row:,}: {_first_line(error)}. Run again when the hub can "
                "be reached; if its files are damaged, download them and read them with the corpus 'jsonl' or 'parquet', "
                "which pass over damaged places."
            ) from error

    def _open(self) -> Any:
        datasets, wanted = _datasets(), self._wanted
        try:
            if self._folder is not None and any((self._folder.path / name).is_file() for name in SAVED):
                return _split_of(datasets.load_from_disk(str(self._folder.path)), wanted)
            place: dict[str, Any] = {"path": str(self._folder.path)} if self._folder else _at_revision(wanted.path)
            return datasets.load_dataset(**place, name=wanted.subset, split=wanted.split, streaming=True)
        except FeatlasError:
            raise
        except Exception as error:  # the library names what is missing, in exceptions of many kinds
            kind = FeatlasError if isinstance(error, ConnectionError) else UsageError
            raise kind(
                f"The data set {self.name} can't be opened: {_first_line(error)}. Check [corpus] path, subset "
                f"({wanted.subset or 'none given'}) and split ({wanted.split})."
            ) from error


def create(
    *, path: str | None, subset: str | None = None, split: str | None = None, column: str | None = None
) -> HuggingFaceCorpus:
    """Make the corpus. The split is `train` and the column `text` when left out.

    Raise UsageError when the path is no data set's name or folder, FeatlasError when `datasets` is not installed.
    """
    if path is None:
        raise UsageError(
            "The corpus 'huggingface' needs a path. Set it to owner/data, owner/data@revision, or a folder."
        )
    corpus = HuggingFaceCorpus(Wanted(path, subset, split or "train", column or DEFAULT_COLUMN))
    _datasets()
    return corpus


@lru_cache(maxsize=8)
def resolve(name: str, revision: str | None) -> str:
    """The commit of a data set of the hub. Once a process, so that all stages of a run read the same one.

    Raise FeatlasError when the hub does not know it or can't be reached.
    """
    if revision and COMMIT.fullmatch(revision):
        return revision
    from huggingface_hub import HfApi

    try:
        commit = HfApi().dataset_info(name, revision=revision).sha
    except Exception as error:  # the hub's own errors, and those of whichever HTTP library it uses
        raise FeatlasError(
            f"The revision of the data set {name}{f'@{revision}' if revision else ''} can't be looked up: {_first_line(error)}. "
            "Check its name, and HF_TOKEN if it is private. Without a connection, give the commit: owner/data@40-digit-commit."
        ) from error
    return str(commit)


def _datasets() -> Any:
    try:
        import datasets
    except ImportError:
        raise FeatlasError(
            "The corpus 'huggingface' needs the package datasets, which is not installed. Install it with "
            "pip install 'datasets>=4', or download the files and read them with the corpus 'jsonl' or 'parquet'."
        ) from None
    return datasets


def _folder(path: str) -> LocalFiles | None:
    """The files of a data set on this machine; None for a name of the hub."""
    place = Path(path).expanduser()
    if place.is_file():
        raise UsageError(
            f"The corpus path {path!r} is a file, and the corpus 'huggingface' reads data sets of the hub or folders. Set "
            "[corpus] source to 'jsonl', 'parquet' or 'files'."
        )
    if place.is_dir():
        return find_files(path, source="huggingface", endings=("",), wanted="a folder with a data set")
    if not HUB_ID.fullmatch(path):
        raise UsageError(
            f"The corpus path {path!r} is neither a folder nor the name of a data set. Allowed: owner/data, "
            "owner/data@revision, or a folder."
        )
    return None


def _hub_id(path: str) -> tuple[str, str | None]:
    found = HUB_ID.fullmatch(path)
    assert found is not None, "checked when the corpus was made"
    return found[1], found[2]


def _at_revision(path: str) -> dict[str, Any]:
    name, revision = _hub_id(path)
    return {"path": name, "revision": resolve(name, revision)}


def _split_of(saved: Any, wanted: Wanted) -> Any:
    """The split of a folder written by `save_to_disk`; one that holds a single split has no names for it."""
    if wanted.subset is not None:
        raise UsageError(f"{wanted.path} was written by save_to_disk and has no subsets. Remove [corpus] subset.")
    if not isinstance(saved, dict):
        return saved.to_iterable_dataset()
    if wanted.split not in saved:
        raise UsageError(f"{wanted.path} has no split {wanted.split!r}. Known: {', '.join(saved)}.")
    return saved[wanted.split].to_iterable_dataset()


def _needed(dataset: Any, column: str, name: str) -> Any:
    """The data set with the columns that are needed, so that no picture or sound is fetched or decoded."""
    known: list[str] | None = dataset.column_names
    if not known:  # some formats tell only while they are read
        return dataset
    head = column if column in known else column.split(".")[0]
    if head not in known:
        near = get_close_matches(column, known, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise UsageError(f"The data set {name} has no column {column!r}.{hint} Known: {', '.join(known)}.")
    others = {one.split(".")[0] for one in NAME_COLUMNS} - {head}
    return dataset.select_columns([head, *sorted(others & set(known))])


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return excerpt(lines[0]).rstrip(".") if lines else type(error).__name__
