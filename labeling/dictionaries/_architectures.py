"""The mathematics of dictionaries, once for all file formats: what is done to activations, encoder, rule, decoder.

    codes(x)  = rule(W_enc (normalized(x) - input_bias) + b_enc)
    decode(f) = W_dec f + b_dec, scaled back where activations were normalized

A format's file reads tensors and calls one of the functions below. A skip connection of a transcoder takes no part in
codes or directions and is not kept. Knows nothing of files.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import blake2b
from typing import Literal, get_args

import torch

from labeling.dictionaries._codes import Codes, Origin
from labeling.dictionaries._encoding import AboveZero, Encoder, GroupMax, Rule, TopK, encode
from labeling.types import FloatArray

Normalization = Literal["none", "constant_norm_rescale", "layer_norm"]
"""What is done to each activation vector before it is encoded, in SAELens' words: nothing, scaled to norm
sqrt(d_model), or centered and divided by its standard deviation."""
NORMALIZATIONS: tuple[Normalization, ...] = get_args(Normalization)
LAYER_NORM_EPSILON = 1e-5
ROWS_HASHED_AT_ONCE = 4_096
SMALLEST_NORM = 1e-8
"""SAELens clamps decoder norms to this before dividing by them."""


@dataclass(frozen=True, eq=False)
class Weights:
    """Tensors that every dictionary has; float32. The encoder's rows are features."""

    w_enc: torch.Tensor  # [n_features, d_model]
    b_enc: torch.Tensor  # [n_features]
    w_dec: torch.Tensor  # [n_features, d_out]; d_out is d_model but in transcoders
    b_dec: torch.Tensor  # [d_out]

    def to(self, device: str) -> Weights:
        return Weights(*(getattr(self, name).to(device) for name in ("w_enc", "b_enc", "w_dec", "b_dec")))


@dataclass(frozen=True)
class Input:
    """What is done to activations before they are encoded."""

    subtract_b_dec: bool
    normalization: Normalization = "none"
    undo: bool = True
    """Whether `decode` scales back; a transcoder's output is another place of the model."""


@dataclass(frozen=True, eq=False)
class Coder:
    """A dictionary of any architecture."""

    architecture: str
    weights: Weights
    rule: Rule
    input: Input
    origin: Origin | None = None

    @property
    def n_features(self) -> int:
        return int(self.weights.w_enc.shape[0])

    @property
    def d_model(self) -> int:
        return int(self.weights.w_enc.shape[1])

    @property
    def n_bytes(self) -> int:
        return sum(tensor.nbytes for tensor in self._tensors)

    @property
    def _tensors(self) -> tuple[torch.Tensor, ...]:
        weights = self.weights
        return (weights.w_enc, weights.b_enc, weights.w_dec, weights.b_dec, *self.rule.tensors)

    @cached_property
    def fingerprint(self) -> str:
        digest = blake2b(f"{self.architecture} {self.rule.settings} {self.input}".encode(), digest_size=8)
        for tensor in self._tensors:
            for part in torch.split(tensor.cpu(), ROWS_HASHED_AT_ONCE):
                digest.update(part.contiguous().numpy().data)
        return digest.hexdigest()

    def encode(self, activations: torch.Tensor) -> Codes:
        inputs, scale, shift = _normalized(activations, self.input.normalization)
        if self.input.subtract_b_dec:
            inputs = inputs - self.weights.b_dec
        codes = encode(Encoder(self.weights.w_enc, self.weights.b_enc), self.rule, inputs)
        return replace(codes, scale=scale, shift=shift) if self.input.undo else codes

    def decode(self, codes: Codes) -> torch.Tensor:
        return decode(codes, self.weights.w_dec, self.weights.b_dec)

    def directions(self) -> FloatArray:
        directions: FloatArray = self.weights.w_dec.cpu().numpy()
        return directions

    def to(self, device: str) -> Coder:
        return replace(self, weights=self.weights.to(device), rule=self.rule.to(device))


def decode(codes: Codes, w_dec: torch.Tensor, b_dec: torch.Tensor) -> torch.Tensor:
    """Activations [n_rows, d_out] rebuilt from codes."""
    rebuilt = b_dec.repeat(codes.n_rows, 1)
    rebuilt.index_add_(0, codes.row, codes.value[:, None] * w_dec[codes.feature])
    if codes.scale is not None:
        rebuilt *= codes.scale
    return rebuilt if codes.shift is None else rebuilt + codes.shift


def relu(weights: Weights, place: Input, *, architecture: str = "standard") -> Coder:
    """relu of every score."""
    return Coder(architecture, weights, AboveZero(), place)


def topk(weights: Weights, place: Input, *, k: int, architecture: str = "topk") -> Coder:
    """The k largest scores, where positive (Gao et al. 2024, "Scaling and evaluating sparse autoencoders")."""
    return Coder(architecture, weights, TopK(k), place)


def groupmax(weights: Weights, place: Input, *, k: int) -> Coder:
    """The largest score of each of k groups of neighboring features, where positive."""
    return Coder("groupmax", weights, GroupMax(len(weights.b_enc) // k), place)


def jumprelu(weights: Weights, place: Input, *, threshold: torch.Tensor, architecture: str = "jumprelu") -> Coder:
    """Scores above a threshold [n_features], where positive (Rajamanoharan et al. 2024, "Jumping ahead").

    A dictionary trained with the k largest of a whole batch is one of these once it is trained.
    """
    threshold = threshold.clamp(min=0)
    shifted = replace(weights, b_enc=weights.b_enc - threshold)
    return Coder(architecture, shifted, AboveZero(offset=threshold), place)


def gated(weights: Weights, place: Input, *, b_gate: torch.Tensor, b_mag: torch.Tensor, r_mag: torch.Tensor) -> Coder:
    """relu(exp(r_mag) s + b_mag) where s + b_gate > 0, s being the score without bias (Rajamanoharan et al. 2024,
    "Improving dictionary learning with gated sparse autoencoders"). `weights.b_enc` is not used.

    """
    gain = r_mag.exp()
    return Coder("gated", replace(weights, b_enc=b_gate), AboveZero(gain=gain, offset=b_mag - gain * b_gate), place)


def unit_decoder(weights: Weights) -> Weights:
    """The same dictionary with decoder directions of norm 1: scores and codes are larger by what the norm was."""
    norm = weights.w_dec.norm(dim=1).clamp(min=SMALLEST_NORM)
    return replace(
        weights,
        w_enc=weights.w_enc * norm[:, None],
        b_enc=weights.b_enc * norm,
        w_dec=weights.w_dec / norm[:, None],
    )


def scaled_input(weights: Weights, factor: float) -> Weights:
    """The same dictionary for activations that were multiplied by `factor` in training, and its output divided by it."""
    return replace(weights, w_enc=weights.w_enc * factor, w_dec=weights.w_dec / factor, b_dec=weights.b_dec / factor)


def _normalized(
    activations: torch.Tensor, normalization: Normalization
) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None]:
    """Activations as they are encoded, and the scale and shift [n, 1] that undo it."""
    if normalization == "none":
        return activations, None, None
    if normalization == "constant_norm_rescale":
        scale = activations.norm(dim=1, keepdim=True) / activations.shape[1] ** 0.5
        return activations / scale, scale, None
    shift = activations.mean(dim=1, keepdim=True)
    centered = activations - shift
    scale = centered.norm(dim=1, keepdim=True) / (activations.shape[1] - 1) ** 0.5
    return centered / (scale + LAYER_NORM_EPSILON), scale, shift
