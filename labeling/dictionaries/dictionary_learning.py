"""The dictionary_learning library: `ae.pt` and `config.json`; standard, gated, top-k, batch-top-k, matryoshka, JumpReLU.

`ae.pt` is a pickle and read only if it holds nothing but tensors. `config.json` names the class:

    AutoEncoder                 encoder.weight, encoder.bias, decoder.weight, bias
    AutoEncoderNew              encoder.weight, encoder.bias, decoder.weight, decoder.bias; no bias is taken off
    GatedAutoEncoder            encoder.weight, gate_bias, mag_bias, r_mag, decoder.weight, decoder_bias
    AutoEncoderTopK             encoder.weight, encoder.bias, decoder.weight, b_dec, k
    BatchTopKSAE                the same, and threshold
    MatryoshkaBatchTopKSAE      W_enc [d_model, n_features], b_enc, W_dec, b_dec, threshold
    JumpReluAutoEncoder         the same; no bias is taken off

Activations are those of the class as it stands. Its loader can also scale an AutoEncoder to unit directions
(`normalize_decoder`), which multiplies each feature by a constant and leaves what it fires on alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from labeling.dictionaries._architectures import Coder, Input, Weights, gated, jumprelu, relu, topk
from labeling.dictionaries._codes import Origin
from labeling.dictionaries._files import Settings, Tensors, read_json, read_torch, tensors_of
from labeling.errors import FeatlasError

WEIGHTS = "ae.pt"
CONFIG = "config.json"
HOOKS = {
    "resid_post": "blocks.{}.hook_resid_post",
    "mlp": "blocks.{}.hook_mlp_out",
    "attention_out": "blocks.{}.hook_attn_out",
}
"""Place of the model by the beginning of the submodule's name, `resid_post_layer_8`."""


def matches(place: Path) -> bool:
    return (place / WEIGHTS).is_file() and (place / CONFIG).is_file()


def create(*, path: Path) -> Coder:
    """Read and check a folder. Raise FeatlasError for what it can't be."""
    config = read_json(path / CONFIG)
    trainer = config.table("trainer")
    read = CLASSES[trainer.choice("dict_class", CLASSES)]
    file = path / WEIGHTS
    tensors = tensors_of(file, read_torch(file))
    return replace(read(tensors, trainer), origin=origin(config))


def origin(config: Settings) -> Origin:
    """What the trainer and the buffer say."""
    trainer = config.table("trainer")
    layer, name = trainer.whole("layer"), trainer.text("submodule_name") or "resid_post"
    hook = next((hook for part, hook in HOOKS.items() if name.startswith(part)), None)
    return Origin(
        model=trainer.text("lm_name"),
        hook=hook.format(layer) if hook is not None and layer is not None else None,
        context_size=config.table("buffer").whole("ctx_len"),
    )


def _linear(tensors: Tensors, trainer: Settings, *, b_dec: str, b_enc: str | None = "encoder.bias") -> Weights:
    """Weights of two torch Linear layers: [n_features, d_model] and [d_model, n_features]."""
    n_features, d_model = trainer.count("dict_size"), trainer.count("activation_dim")
    bias = tensors.take(b_enc, (n_features,), says=CONFIG) if b_enc else torch.zeros(n_features)
    return Weights(
        w_enc=tensors.take("encoder.weight", (n_features, d_model), says=CONFIG),
        b_enc=bias,
        w_dec=tensors.take("decoder.weight", (d_model, n_features), says=CONFIG).T,
        b_dec=tensors.take(b_dec, (d_model,), says=CONFIG),
    )


def _plain(tensors: Tensors, trainer: Settings) -> Weights:
    """Weights of two plain matrices: [d_model, n_features] and [n_features, d_model]."""
    n_features, d_model = trainer.count("dict_size"), trainer.count("activation_dim")
    return Weights(
        w_enc=tensors.take("W_enc", (d_model, n_features), says=CONFIG).T,
        b_enc=tensors.take("b_enc", (n_features,), says=CONFIG),
        w_dec=tensors.take("W_dec", (n_features, d_model), says=CONFIG),
        b_dec=tensors.take("b_dec", (d_model,), says=CONFIG),
    )


def _standard(tensors: Tensors, trainer: Settings) -> Coder:
    return relu(_linear(tensors, trainer, b_dec="bias"), Input(subtract_b_dec=True))


def _new(tensors: Tensors, trainer: Settings) -> Coder:
    return relu(_linear(tensors, trainer, b_dec="decoder.bias"), Input(subtract_b_dec=False))


def _gated(tensors: Tensors, trainer: Settings) -> Coder:
    weights = _linear(tensors, trainer, b_dec="decoder_bias", b_enc=None)
    names = ("gate_bias", "mag_bias", "r_mag")
    b_gate, b_mag, r_mag = (tensors.take(name, (len(weights.b_enc),), says=CONFIG) for name in names)
    return gated(weights, Input(subtract_b_dec=True), b_gate=b_gate, b_mag=b_mag, r_mag=r_mag)


def _topk(tensors: Tensors, trainer: Settings) -> Coder:
    weights, k = _linear(tensors, trainer, b_dec="b_dec"), trainer.count("k")
    held = int(tensors.named["k"]) if "k" in tensors else k
    if held != k or k > len(weights.b_enc):
        raise FeatlasError(
            f"{trainer.file}: 'k' is {k}, but {tensors.file} says {held} of {len(weights.b_enc)} features. They must agree."
        )
    return topk(weights, Input(subtract_b_dec=True), k=k)


def _one_threshold(
    tensors: Tensors, trainer: Settings, *, read: Callable[[Tensors, Settings], Weights], architecture: str
) -> Coder:
    weights = read(tensors, trainer)
    threshold = tensors.take("threshold", (), says=CONFIG).repeat(len(weights.b_enc))
    return jumprelu(weights, Input(subtract_b_dec=True), threshold=threshold, architecture=architecture)


def _jumprelu(tensors: Tensors, trainer: Settings) -> Coder:
    weights = _plain(tensors, trainer)
    threshold = tensors.take("threshold", (len(weights.b_enc),), says=CONFIG)
    return jumprelu(weights, Input(subtract_b_dec=False), threshold=threshold)


CLASSES: dict[str, Callable[[Tensors, Settings], Coder]] = {
    "AutoEncoder": _standard,
    "AutoEncoderNew": _new,
    "GatedAutoEncoder": _gated,
    "AutoEncoderTopK": _topk,
    "BatchTopKSAE": partial(_one_threshold, read=partial(_linear, b_dec="b_dec"), architecture="batchtopk"),
    "MatryoshkaBatchTopKSAE": partial(_one_threshold, read=_plain, architecture="matryoshka_batchtopk"),
    "JumpReluAutoEncoder": _jumprelu,
}
