"""From tokenized documents to windows, and from a windows table back to arrays.

Splits are decided here, by document: whatever is drawn later, no document can serve two splits. Knows no features.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import blake2b
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from labeling.evidence import WINDOWS
from labeling.types import SPLITS, IntArray, Split, TokenizedDocument, Windows

Offsets = Sequence[int] | npt.NDArray[np.int32]
"""Character offset of each token of a window."""
SPLIT_SHARES: dict[Split, float] = {"explain": 0.4, "select": 0.2, "score": 0.4}


def split_of(document_id: str, seed: int) -> Split:
    """The split a document belongs to, by hash: it does not depend on which other documents there are."""
    digest = blake2b(f"{seed}:{document_id}".encode(), digest_size=8).digest()
    share = int.from_bytes(digest, "big") / 2**64
    for split in SPLITS:
        share -= SPLIT_SHARES[split]
        if share < 0:
            return split
    return SPLITS[-1]


def cut_windows(
    documents: Iterable[TokenizedDocument], *, corpus_id: str, width: int, seed: int, first_window: int = 0
) -> pl.DataFrame:
    """Non-overlapping windows of `width` tokens, numbered from `first_window`, in the order of the documents.

    A document's last window may be shorter; below half of `width` it is left out, because a short window fires less
    and would tell a judge so. Columns of the `windows` table.
    """
    cut = [(document, *_cuts(len(document.token_ids), width)) for document in documents]
    offsets = np.concatenate([[0], np.cumsum([n for _, _, sizes in cut for n in sizes])]).astype(np.int64)
    starts, ends = (_joined(cut, name, np.int32) for name in ("starts", "ends"))
    begins, finishes = starts[offsets[:-1]], ends[offsets[1:] - 1]
    texts = chain.from_iterable([document.document.text] * len(sizes) for document, _, sizes in cut)
    sizes = np.diff(offsets)
    before = np.repeat(begins, sizes)
    tokens = pa.array(list(chain.from_iterable(d.tokens[:kept] for d, kept, _ in cut)), pa.large_string())
    columns = {
        "corpus_id": pl.repeat(corpus_id, len(sizes), eager=True, dtype=pl.String),
        "window_id": first_window + np.arange(len(sizes)),
        "document_id": [d.document.document_id for d, _, sizes in cut for _ in sizes],
        "split": [split for d, _, sizes in cut for split in [split_of(d.document.document_id, seed)] * len(sizes)],
        "start": [start for _, _, sizes in cut for start in range(0, len(sizes) * width, width)],
        "char_start": begins,
        "n_tokens": sizes,
        "text": [text[begin:end] for text, begin, end in zip(texts, begins.tolist(), finishes.tolist(), strict=True)],
        "token_ids": _as_lists(pa.array(_joined(cut, "token_ids", np.int32)), offsets),
        "tokens": _as_lists(tokens, offsets),
        "token_starts": _as_lists(pa.array(starts - before), offsets),
        "token_ends": _as_lists(pa.array(ends - before), offsets),
    }
    return pl.DataFrame(columns).cast(WINDOWS.schema)


Cut = tuple[TokenizedDocument, int, list[int]]
"""A document, how many of its tokens stand in windows, and the sizes of these windows."""


def _cuts(n_tokens: int, width: int) -> tuple[int, list[int]]:
    whole, rest = divmod(n_tokens, width)
    sizes = [width] * whole + ([rest] if rest * 2 >= width and rest else [])
    return sum(sizes), sizes


def _joined(cut: Sequence[Cut], name: str, dtype: type[np.generic]) -> npt.NDArray[Any]:
    """One number a token of all windows, in order."""
    return np.fromiter(chain.from_iterable(getattr(d, name)[:kept] for d, kept, _ in cut), dtype)


def _as_lists(values: pa.Array, offsets: IntArray) -> pl.Series:
    """One list a window."""
    return pl.Series(pa.LargeListArray.from_arrays(pa.array(offsets), values))


def token_of_character(starts: Offsets, ends: Offsets, position: int) -> int:
    """The token that holds the character which the one at `position` is a part of: itself, unless it stands on no text.

    `starts` and `ends` are offsets of a window's tokens. Of tokens that share a character, the first one holds it.
    """
    holder = position
    while holder > 0 and ends[holder] <= starts[holder]:
        holder -= 1
    return holder if ends[holder] == starts[position] else position


def count_tokens(windows: pl.DataFrame) -> pl.DataFrame:
    """Occurrences of each token in each split: columns corpus_id, split, token, occurrences."""
    return (
        windows.select("corpus_id", "split", pl.col("tokens").alias("token"))
        .explode("token")
        .group_by("corpus_id", "split", "token")
        .agg(pl.len().cast(pl.Int64).alias("occurrences"))
        .sort("split", "token")
    )


def load_windows(frame: pl.DataFrame, *, vocabulary: Sequence[str] | None = None) -> Windows:
    """A windows table as arrays, sorted by window.

    `vocabulary` fixes the token numbering (tokens outside it are an error); by default it is the sorted set of tokens.
    """
    frame = frame.sort("window_id")
    lengths = frame["n_tokens"].to_numpy().astype(np.int64)
    flat = frame["tokens"].explode()
    words = tuple(flat.unique().sort().to_list()) if vocabulary is None else tuple(vocabulary)
    codes = flat.cast(pl.Enum(list(words))).to_physical().to_numpy().astype(np.int32)
    width = int(lengths.max()) if len(lengths) else 0
    return Windows(
        window=frame["window_id"].to_numpy().astype(np.int64),
        document_id=np.array(frame["document_id"].to_list(), dtype=np.str_),
        split=np.array(frame["split"].to_list(), dtype=np.str_),
        text=tuple(frame["text"].to_list()),
        n_tokens=lengths,
        tokens=pad_rows(codes, lengths, width=width, fill=-1),
        starts=pad_rows(frame["token_starts"].explode().to_numpy(), lengths, width=width, fill=0),
        ends=pad_rows(frame["token_ends"].explode().to_numpy(), lengths, width=width, fill=0),
        vocabulary=words,
    )


def pad_rows(flat: np.ndarray, lengths: np.ndarray, *, width: int, fill: int) -> np.ndarray:
    """Values of rows of different lengths as one [n, width] int32 matrix."""
    padded = np.full((len(lengths), width), fill, dtype=np.int32)
    padded[np.arange(width) < lengths[:, None]] = flat
    return padded
