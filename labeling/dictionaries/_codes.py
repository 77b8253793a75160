"""What a dictionary gives, as plain data: sparse codes, and where it was trained."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Codes:
    """Non-zero feature activations, sorted by row; three tensors with one entry an activation."""

    row: torch.Tensor  # int64, row of the activations that were encoded
    feature: torch.Tensor  # int64
    value: torch.Tensor  # float32, > 0
    n_rows: int
    scale: torch.Tensor | None = None  # [n_rows, 1] what undoes a normalization of the activations: first times scale,
    shift: torch.Tensor | None = None  # [n_rows, 1] then plus shift; None where there was none

    def dense(self, n_features: int) -> torch.Tensor:
        """The same as a matrix [n_rows, n_features]."""
        matrix = self.value.new_zeros((self.n_rows, n_features))
        matrix[self.row, self.feature] = self.value
        return matrix


@dataclass(frozen=True)
class Origin:
    """What a dictionary's own files or their path say it was trained on. None is not said."""

    model: str | None = None
    hook: str | None = None
    """As written there: `blocks.8.hook_resid_pre` in most, a module path in others."""
    prepend_bos: bool | None = None
    """Whether every sequence began with the tokenizer's BOS token."""
    context_size: int | None = None
    """Tokens of a training sequence."""
