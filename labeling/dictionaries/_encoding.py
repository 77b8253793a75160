"""From activations to sparse codes, block by block: no tensor [activations, features] above a stated size ever exists.

A dictionary's encoder is an affine map to one score a feature, and a rule that says which scores count: the k largest
(`TopK`), the largest of each group (`GroupMax`), or those above zero (`AboveZero`; every kind of threshold is one).
The rules are exact whatever the blocks. Knows nothing of decoders, formats and files.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import torch

from labeling.dictionaries._codes import Codes

SCORES_AT_ONCE = 2**24
"""Scores held at once while encoding: 64 MiB."""
FEATURES_AT_ONCE = 2**15
"""Features of a block at most. Long rows make it cheap to find the largest; the product is as fast with 512 rows."""
PIECE = 8
"""Features that are looked through together when most of them can't count."""
PIECES_FROM = 4_096
"""Scores in a row from which looking through pieces first is faster."""

Found = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
"""Row, feature and value of each activation found, sorted by row."""
Block = tuple[int, torch.Tensor]
"""The first feature of a block, and scores float32 [rows, features]; overwritten when the next block is asked for."""


@dataclass(frozen=True, eq=False)
class Encoder:
    """One score a feature: weight x + bias."""

    weight: torch.Tensor  # float32 [n_features, d_model]
    bias: torch.Tensor  # float32 [n_features]

    def to(self, device: str) -> Encoder:
        return Encoder(self.weight.to(device), self.bias.to(device))


class Rule(Protocol):
    """Which scores count, and what they are worth."""

    @property
    def group(self) -> int:
        """Features that have to stand in one block."""

    @property
    def settings(self) -> str:
        """What decides beside tensors, in words for a hash."""

    @property
    def tensors(self) -> tuple[torch.Tensor, ...]:
        """What decides beside settings."""

    def find(self, blocks: Iterator[Block]) -> Found:
        """Activations of the same rows in all blocks of features."""

    def to(self, device: str) -> Rule: ...


def encode(encoder: Encoder, rule: Rule, inputs: torch.Tensor) -> Codes:
    """Codes of inputs [n, d_model]."""
    rows, features = block_shape(len(encoder.bias), group=rule.group)
    scratch = inputs.new_empty(min(rows, len(inputs)) * features)
    parts = [rule.find(_blocks(encoder, part, features, scratch)) for part in torch.split(inputs, rows) if len(part)]
    counts = [i * rows for i in range(len(parts))]
    found = [(row + first, feature, value) for first, (row, feature, value) in zip(counts, parts, strict=True)]
    nothing = torch.zeros(0, dtype=torch.int64, device=inputs.device)
    row, feature, value = (
        torch.cat(part) for part in zip((nothing, nothing, inputs.new_zeros(0)), *found, strict=True)
    )
    return Codes(row=row, feature=feature, value=value, n_rows=len(inputs))


def block_shape(n_features: int, *, group: int = 1) -> tuple[int, int]:
    """Rows and features of a block. Features are whole groups; SCORES_AT_ONCE holds unless a single group is larger."""
    features = min(n_features, max(FEATURES_AT_ONCE // group, 1) * group)
    return max(1, SCORES_AT_ONCE // features), features


def _blocks(encoder: Encoder, inputs: torch.Tensor, width: int, scratch: torch.Tensor) -> Iterator[Block]:
    for first in range(0, len(encoder.bias), width):
        bias, weight = encoder.bias[first : first + width], encoder.weight[first : first + width]
        scores = scratch[: len(inputs) * len(bias)].view(len(inputs), len(bias))
        yield first, torch.addmm(bias, inputs, weight.T, out=scores)


@dataclass(frozen=True)
class TopK:
    """The k largest scores of each row, where positive (Makhzani and Frey 2013)."""

    k: int
    group: int = 1
    tensors: tuple[torch.Tensor, ...] = ()

    @property
    def settings(self) -> str:
        return f"topk {self.k}"

    def find(self, blocks: Iterator[Block]) -> Found:
        found = [(first, *largest(scores, self.k)) for first, scores in blocks]
        value = torch.cat([values for _, values, _ in found], dim=1)
        feature = torch.cat([features + first for first, _, features in found], dim=1)
        if value.shape[1] > self.k:
            value, at = value.topk(self.k, dim=1, sorted=False)
            feature = feature.gather(1, at)
        return _positive(value, feature)

    def to(self, device: str) -> TopK:  # noqa: ARG002
        return self


@dataclass(frozen=True)
class GroupMax:
    """The largest score of each group of neighboring features, where positive (EleutherAI sparsify)."""

    group: int
    """Features of a group."""
    tensors: tuple[torch.Tensor, ...] = ()

    @property
    def settings(self) -> str:
        return f"groupmax {self.group}"

    def find(self, blocks: Iterator[Block]) -> Found:
        values, features = [], []
        for first, scores in blocks:
            value, at = scores.view(len(scores), -1, self.group).max(dim=2)
            values.append(value)
            features.append(at + torch.arange(first, first + scores.shape[1], self.group, device=at.device))
        return _positive(torch.cat(values, dim=1), torch.cat(features, dim=1))

    def to(self, device: str) -> GroupMax:  # noqa: ARG002
        return self


@dataclass(frozen=True, eq=False)
class AboveZero:
    """Every score above zero, worth gain * score + offset where that is positive too. A threshold is part of the bias."""

    gain: torch.Tensor | None = None  # float32 [n_features]; None is 1
    offset: torch.Tensor | None = None  # float32 [n_features]; None is 0
    group: int = 1
    settings: str = "above zero"

    @property
    def tensors(self) -> tuple[torch.Tensor, ...]:
        return tuple(tensor for tensor in (self.gain, self.offset) if tensor is not None)

    def find(self, blocks: Iterator[Block]) -> Found:
        parts = [self._worth(first, *above_zero(scores)) for first, scores in blocks]
        row, feature, value = (torch.cat(part) for part in zip(*parts, strict=True))
        if len(parts) > 1:
            row, order = row.sort(stable=True)
            feature, value = feature[order], value[order]
        return row, feature, value

    def _worth(self, first: int, row: torch.Tensor, feature: torch.Tensor, score: torch.Tensor) -> Found:
        feature = feature + first
        if self.gain is not None:
            score = score * self.gain[feature]
        if self.offset is None:
            return row, feature, score
        score = score + self.offset[feature]
        kept = score > 0
        return row[kept], feature[kept], score[kept]

    def to(self, device: str) -> AboveZero:
        gain, offset = (None if tensor is None else tensor.to(device) for tensor in (self.gain, self.offset))
        return AboveZero(gain, offset)


def largest(scores: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Values and columns of the k largest of each row (of all, when there are fewer), in no order.

    The k largest stand in the k pieces with the largest maxima, so that only those are looked through.
    """
    rows, width = scores.shape
    k = min(k, width)
    if width < PIECES_FROM or width % PIECE or width < 4 * k * PIECE:
        value, column = scores.topk(k, dim=1, sorted=False)
        return value, column
    pieces = scores.view(rows, PIECE, width // PIECE)  # piece j holds columns j, j + width / PIECE, ...
    best = pieces.amax(dim=1).topk(k, dim=1, sorted=False).indices
    candidates = pieces.gather(2, best[:, None, :].expand(rows, PIECE, k)).flatten(1)
    value, at = candidates.topk(k, dim=1, sorted=False)
    return value, best.gather(1, at % k) + at // k * (width // PIECE)


def above_zero(scores: torch.Tensor) -> Found:
    """Row, column and value of every score above zero, sorted by row."""
    rows, width = scores.shape
    if width < PIECES_FROM or width % PIECE:
        row, column = (scores > 0).nonzero(as_tuple=True)
        return row, column, scores[row, column]
    pieces = scores.view(rows, PIECE, width // PIECE)
    row, piece = (pieces.amax(dim=1) > 0).nonzero(as_tuple=True)
    candidates = pieces[row, :, piece]
    hit, at = (candidates > 0).nonzero(as_tuple=True)
    return row[hit], piece[hit] + at * (width // PIECE), candidates[hit, at]


def _positive(value: torch.Tensor, feature: torch.Tensor) -> Found:
    row, column = (value > 0).nonzero(as_tuple=True)
    return row, feature[row, column], value[row, column]
