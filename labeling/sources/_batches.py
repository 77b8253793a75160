"""From windows to padded batches: what goes through a model together, and which of it counts.

Windows of a document are joined to sequences, sequences of similar length to batches. Which windows share a batch depends
on the windows alone, never on the machine. Knows no model.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import torch

from labeling.sources._tokenizers import Tokenizer
from labeling.types import IntArray

BATCH_TOKENS = 4_096
"""Padded tokens in a batch at most. A fixed number: results must not depend on the machine."""


@dataclass(frozen=True)
class Batch:
    """Sequences that go through the model together: `b` rows, `length` positions, `n` tokens that count."""

    token_ids: torch.Tensor  # int64 [b, length] with special tokens and padding
    attention: torch.Tensor  # int64 [b, length]; 0 is padding
    counted: torch.Tensor  # bool [b, length]; neither special nor padding nor attention sink
    window: torch.Tensor  # int64 [n] window id of each counted token, in row order
    position: torch.Tensor  # int64 [n] 0-based position of each counted token in its window


def batches(windows: pl.DataFrame, *, sequence: int, tokenizer: Tokenizer) -> Iterator[Batch]:
    """Padded batches of whole windows; columns `window_id`, `document_id`, `token_ids` as in `FeatureSource.events`.

    What `tokenizer` says never counts, and its attention sink, is read by the model and left out of `counted`.
    """
    tokens = windows["token_ids"].explode().drop_nulls().to_numpy().astype(np.int64)
    lengths = windows["token_ids"].list.len().to_numpy().astype(np.int64)
    first_window = sequences(windows["document_id"].rle_id().to_numpy(), lengths, sequence=sequence)
    last_window = np.append(first_window[1:], len(lengths))
    ends = np.concatenate([[0], np.cumsum(lengths)])
    sizes = ends[last_window] - ends[first_window]
    ids = windows["window_id"].to_numpy()
    flat_window = np.repeat(ids, lengths)
    flat_position = np.arange(len(tokens)) - np.repeat(ends[:-1], lengths)
    counts = ~np.isin(tokens, tokenizer.never)
    if tokenizer.sink:
        counts[ends[first_window]] = False
    for group in grouped(sizes, special=len(tokenizer.before) + len(tokenizer.after)):
        spans = [np.arange(ends[first_window[row]], ends[last_window[row]]) for row in group]
        counted = np.concatenate(spans)
        counted = counted[counts[counted]]
        rows = [(tokens[span], counts[span]) for span in spans]
        yield _pad(rows, tokenizer, flat_window[counted], flat_position[counted])


def sequences(document: npt.NDArray[Any], lengths: IntArray, *, sequence: int) -> IntArray:
    """First window of each sequence: consecutive windows of one document, `sequence` tokens at most."""
    firsts: list[int] = []
    size = 0
    for row, length in enumerate(lengths.tolist()):
        if row == 0 or document[row] != document[row - 1] or size + length > sequence:
            firsts.append(row)
            size = 0
        size += length
    return np.array(firsts, dtype=np.int64)


def grouped(sizes: IntArray, *, special: int) -> Iterator[IntArray]:
    """Sequences of similar length, by index, as many as fit into BATCH_TOKENS padded tokens."""
    order = np.argsort(sizes, kind="stable")[::-1]  # longest first, so that a batch is as wide as its first
    start = 0
    while start < len(order):
        rows = max(1, BATCH_TOKENS // (int(sizes[order[start]]) + special))
        yield order[start : start + rows]
        start += rows


def _pad(
    rows: list[tuple[IntArray, npt.NDArray[np.bool_]]], tokenizer: Tokenizer, window: IntArray, position: IntArray
) -> Batch:
    """One batch of rows, each with its tokens and whether they count."""
    before, after = len(tokenizer.before), len(tokenizer.after)
    shape = (len(rows), max(len(row) for row, _ in rows) + before + after)
    ids, attention, counted = np.full(shape, tokenizer.padding), np.zeros(shape, np.int64), np.zeros(shape, np.bool_)
    for i, (row, counts) in enumerate(rows):
        end = before + len(row)
        ids[i, : end + after] = np.concatenate([tokenizer.before, row, tokenizer.after])
        attention[i, : end + after] = 1
        counted[i, before:end] = counts
    parts = (torch.from_numpy(part) for part in (ids, attention, counted, window, position))
    return Batch(*parts)
