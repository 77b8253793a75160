"""Puts the rows of an activation table into the order of its documents, once, on disk: an external bucket sort.

Every row becomes 16 bytes: document, position, and two columns of 4 bytes. Rows are first thrown into files of
neighboring documents, then each file is sorted in memory. Memory is that of one bucket, whatever the number of rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from labeling.evidence import disk_error
from labeling.types import IntArray

BUCKET_ROWS = 1 << 20
MOST_BUCKETS = 1024
RECORD = np.dtype([("document", "<i4"), ("position", "<i4"), ("first", "<i4"), ("second", "<i4")])


@dataclass(frozen=True)
class Piece:
    """Rows in any order; four arrays with one entry a row. The last two are kept bit by bit."""

    document: IntArray
    position: IntArray
    first: npt.NDArray[np.int32]
    second: npt.NDArray[np.int32]


def sort_rows(
    pieces: Iterable[Piece],
    counts: IntArray,
    folder: Path,
    *,
    as_frame: Callable[[Piece], pl.DataFrame],
    bucket_rows: int = BUCKET_ROWS,
) -> None:
    """Write all rows as `part-*.parquet` into `folder`, by document, then position, then the third column.

    `counts` [documents] says how many rows each has; `as_frame` makes the columns to be written. Raise FeatlasError
    when the disk does not take a file.
    """
    bucket_of = bucket_numbers(counts, rows=bucket_rows)
    try:
        folder.mkdir(parents=True)
        for piece in pieces:
            _throw(piece, bucket_of, folder)
        for file in sorted(folder.glob("bucket-*.bin")):
            records = np.fromfile(file, dtype=RECORD)
            order = np.lexsort((records["first"], records["position"], records["document"]))
            part = folder / f"part-{file.stem.removeprefix('bucket-')}.parquet"
            as_frame(_piece(records[order])).write_parquet(part, compression="zstd", row_group_size=1 << 18)
            file.unlink()
    except OSError as error:
        raise disk_error(folder, error) from error


def bucket_numbers(counts: IntArray, *, rows: int) -> IntArray:
    """The bucket of each document: neighbors together, about `rows` rows in each, or more where there are very many."""
    size = max(rows, -(-int(counts.sum()) // MOST_BUCKETS))
    return (np.cumsum(counts) - counts) // size


def _throw(piece: Piece, bucket_of: IntArray, folder: Path) -> None:
    records = np.empty(len(piece.document), dtype=RECORD)
    for name in RECORD.names or ():
        records[name] = getattr(piece, name)
    bucket = bucket_of[piece.document]
    order = np.argsort(bucket, kind="stable")
    records, bucket = records[order], bucket[order]
    starts = np.flatnonzero(np.diff(bucket, prepend=-1))
    for start, end in zip(starts, np.append(starts[1:], len(bucket)), strict=True):
        with (folder / f"bucket-{int(bucket[start]):05d}.bin").open("ab") as file:
            file.write(records[start:end].tobytes())


def _piece(records: npt.NDArray[np.void]) -> Piece:
    document, position = (records[name].astype(np.int64) for name in ("document", "position"))
    return Piece(document, position, records["first"].copy(), records["second"].copy())
