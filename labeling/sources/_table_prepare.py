"""Looks through an activation table once and says where its rows stand: what is kept of it in the workspace.

Files that stand in the order of their documents are read where they are; others are sorted once into the folder. The
folder is made under another name and renamed when it is complete; it is made anew when the table's files change.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import polars as pl
from safetensors import SafetensorError, safe_open

from labeling.activation_table import ACTIVATIONS, DIRECTIONS, DOCUMENTS, FEATURES, TOKENS, FileForm
from labeling.errors import FeatlasError, UsageError
from labeling.identity import identify
from labeling.sources._table_checks import (
    Complaints,
    KnownDocuments,
    Rows,
    check_documents,
    check_repeated,
    check_token_order,
    note_bad_activations,
    note_bad_tokens,
    numbered,
)
from labeling.sources._table_files import ParquetRows, find_files, hash_files, open_rows
from labeling.sources._table_sort import Piece, sort_rows
from labeling.types import IntArray

Say = Callable[[str], None]
FORMAT = 1
"""Raise it when what is kept changes: what an earlier version kept is then made anew."""


@dataclass(frozen=True)
class Facts:
    """What looking through a table gave, as JSON can hold it."""

    signature: str
    """Names, sizes and times of the files: when it differs, they have to be looked through again."""
    documents_hash: str
    tokens_hash: str
    activations_hash: str
    """Of activations, names and directions together."""
    n_features: int
    n_documents: int
    n_tokens: int
    n_activations: int
    """Rows, those of value 0 included."""
    n_zeros: int
    """Rows of value 0; they are passed over."""
    sorted_tokens: bool
    """Whether a sorted copy stands in for the table's own file."""
    sorted_activations: bool


@dataclass(frozen=True)
class Prepared:
    """A table that was looked through. `folder` is the table, `kept` what is known of it in the workspace."""

    folder: Path
    kept: Path
    facts: Facts

    @cached_property
    def documents(self) -> pl.DataFrame:
        """One row a document: `name`, `document_id` (hash of the text), `n_tokens`, `n_activations`."""
        return pl.read_parquet(self.kept / "documents.parquet")

    @cached_property
    def vocabulary(self) -> list[str]:
        """All distinct tokens, sorted."""
        return pl.read_parquet(self.kept / "vocabulary.parquet")["token"].to_list()

    def texts(self) -> ParquetRows:
        return open_rows(self.folder, DOCUMENTS)

    def tokens(self) -> ParquetRows:
        """Columns `position`, `token`, `start`, in the order of the documents."""
        return _ordered(self.folder, self.kept, TOKENS, self.facts.sorted_tokens)

    def activations(self) -> ParquetRows:
        """Columns `feature`, `position`, `activation`, in the order of the documents."""
        return _ordered(self.folder, self.kept, ACTIVATIONS, self.facts.sorted_activations)

    def names(self) -> pl.DataFrame | None:
        """Columns `feature`, `name`; None without features.parquet."""
        if not find_files(self.folder, FEATURES):
            return None
        return pl.concat(list(open_rows(self.folder, FEATURES).blocks()))


def prepare(folder: Path, place: Path, say: Say) -> Prepared:
    """Look through a table, unless that is done already. `place` holds what is kept of all tables of a workspace.

    Raise UsageError when there is no such folder, and FeatlasError that counts the rows that can't be right, with an
    example of each kind; nothing is kept then.
    """
    if not folder.is_dir():
        raise UsageError(f"There is no activation table at {folder}. Set `path` to a folder with documents.parquet.")
    kept = place / identify("table", folder=str(folder))
    signature = _signature(folder)
    known = _read_facts(kept)
    if known is None or known.signature != signature:
        known = _look_through(folder, kept, signature, say)
    return Prepared(folder, kept, known)


def _look_through(folder: Path, kept: Path, signature: str, say: Say) -> Facts:
    partial = kept.with_name(f"{kept.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        facts = _check_and_sort(folder, partial, signature, say)
        (partial / "facts.json").write_text(json.dumps({"format": FORMAT, **asdict(facts)}), encoding="utf-8")
        shutil.rmtree(kept, ignore_errors=True)
        partial.rename(kept)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    return facts


def _check_and_sort(folder: Path, partial: Path, signature: str, say: Say) -> Facts:
    texts, tokens, activations = (open_rows(folder, form) for form in (DOCUMENTS, TOKENS, ACTIVATIONS))
    listed, n_features = _known_features(folder)
    say(f"table {folder}: looking through {len(tokens):,} tokens and {len(activations):,} activations")
    documents = check_documents(texts, folder / "documents.parquet")
    n_tokens, vocabulary, in_order = _scan_tokens(folder, tokens, documents)
    counted = _scan_activations(folder, activations, documents, n_tokens, n_features, listed)
    n_features = n_features or counted.largest_feature + 1
    if not in_order:
        _say_sorting(say, folder, TOKENS, len(tokens))
        _sort_tokens(tokens, documents, n_tokens, vocabulary, partial / TOKENS.name)
    ordered = _ordered(folder, partial, TOKENS, not in_order)
    check_token_order(ordered, n_tokens, documents.names, folder / "tokens.parquet")
    if not counted.in_order:
        _say_sorting(say, folder, ACTIVATIONS, len(activations))
        _sort_activations(activations, documents, counted.by_document, partial / ACTIVATIONS.name)
    ordered = _ordered(folder, partial, ACTIVATIONS, not counted.in_order)
    check_repeated(ordered, counted.by_document, documents.names, n_features, folder / "activations.parquet")
    _keep_documents(documents, n_tokens, counted.by_document, partial)
    pl.DataFrame({"token": vocabulary}, schema={"token": pl.String}).write_parquet(partial / "vocabulary.parquet")
    return Facts(
        signature=signature,
        documents_hash=hash_files(folder, find_files(folder, DOCUMENTS)),
        tokens_hash=hash_files(folder, find_files(folder, TOKENS)),
        activations_hash=hash_files(folder, _others(folder)),
        n_features=n_features,
        n_documents=len(documents),
        n_tokens=int(n_tokens.sum()),
        n_activations=int(counted.by_document.sum()),
        n_zeros=counted.zeros,
        sorted_tokens=not in_order,
        sorted_activations=not counted.in_order,
    )


@dataclass(frozen=True)
class _Counted:
    by_document: IntArray
    zeros: int
    largest_feature: int
    in_order: bool


def _scan_tokens(folder: Path, tokens: ParquetRows, documents: KnownDocuments) -> tuple[IntArray, list[str], bool]:
    """Tokens of each document, the distinct ones sorted, and whether the file stands in the order of the documents."""
    complaints = Complaints(folder / "tokens.parquet")
    counts = np.zeros(len(documents), dtype=np.int64)
    distinct: set[str] = set()
    order = _Order()
    for rows in numbered(tokens, documents):
        note_bad_tokens(complaints, rows, documents)
        counts += np.bincount(rows.document[rows.document >= 0], minlength=len(documents))
        distinct.update(rows.frame["token"].drop_nulls().unique())
        order.follow(rows.document, rows.frame["position"].fill_null(0).to_numpy())
    complaints.stop()
    return counts, sorted(distinct), order.holds and tokens.is_read_at_random


def _scan_activations(
    folder: Path,
    activations: ParquetRows,
    documents: KnownDocuments,
    n_tokens: IntArray,
    n_features: int | None,
    listed: IntArray | None,
) -> _Counted:
    complaints = Complaints(folder / "activations.parquet")
    counts, zeros, largest, order = np.zeros(len(documents), dtype=np.int64), 0, -1, _Order()
    for rows in numbered(activations, documents):
        note_bad_activations(complaints, rows, n_tokens, n_features, listed)
        counts += np.bincount(rows.document[rows.document >= 0], minlength=len(documents))
        zeros += int((rows.frame["activation"] == 0).sum())
        largest = max(largest, int(rows.frame["feature"].fill_null(-1).to_numpy().max(initial=-1)))
        order.follow(rows.document)
    complaints.stop()
    if largest < 0:
        raise FeatlasError(
            f"{folder / 'activations.parquet'} has no rows, so no feature is ever active. Write the non-zero "
            "activations into it: feature, document_id, position, activation."
        )
    return _Counted(counts, zeros, largest, order.holds and activations.is_read_at_random)


class _Order:
    """Whether rows seen one piece after the other stand in order: by document and, where given, by position."""

    def __init__(self) -> None:
        self.holds = True
        self._last = np.array([-1, -1])

    def follow(self, document: IntArray, position: IntArray | None = None) -> None:
        if not self.holds or not len(document):
            return
        documents = np.append(self._last[0], document)
        step = np.diff(documents)
        self.holds = bool((step >= 0).all())
        if position is not None:
            positions = np.append(self._last[1], position)
            self.holds &= bool((np.diff(positions)[step == 0] > 0).all())
        self._last = np.array([document[-1], -1 if position is None else position[-1]])


def _sort_tokens(
    tokens: ParquetRows, documents: KnownDocuments, counts: IntArray, vocabulary: list[str], folder: Path
) -> None:
    known = pl.Enum(vocabulary)

    def piece(rows: Rows) -> Piece:
        token = rows.frame["token"].cast(known).to_physical().cast(pl.Int32).to_numpy()
        start = rows.frame["start"].cast(pl.Int32).to_numpy()
        return Piece(rows.document, rows.frame["position"].to_numpy(), token, start)

    def frame(piece: Piece) -> pl.DataFrame:
        token = pl.Series(vocabulary, dtype=pl.String).gather(piece.first)
        return pl.DataFrame({"position": piece.position, "token": token, "start": piece.second})

    sort_rows((piece(rows) for rows in numbered(tokens, documents)), counts, folder, as_frame=frame)


def _sort_activations(activations: ParquetRows, documents: KnownDocuments, counts: IntArray, folder: Path) -> None:
    def pieces() -> Iterator[Piece]:
        for rows in numbered(activations, documents):
            feature = rows.frame["feature"].cast(pl.Int32).to_numpy()
            bits = rows.frame["activation"].to_numpy().view(np.int32)
            yield Piece(rows.document, rows.frame["position"].to_numpy(), feature, bits)

    def frame(piece: Piece) -> pl.DataFrame:
        value = piece.second.view(np.float32)
        return pl.DataFrame({"feature": piece.first, "position": piece.position, "activation": value})

    sort_rows(pieces(), counts, folder, as_frame=frame)


def _ordered(folder: Path, kept: Path, form: FileForm, is_sorted: bool) -> ParquetRows:
    columns = {name: kind for name, kind in form.columns.items() if kind != "id"}
    if is_sorted:
        return ParquetRows(sorted((kept / form.name).glob("part-*.parquet")), columns)
    return ParquetRows(find_files(folder, form), columns)


def _known_features(folder: Path) -> tuple[IntArray | None, int | None]:
    """Features listed in features.parquet, ascending, and how many features there are; None where nothing says so."""
    listed: IntArray | None = None
    if find_files(folder, FEATURES):
        frame = pl.concat(list(open_rows(folder, FEATURES).blocks()))
        complaints = Complaints(folder / "features.parquet")
        feature = frame["feature"].fill_null(-1)
        complaints.note("with a negative feature, or none", frame, (feature < 0).to_numpy())
        complaints.note("of a feature that stands there twice", frame, feature.is_duplicated().to_numpy())
        complaints.stop()
        listed = np.sort(feature.to_numpy())
    shape = directions_shape(folder)
    if shape is None:
        return listed, None if listed is None or not len(listed) else int(listed[-1]) + 1
    if listed is not None and len(listed) and int(listed[-1]) >= shape[0]:
        raise FeatlasError(
            f"{folder / 'features.parquet'} has the feature {int(listed[-1])}, but {DIRECTIONS} has directions of features "
            f"0 to {shape[0] - 1} only. They do not belong together: write both for the same features."
        )
    return listed, shape[0]


def directions_shape(folder: Path) -> tuple[int, int] | None:
    """Shape [n_features, d_model] of the decoder directions, or None when there are none."""
    file = folder / DIRECTIONS
    if not file.exists():
        return None
    try:
        with safe_open(file, framework="np") as tensors:
            names = list(tensors.keys())
            shape = tuple(tensors.get_slice("directions").get_shape()) if "directions" in names else ()
    except (SafetensorError, OSError) as error:
        raise FeatlasError(f"{file} can't be read as safetensors: {error}. Write it again.") from error
    if len(shape) != 2:
        raise FeatlasError(
            f"{file} has the tensors {', '.join(names) or 'none'}, and `directions` of shape {shape}. Expected: one tensor "
            "`directions` [n_features, d_model], a row a feature."
        )
    return int(shape[0]), int(shape[1])


def _keep_documents(documents: KnownDocuments, n_tokens: IntArray, n_activations: IntArray, partial: Path) -> None:
    frame = pl.DataFrame(
        {
            "name": documents.names,
            "document_id": documents.hashes,
            "n_tokens": n_tokens,
            "n_activations": n_activations,
        }
    )
    frame.write_parquet(partial / "documents.parquet")


def _others(folder: Path) -> list[Path]:
    directions = folder / DIRECTIONS
    files = [*find_files(folder, ACTIVATIONS), *find_files(folder, FEATURES)]
    return [*files, directions] if directions.exists() else files


def _signature(folder: Path) -> str:
    files = [file for form in (DOCUMENTS, TOKENS) for file in find_files(folder, form)] + _others(folder)
    facts = [(file.relative_to(folder).as_posix(), file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    return identify("table files", format=FORMAT, files=facts)


def _read_facts(kept: Path) -> Facts | None:
    try:
        said = json.loads((kept / "facts.json").read_text(encoding="utf-8"))
        return Facts(**said) if said.pop("format") == FORMAT else None
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _say_sorting(say: Say, folder: Path, form: FileForm, rows: int) -> None:
    say(
        f"table {folder}: {form.name}.parquet is not in the order of documents.parquet; sorting {rows:,} rows once, on "
        "disk, in the workspace"
    )
