"""The source `table`: activations that were made elsewhere, read from an activation table; no model is run.

The table brings its documents and tokens itself. Its rows are read a few documents at a time, so memory does not depend
on how many there are. The form of the files is in `labeling/activation_table.py`; token ids are places in the sorted list
of the table's distinct tokens.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
import polars as pl
import torch
from safetensors.numpy import load_file

from labeling.activation_table import DIRECTIONS, FEATURES, TableCard, read_card
from labeling.errors import FeatlasError, UsageError
from labeling.identity import identify
from labeling.sources import EventBatch, FeatureSetInfo, NamedFeatureSet
from labeling.sources._table_prepare import Prepared, Say, directions_shape, prepare
from labeling.types import Document, FloatArray, IntArray, TokenizedDocument

BATCH_ROWS = 1 << 18
"""Activations read at once, about; one document's are never parted."""
TEXTS_AT_ONCE = 256


class TableSettings(NamedFeatureSet, Protocol):
    """What this source reads besides."""

    @property
    def path(self) -> str | None: ...


@dataclass(frozen=True)
class Table:
    """A table that was not looked through yet."""

    settings: TableSettings
    folder: Path
    card: TableCard

    def prepare(self, folder: Path, *, say: Say) -> TableSource:
        """Check every row, and sort the rows once where they are in another order than the documents.

        What is kept of it goes to `folder`; what is there already is used again. Raise FeatlasError that counts the
        rows that can't be right.
        """
        return TableSource(self, prepare(self.folder, folder, say))


class TableCorpus:
    """The documents of a table, named by the table's own ids."""

    def __init__(self, prepared: Prepared, name: str) -> None:
        self._prepared = prepared
        self.name = name
        self.fingerprint = prepared.facts.documents_hash

    def documents(self) -> Iterator[Document]:
        hashes, first = self._prepared.documents["document_id"], 0
        for frame in self._prepared.texts().blocks(TEXTS_AT_ONCE):
            rows = zip(hashes[first : first + len(frame)], frame["document_id"], frame["text"], strict=True)
            yield from (Document(document_id, name, text) for document_id, name, text in rows)
            first += len(frame)


class TableSource:
    """A FeatureSource over one activation table."""

    parallel = True

    def __init__(self, table: Table, prepared: Prepared, *, batch_rows: int = BATCH_ROWS) -> None:
        self._prepared, self._batch_rows = prepared, batch_rows
        self.feature_sets = (_info(table, prepared),)
        self.tokenizer_id = prepared.facts.tokens_hash
        partial = table.card.extent == "strongest"
        of = " (texts of the strongest activations only)" if partial else ""
        self.own_corpus = TableCorpus(prepared, f"{table.settings.path}{of}")
        self._tokens, self._activations = prepared.tokens(), prepared.activations()
        self._token_ids = {token: index for index, token in enumerate(prepared.vocabulary)}

    def tokenize(self, documents: Sequence[Document]) -> list[TokenizedDocument]:
        """Look up the tokens of the table's own documents. Raise FeatlasError for any other text."""
        numbers = self._numbers.of([document.document_id for document in documents])
        return [self._tokenized(document, int(n)) for document, n in zip(documents, numbers, strict=True)]

    def _tokenized(self, document: Document, number: int) -> TokenizedDocument:
        end = int(self._token_ends[number])
        begin = end - int(self._prepared.documents["n_tokens"][number])
        frame = self._tokens.read(begin, end)
        tokens, starts = tuple(frame["token"]), tuple(frame["start"])
        return TokenizedDocument(
            document=document,
            token_ids=tuple(self._token_ids[token] for token in tokens),
            tokens=tokens,
            starts=starts,
            ends=token_ends(document.text, starts),
        )

    def events(self, windows: pl.DataFrame, *, sequence: int) -> Iterator[EventBatch]:  # noqa: ARG002
        """Activations in the windows. `sequence` says what a model reads at once; here it means nothing."""
        numbers = self._numbers.of(windows["document_id"])
        starts, lengths, ids = (
            windows[name].to_numpy().astype(np.int64) for name in ("start", "n_tokens", "window_id")
        )
        for low, high in self._batches(numbers):
            rows = slice(low, high)
            feature, place, position, value = self._inside(numbers[rows], starts[rows], lengths[rows])
            yield EventBatch(
                feature_set=0,
                feature=torch.from_numpy(feature),
                window=torch.from_numpy(ids[rows][place]),
                position=torch.from_numpy(position),
                value=torch.from_numpy(value),
                n_tokens=int(lengths[rows].sum()),
            )

    def _batches(self, numbers: IntArray) -> Iterator[tuple[int, int]]:
        """Ranges of windows: whole documents whose rows, with all between them, are about `batch_rows` at most."""
        firsts = np.flatnonzero(np.diff(numbers, prepend=-1))
        counts = self._prepared.documents["n_activations"].to_numpy()
        low = 0
        for first in firsts[1:]:
            begin = self._activation_ends[numbers[low]] - counts[numbers[low]]
            last = int(numbers[first])
            if self._activation_ends[last] - begin > self._batch_rows or last < numbers[first - 1]:
                yield low, int(first)
                low = int(first)
        if len(numbers):
            yield low, len(numbers)

    def _inside(
        self, numbers: IntArray, starts: IntArray, lengths: IntArray
    ) -> tuple[IntArray, IntArray, IntArray, FloatArray]:
        """Feature, window (by place), position in the window and value of every activation in some windows."""
        first, last = int(numbers[0]), int(numbers[-1])
        counts = self._prepared.documents["n_activations"][first : last + 1].to_numpy()
        frame = self._activations.read(int(self._activation_ends[first] - counts[0]), int(self._activation_ends[last]))
        document, position = np.repeat(np.arange(first, last + 1), counts), frame["position"].to_numpy()
        place = np.searchsorted((numbers << 32) | starts, (document << 32) | position, side="right") - 1
        offset = position - starts[place]
        value = frame["activation"].to_numpy()
        kept = (place >= 0) & (numbers[place] == document) & (offset < lengths[place]) & (value > 0)
        return frame["feature"].to_numpy()[kept], place[kept], offset[kept], value[kept]

    def directions(self, feature_set: int) -> FloatArray | None:  # noqa: ARG002
        file = self._prepared.folder / DIRECTIONS
        return load_file(file)["directions"].astype(np.float32) if file.exists() else None

    def unembedding(self) -> None:
        """None: a table does not hold it."""

    def feature_names(self) -> pl.DataFrame:
        """Columns `feature`, `name`, of the features that features.parquet names."""
        names = self._prepared.names()
        return FEATURES.schema.to_frame() if names is None else names.drop_nulls()

    @cached_property
    def _numbers(self) -> _Numbers:
        return _Numbers(self._prepared.documents["document_id"])

    @cached_property
    def _token_ends(self) -> IntArray:
        return self._prepared.documents["n_tokens"].to_numpy().cumsum()

    @cached_property
    def _activation_ends(self) -> IntArray:
        return self._prepared.documents["n_activations"].to_numpy().cumsum()


class _Numbers:
    """From the hash of a text to the first document of the table that has it: later ones are dropped as duplicates."""

    def __init__(self, hashes: pl.Series) -> None:
        self._hashes, self._first = np.unique(_as_numbers(hashes), return_index=True)

    def of(self, hashes: Sequence[str] | pl.Series) -> IntArray:
        wanted = _as_numbers(hashes)
        place = np.minimum(np.searchsorted(self._hashes, wanted), max(len(self._hashes) - 1, 0))
        if len(wanted) and (not len(self._hashes) or (self._hashes[place] != wanted).any()):
            raise FeatlasError(
                "A text is not in the activation table, so its tokens are not known. A table can't be read over another corpus."
            )
        return self._first[place]


def create(*, feature_sets: Sequence[TableSettings], threads: int | None = None) -> Table:  # noqa: ARG001
    """Name the table of a feature set. Raise UsageError when there is not one table for one feature set."""
    if len(feature_sets) != 1:
        seen = ", ".join(settings.name for settings in feature_sets)
        raise UsageError(
            f"The feature sets {seen} name the same activation table. A table holds one feature set: write one table for each."
        )
    settings = feature_sets[0]
    if settings.path is None:
        raise UsageError(f"The feature set {settings.name!r} does not say its path. Set it to the folder of a table.")
    folder = Path(settings.path).expanduser().resolve()
    return Table(settings, folder, read_card(folder))


def token_ends(text: str, starts: Sequence[int]) -> tuple[int, ...]:
    """Where each token ends: before the next one that starts later, white space after it left out.

    Tokens that start together, as the bytes of one character do, end together. A token of white space alone keeps it.
    """
    ends: list[int] = []
    limit = len(text)
    for i in range(len(starts) - 1, -1, -1):
        if i + 1 < len(starts) and starts[i + 1] > starts[i]:
            limit = starts[i + 1]
        piece = text[starts[i] : limit]
        ends.append(starts[i] + (len(piece.rstrip()) or len(piece)))
    return tuple(reversed(ends))


def _info(table: Table, prepared: Prepared) -> FeatureSetInfo:
    settings, card, facts = table.settings, table.card, prepared.facts
    shape = directions_shape(table.folder)
    return FeatureSetInfo(
        name=settings.name,
        model=settings.model or card.model or "not known",
        hook=settings.hook or card.hook or "not known",
        dictionary=settings.dictionary or card.dictionary or str(settings.path),
        architecture="table",
        n_features=facts.n_features,
        d_model=None if shape is None else shape[1],
        fingerprint=identify("activation table", activations=facts.activations_hash, extent=card.extent),
        control_for=settings.control_for,
        extent=card.extent,
    )


def _as_numbers(hashes: Sequence[str] | pl.Series) -> npt.NDArray[np.uint64]:
    return np.fromiter((int(one, 16) for one in hashes), dtype=np.uint64, count=len(hashes))
