"""Windows as token numbers: what choosing contexts needs of them, in memory that does not grow with the corpus.

The windows table is gone through part by part: once for the vocabulary and the pool, once for how many windows hold each
token. Kept are the windows of the pool and, later, those that are asked for. No texts, no offsets, no features.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from labeling.contexts import choose_pool
from labeling.types import SPLITS, IntArray
from labeling.windows import pad_rows

COLUMNS = ("window_id", "document_id", "split", "tokens")
Parts = Callable[[], Iterator[pl.DataFrame]]
"""Goes through the windows table once: frames with COLUMNS, no window in two of them."""


@dataclass(frozen=True, eq=False)
class WindowTokens:
    """Some windows of a corpus, one a row; short windows are padded on the right."""

    window: IntArray  # [n] ids, ascending
    document_id: pl.Series  # [n]
    split: npt.NDArray[np.int8]  # [n] index into SPLITS
    tokens: npt.NDArray[np.int32]  # [n, width] index into the vocabulary of the corpus; -1 is padding

    def __len__(self) -> int:
        return len(self.window)

    def rows_of(self, window: IntArray) -> IntArray:
        """Row of each window id. Raise KeyError when an id is not among the windows."""
        rows = self.find(window)
        if (rows < 0).any():
            raise KeyError(f"window {int(window[rows < 0][0])} is not among the {len(self)} windows at hand")
        return rows

    def find(self, window: IntArray) -> IntArray:
        """Row of each window id, -1 where it is not among the windows."""
        if not len(self):
            return np.full(window.shape, -1)
        rows = np.searchsorted(self.window, window).clip(max=len(self) - 1)
        return np.where(self.window[rows] == window, rows, -1)

    def of_split(self, split: int) -> IntArray:
        """Rows of one split, ascending."""
        return np.flatnonzero(self.split == split)


@dataclass(frozen=True, eq=False)
class Survey:
    """What one needs to know of all windows of a corpus, and the pool."""

    vocabulary: pl.Series  # [v] distinct tokens, ascending
    holding: IntArray  # [v] windows of the corpus that hold each token
    width: int
    """Tokens in a window at most."""
    n_windows: IntArray  # [S] windows in each split
    n_tokens: int
    pool: WindowTokens

    @property
    def total_windows(self) -> int:
        return int(self.n_windows.sum())


def survey_windows(parts: Parts, *, pool_size: int, seed: int) -> Survey:
    """Go through all windows twice; draw a pool of up to `pool_size` windows of each split."""
    vocabulary = pl.Series(dtype=pl.String)
    window, split = np.zeros(0, np.int64), np.zeros(0, np.int8)
    n_windows, n_tokens, width = np.zeros(len(SPLITS), np.int64), 0, 0
    for frame in parts():
        vocabulary = pl.concat([vocabulary, frame["tokens"].explode().unique()]).unique()
        window = np.concatenate([window, frame["window_id"].to_numpy()])
        split = np.concatenate([split, _split_codes(frame)])
        kept = choose_pool(window, split, size=pool_size, seed=seed)
        window, split = window[kept], split[kept]
        n_windows += np.bincount(_split_codes(frame), minlength=len(SPLITS))
        lengths = frame["tokens"].list.len()
        n_tokens, width = n_tokens + int(lengths.sum()), max(width, int(lengths.max() or 0))  # type: ignore[arg-type]
    vocabulary = vocabulary.sort()
    holding = np.zeros(len(vocabulary), np.int64)
    pool = []
    for some in _numbered(parts, vocabulary, width):
        holding += windows_holding(some.tokens, len(vocabulary))
        pool.append(_only(some, np.isin(some.window, window)))
    return Survey(vocabulary, holding, width, n_windows, n_tokens, _joined(pool, width))


def add_windows(have: WindowTokens, wanted: IntArray, *, parts: Parts, survey: Survey) -> WindowTokens:
    """`have` and the windows `wanted` (ids). The table is read only when some are missing."""
    missing = wanted[have.find(wanted) < 0]
    if not len(missing):
        return have
    found = [_only(some, np.isin(some.window, missing)) for some in _numbered(parts, survey.vocabulary, survey.width)]
    return _joined([have, *found], survey.width)


def windows_holding(tokens: npt.NDArray[np.int32], n_vocabulary: int) -> IntArray:
    """In how many of the windows [n, width] each token stands."""
    ordered = np.sort(tokens, axis=1)
    first = ordered >= 0
    first[:, 1:] &= ordered[:, 1:] != ordered[:, :-1]
    return np.bincount(ordered[first], minlength=n_vocabulary)


def _numbered(parts: Parts, vocabulary: pl.Series, width: int) -> Iterator[WindowTokens]:
    kind = pl.Enum(vocabulary)
    for frame in parts():
        frame = frame.sort("window_id")
        flat = frame["tokens"].explode().cast(kind).to_physical().to_numpy().astype(np.int32)
        lengths = frame["tokens"].list.len().to_numpy().astype(np.int64)
        yield WindowTokens(
            window=frame["window_id"].to_numpy(),
            document_id=frame["document_id"],
            split=_split_codes(frame),
            tokens=pad_rows(flat, lengths, width=width, fill=-1),
        )


def _split_codes(frame: pl.DataFrame) -> npt.NDArray[np.int8]:
    return frame["split"].cast(pl.Enum(SPLITS)).to_physical().to_numpy().astype(np.int8)


def _only(windows: WindowTokens, kept: npt.NDArray[np.bool_]) -> WindowTokens:
    return WindowTokens(
        windows.window[kept], windows.document_id.filter(pl.Series(kept)), windows.split[kept], windows.tokens[kept]
    )


def _joined(some: list[WindowTokens], width: int) -> WindowTokens:
    window = np.concatenate([np.zeros(0, np.int64), *(one.window for one in some)])
    order = np.argsort(window, kind="stable")
    documents = pl.concat([pl.Series(dtype=pl.String), *(one.document_id for one in some)])
    return WindowTokens(
        window=window[order],
        document_id=documents.gather(order),
        split=np.concatenate([np.zeros(0, np.int8), *(one.split for one in some)])[order],
        tokens=np.concatenate([np.zeros((0, width), np.int32), *(one.tokens for one in some)])[order],
    )
