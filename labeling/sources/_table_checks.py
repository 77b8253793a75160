"""What must be true of the rows of an activation table. Wrong rows are counted by kind, each with the first example.

Everything is looked through piece by piece; memory grows with the number of documents, not of rows. Nothing is written
before all of it is found right.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from labeling.activation_table import DOCUMENTS
from labeling.errors import FeatlasError
from labeling.identity import text_id
from labeling.sources._table_files import BLOCK_ROWS, ParquetRows
from labeling.types import IntArray

MOST_EXAMPLES = 6
DOCUMENTS_AT_ONCE = 4_096
LARGEST_FEATURE = 2**31 - 1
"""What 32 bits hold."""


@dataclass
class Complaints:
    """Rows that can't be right, by what is wrong with them."""

    file: Path
    counts: dict[str, int] = field(default_factory=dict)
    examples: dict[str, str] = field(default_factory=dict)

    def note(self, wrong: str, rows: pl.DataFrame, where: npt.NDArray[np.bool_]) -> None:
        """Count the rows where something is wrong."""
        if where.any():
            self.examples.setdefault(wrong, _described(rows, int(np.argmax(where))))
            self.counts[wrong] = self.counts.get(wrong, 0) + int(where.sum())

    def stop(self) -> None:
        """Raise FeatlasError when there was anything to complain of."""
        if not self.counts:
            return
        found = [f"{self.counts[wrong]:,} {wrong}, such as {self.examples[wrong]}" for wrong in self.counts]
        raise FeatlasError(
            f"{self.file} has rows that can't be right: {'; '.join(found[:MOST_EXAMPLES])}. Nothing was sampled from "
            "it. Mend the table, then run the same command again."
        )


@dataclass(frozen=True)
class KnownDocuments:
    """The documents of a table, in the order of the file: a document's place there is its number."""

    names: pl.Series
    """The table's own ids, as text."""
    hashes: pl.Series
    """Our ids: hashes of the texts."""
    n_characters: IntArray

    def __len__(self) -> int:
        return len(self.names)


@dataclass(frozen=True)
class Rows:
    """Some rows of tokens or activations, with the number of their document; -1 where there is none of that name."""

    frame: pl.DataFrame
    document: IntArray


def check_documents(rows: ParquetRows, file: Path) -> KnownDocuments:
    """Read all documents but their texts. Raise FeatlasError for missing and repeated ids."""
    complaints = Complaints(file)
    names, hashes, sizes = [pl.Series("document_id", [], dtype=pl.String)], [pl.Series("hash", [], dtype=pl.String)], []
    for frame in rows.blocks(DOCUMENTS_AT_ONCE):
        _note_missing(complaints, frame)
        text = frame["text"].fill_null("")
        names.append(frame["document_id"])
        hashes.append(pl.Series("hash", [text_id(one) for one in text], dtype=pl.String))
        sizes.append(text.str.len_chars().to_numpy())
    known = KnownDocuments(pl.concat(names), pl.concat(hashes), np.concatenate([np.zeros(0, np.int64), *sizes]))
    repeated = known.names.is_duplicated() & known.names.is_not_null()
    complaints.note("share their document_id with another row", known.names.to_frame(), repeated.to_numpy())
    complaints.stop()
    return known


def numbered(rows: ParquetRows, documents: KnownDocuments) -> Iterator[Rows]:
    """Rows piece by piece, with the numbers of their documents."""
    names = pl.Enum(documents.names)
    for frame in rows.blocks():
        number = frame["document_id"].cast(names, strict=False).to_physical().cast(pl.Int64).fill_null(-1)
        yield Rows(frame, number.to_numpy())


def note_unknown_documents(complaints: Complaints, rows: Rows) -> None:
    """Count rows without a value, and rows of documents that the table does not have."""
    _note_missing(complaints, rows.frame)
    unknown = (rows.document < 0) & rows.frame["document_id"].is_not_null().to_numpy()
    complaints.note(f"of a document_id that is not in {DOCUMENTS.name}.parquet", rows.frame, unknown)


def note_bad_tokens(complaints: Complaints, rows: Rows, documents: KnownDocuments) -> None:
    """Count tokens that lie outside their text."""
    note_unknown_documents(complaints, rows)
    start = rows.frame["start"].fill_null(0).to_numpy()
    known = rows.document >= 0
    size = np.where(known, documents.n_characters[rows.document] if len(documents) else 0, 0)
    wrong = "with a start that lies outside the text of the document (allowed: 0 to its number of characters)"
    complaints.note(wrong, rows.frame, known & ((start < 0) | (start > size)))


def check_token_order(
    tokens: ParquetRows, counts: IntArray, names: pl.Series, file: Path, *, rows: int = BLOCK_ROWS
) -> None:
    """Raise FeatlasError unless each document's tokens are numbered 0, 1, 2, ... and their starts never go back.

    `tokens` stand in the order of the documents; `counts` [documents] says how many each has; `rows` are looked at
    together.
    """
    complaints = Complaints(file)
    ends = np.cumsum(counts)
    for begin in range(0, len(tokens), rows):
        low = max(begin - 1, 0)  # with the row before, so that a step across the border is seen
        frame = tokens.read(low, min(begin + rows, len(tokens)))
        row = np.arange(low, low + len(frame))
        document = np.searchsorted(ends, row, side="right")
        expected = row - (ends - counts)[document]
        frame = frame.with_columns(names.gather(document).alias("document_id"))
        here = row >= begin
        position, start = frame["position"].to_numpy(), frame["start"].to_numpy()
        back = np.zeros(len(frame), dtype=np.bool_)
        back[1:] = (np.diff(start) < 0) & (np.diff(document) == 0)
        complaints.note("whose start lies before that of the token before", frame, back)
        wrong = "with a position that is missing, repeated or negative (a document's tokens are 0, 1, 2, ...)"
        complaints.note(wrong, frame, here & (position != expected))
    complaints.stop()


def note_bad_activations(
    complaints: Complaints, rows: Rows, n_tokens: IntArray, n_features: int | None, listed: IntArray | None
) -> None:
    """Count activations that are no numbers above 0, or of features or tokens that there are not.

    `listed` are the features of features.parquet, ascending; `n_features` is None where nothing says how many.
    """
    note_unknown_documents(complaints, rows)
    frame, known = rows.frame, rows.document >= 0
    position, feature = frame["position"].fill_null(0).to_numpy(), frame["feature"].fill_null(0).to_numpy()
    size = np.where(known, n_tokens[rows.document] if len(n_tokens) else 0, 0)
    complaints.note("with a negative position", frame, position < 0)
    complaints.note("with a position beyond the tokens of the document", frame, known & (position >= size))
    complaints.note("with a negative feature", frame, feature < 0)
    complaints.note(f"with a feature above {LARGEST_FEATURE:,}", frame, feature > LARGEST_FEATURE)
    if n_features is not None:
        wrong = f"of a feature that is not known (directions and names are of features 0 to {n_features - 1})"
        complaints.note(wrong, frame, feature >= n_features)
    if listed is not None:
        complaints.note("of a feature that is not in features.parquet", frame, ~np.isin(feature, listed))
    value = frame["activation"].fill_null(0).to_numpy()
    complaints.note("with an activation that is no finite number", frame, ~np.isfinite(value))
    complaints.note("with a negative activation", frame, np.isfinite(value) & (value < 0))


def check_repeated(activations: ParquetRows, counts: IntArray, names: pl.Series, n_features: int, file: Path) -> None:
    """Raise FeatlasError when a feature has two activations on one token. Rows stand in the order of the documents."""
    complaints = Complaints(file)
    ends = np.cumsum(counts)
    for first, end in pieces(counts):
        document = np.repeat(np.arange(first, end), counts[first:end])
        frame = activations.read(int(ends[first] - counts[first]), int(ends[end - 1]))
        position, feature = frame["position"].to_numpy(), frame["feature"].to_numpy()
        rank = np.cumsum(np.diff(document, prepend=first) > 0)  # small, so that the key does not overflow
        key = (rank * (int(position.max(initial=0)) + 1) + position) * n_features + feature
        order = np.argsort(key, kind="stable")
        again = np.zeros(len(key), dtype=np.bool_)
        again[order[1:]] = key[order[1:]] == key[order[:-1]]
        if again.any():
            frame = frame.with_columns(names.gather(document).alias("document_id"))
        complaints.note("that repeat a feature, document_id and position", frame, again)
    complaints.stop()


def pieces(counts: IntArray, rows: int = BLOCK_ROWS) -> Iterator[tuple[int, int]]:
    """Ranges of documents with at most so many rows together, or of one document with more."""
    ends = np.cumsum(counts)
    first = 0
    while first < len(counts):
        before = int(ends[first] - counts[first])
        end = max(int(np.searchsorted(ends, before + rows, side="right")), first + 1)
        yield first, end
        first = end


def _note_missing(complaints: Complaints, frame: pl.DataFrame) -> None:
    for column in frame:
        if column.null_count():
            complaints.note(f"without a value for {column.name}", frame, column.is_null().to_numpy())


def _described(frame: pl.DataFrame, row: int) -> str:
    values = frame.row(row, named=True)
    return "(" + ", ".join(f"{name} {_short(value)}" for name, value in sorted(values.items())) + ")"


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
