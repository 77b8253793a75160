"""No dictionary at all: the units of the hooked place itself as features.

`neurons`: feature i is the positive part of unit i, which is what a neuron after its nonlinearity says.
`directions`: a coordinate means something both ways, so feature i is its positive part and feature width + i its
negative part; for a place without a nonlinearity, such as the residual stream.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from labeling.dictionaries._codes import Codes, Origin
from labeling.dictionaries._encoding import above_zero


@dataclass(frozen=True)
class Units:
    """The units of a place of `d_model` numbers. There is nothing to load and nothing to move."""

    signed: bool
    """Whether negative values are features too."""
    d_model: int = 0
    """0 is not known yet: the place decides."""
    origin: Origin | None = None
    n_bytes: int = 0

    @property
    def n_features(self) -> int:
        return 2 * self.d_model if self.signed else self.d_model

    @property
    def architecture(self) -> str:
        return "directions" if self.signed else "neurons"

    @property
    def fingerprint(self) -> str:
        return f"{self.architecture}-{self.d_model}"

    def encode(self, activations: torch.Tensor) -> Codes:
        both = torch.cat([activations, -activations], dim=1) if self.signed else activations
        row, feature, value = above_zero(both.contiguous())
        return Codes(row=row, feature=feature, value=value, n_rows=len(activations))

    def decode(self, codes: Codes) -> torch.Tensor:
        both = codes.dense(self.n_features)
        return both[:, : self.d_model] - both[:, self.d_model :] if self.signed else both

    def directions(self) -> None:
        """None: the axes are all at right angles, so nothing is near anything."""
        return None

    def to(self, device: str) -> Units:  # noqa: ARG002
        return self
