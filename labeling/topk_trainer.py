"""Train a TopK dictionary: from an array of activations to weights. Knows nothing of models, text or files.

Loss: share of the variance that the k kept features leave unexplained, plus two helpers. Features that hardly ever fire
learn to rebuild what the others miss (the auxiliary loss of Gao et al. 2024, "Scaling and evaluating sparse
autoencoders", appendix A.2), and features that fire too often pay for every unit of activation, because a feature that
is on everywhere can't be labeled. Decoder rows have length 1; their gradient has no part along them (Bricken et al.
2023, "Towards monosemanticity", appendix). Only the kept features take part in the gradient, so that a step costs one
dense product.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.nn.functional import embedding_bag, normalize

from labeling.dictionaries.featlas import TopKDictionary

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how much is done and how much there is."""
GEOMETRIC_MEDIAN_ROUNDS = 10
LOOKED_AT = 16_384
"""Activations from which scale and first weights are taken."""


@dataclass(frozen=True)
class TrainingSettings:
    """What decides a dictionary, beside its activations."""

    n_features: int = 2_048
    k: int = 16
    steps: int = 4_000
    batch: int = 2_048
    """Tokens in a step."""
    learning_rate: float = 6e-3
    """Of Adam; rises over the first 2 % of the steps and falls to 0 over the last half."""
    seed: int = 0
    rare_rate: float = 3e-4
    """Share of tokens below which the auxiliary loss takes care of a feature."""
    auxiliary_k: int = 64
    auxiliary_weight: float = 1 / 32
    dense_rate: float = 0.03
    """Share of tokens above which a feature pays for being on."""
    dense_weight: float = 0.01
    rate_memory: float = 0.98
    """Decay, per step, of the running firing rates."""


@dataclass(frozen=True, eq=False)
class _Weights:
    """What is learned, in units of the scaled activations."""

    w_enc: torch.Tensor  # [n_features, d_model]
    b_enc: torch.Tensor  # [n_features]
    w_dec: torch.Tensor  # [n_features, d_model], rows of length 1
    b_dec: torch.Tensor  # [d_model]

    def all(self) -> tuple[torch.Tensor, ...]:
        return self.w_enc, self.b_enc, self.w_dec, self.b_dec


def train(
    activations: npt.NDArray[np.float16], *, settings: TrainingSettings, progress: Progress | None = None
) -> TopKDictionary:
    """Learn a dictionary of activations [n_tokens, d_model], in an order drawn from the seed."""
    generator = np.random.default_rng(settings.seed)
    sample = _rows(activations, generator.choice(len(activations), min(LOOKED_AT, len(activations)), replace=False))
    center = geometric_median(sample)
    scale = float(activations.shape[1] ** 0.5 / (sample - center).norm(dim=1).mean())
    weights = _first_weights(sample * scale, center * scale, n_features=settings.n_features, generator=generator)
    variance = float((sample * scale - (sample * scale).mean(0)).pow(2).sum(1).mean())
    optimizer = torch.optim.Adam(weights.all(), lr=settings.learning_rate, betas=(0.9, 0.999), eps=1e-8)
    rates = torch.full((settings.n_features,), settings.k / settings.n_features)
    order = _Order(len(activations), settings.batch, generator)
    for step in range(settings.steps):
        batch = _rows(activations, next(order)) * scale
        optimizer.param_groups[0]["lr"] = settings.learning_rate * rate_share(step, settings.steps)
        rates = _step(weights, batch, rates, optimizer, settings=settings, variance=variance)
        if progress is not None:
            progress("training", step + 1, settings.steps)
    return TopKDictionary(
        w_enc=weights.w_enc.detach(),
        b_enc=weights.b_enc.detach() / scale,
        w_dec=weights.w_dec.detach(),
        b_dec=weights.b_dec.detach() / scale,
        k=settings.k,
    )


def geometric_median(points: torch.Tensor) -> torch.Tensor:
    """Point with the smallest summed distance to points [n, d], by Weiszfeld's iteration: a center outliers can't move."""
    median = points.mean(0)
    for _ in range(GEOMETRIC_MEDIAN_ROUNDS):
        weight = 1 / (points - median).norm(dim=1).clamp_min(1e-6)
        median = (points * weight[:, None]).sum(0) / weight.sum()
    return median


def rate_share(step: int, steps: int) -> float:
    """Share 0-1 of the learning rate at a step."""
    rising = (step + 1) / max(1, steps // 50)
    falling = 2 * (steps - step) / steps
    return min(1.0, rising, falling)


def _first_weights(
    sample: torch.Tensor, center: torch.Tensor, *, n_features: int, generator: np.random.Generator
) -> _Weights:
    """Directions of activations drawn at random, slightly disturbed: features that start in the data rarely die."""
    chosen = torch.from_numpy(generator.choice(len(sample), n_features, replace=len(sample) < n_features))
    noise = torch.from_numpy(generator.standard_normal((n_features, sample.shape[1]), dtype=np.float32))
    directions = normalize(normalize(sample[chosen] - center, dim=1) + 0.5 * normalize(noise, dim=1), dim=1)
    weights = _Weights(
        w_enc=directions.clone(), b_enc=torch.zeros(n_features), w_dec=directions.clone(), b_dec=center.clone()
    )
    for tensor in weights.all():
        tensor.requires_grad_(True)
    return weights


def _step(
    weights: _Weights,
    batch: torch.Tensor,  # [n, d_model], scaled
    rates: torch.Tensor,  # [n_features] running share of tokens on which each feature is on
    optimizer: torch.optim.Optimizer,
    *,
    settings: TrainingSettings,
    variance: float,
) -> torch.Tensor:
    """Learn from one batch; return the new running rates."""
    with torch.no_grad():
        centered = batch - weights.b_dec  # the center learns from the decoder alone
        scores = torch.addmm(weights.b_enc, centered, weights.w_enc.T)
        kept = scores.topk(settings.k, dim=1, sorted=False).indices
    values = _values(weights, centered, scores, kept)
    error = batch - weights.b_dec - _rebuilt(weights, values, kept)
    loss = error.pow(2).sum(1).mean() / variance
    crowded = (rates[kept] / settings.dense_rate - 1).clamp(0, 1)
    loss = loss + settings.dense_weight * (values * crowded).sum(1).mean() / variance**0.5
    rare = (rates < settings.rare_rate).nonzero().squeeze(1)
    if len(rare):
        loss = loss + settings.auxiliary_weight * _auxiliary(weights, centered, error.detach(), scores, rare, settings)
    optimizer.zero_grad()
    loss.backward()
    with torch.no_grad():
        gradient = weights.w_dec.grad
        assert gradient is not None
        gradient.sub_((gradient * weights.w_dec).sum(1, keepdim=True) * weights.w_dec)
        optimizer.step()
        weights.w_dec.div_(weights.w_dec.norm(dim=1, keepdim=True))
        fired = torch.bincount(kept[values > 0], minlength=len(rates)) / len(batch)
        return settings.rate_memory * rates + (1 - settings.rate_memory) * fired


class _Kept(torch.autograd.Function):
    """Scores [n, k] of kept features [n, k], with a gradient for the encoder that costs n x k and not n x n_features."""

    @staticmethod
    def forward(
        ctx: Any,
        w_enc: torch.Tensor,  # noqa: ARG004 - its gradient is what this class is for
        b_enc: torch.Tensor,
        centered: torch.Tensor,
        scores: torch.Tensor,
        features: torch.Tensor,
    ) -> torch.Tensor:
        ctx.save_for_backward(centered, features)
        ctx.n_features = len(b_enc)
        return scores.gather(1, features)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        centered, features = ctx.saved_tensors
        flat, order = features.flatten().sort(stable=True)  # each feature's tokens side by side
        weight = gradients[0].flatten()[order]
        starts = torch.searchsorted(flat, torch.arange(ctx.n_features))
        for_w_enc = embedding_bag(order // features.shape[1], centered, starts, per_sample_weights=weight, mode="sum")
        for_b_enc = torch.zeros(ctx.n_features).index_add_(0, flat, weight)
        return for_w_enc, for_b_enc, None, None, None


def _values(weights: _Weights, centered: torch.Tensor, scores: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
    """Activations [n, k] of chosen features [n, k]."""
    values: torch.Tensor = _Kept.apply(  # type: ignore[no-untyped-call]
        weights.w_enc, weights.b_enc, centered, scores, features
    )
    return torch.relu(values)


def _rebuilt(weights: _Weights, values: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
    return embedding_bag(features, weights.w_dec, per_sample_weights=values, mode="sum")


def _auxiliary(
    weights: _Weights,
    centered: torch.Tensor,
    error: torch.Tensor,
    scores: torch.Tensor,
    rare: torch.Tensor,
    settings: TrainingSettings,
) -> torch.Tensor:
    """Share of the error that the strongest rare features leave, were they on."""
    top = scores[:, rare].topk(min(settings.auxiliary_k, len(rare)), dim=1, sorted=False).indices
    features = rare[top]
    rebuilt = _rebuilt(weights, _values(weights, centered, scores, features), features)
    return (error - rebuilt).pow(2).sum(1).mean() / error.pow(2).sum(1).mean()


class _Order:
    """Batches of rows, each row once in every pass; a pass that ends within a batch goes on with the next."""

    def __init__(self, n_rows: int, batch: int, generator: np.random.Generator) -> None:
        self._n_rows, self._batch, self._generator = n_rows, batch, generator
        self._left = np.empty(0, np.int64)

    def __next__(self) -> npt.NDArray[np.int64]:
        while len(self._left) < self._batch:
            self._left = np.concatenate([self._left, self._generator.permutation(self._n_rows)])
        batch, self._left = self._left[: self._batch], self._left[self._batch :]
        return batch


def _rows(activations: npt.NDArray[np.float16], rows: npt.NDArray[np.int64]) -> torch.Tensor:
    return torch.from_numpy(activations[rows].astype(np.float32))
