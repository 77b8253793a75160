"""SAELens folders: `cfg.json` and `sae_weights.safetensors`, as `save_model` and `save_inference_model` write them.

Architectures: standard, gated, topk, jumprelu, transcoder and skip transcoder (with ReLU or JumpReLU). Batch-topk and
matryoshka dictionaries are jumprelu once saved for inference; their checkpoints are read as well. Tensors: `W_enc`
[d_in, d_sae], `W_dec` [d_sae, d_out], `b_dec`, and `b_enc` or those of a gate. Configs before version 6 are understood.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import torch

from labeling.dictionaries._architectures import (
    NORMALIZATIONS,
    Coder,
    Input,
    Weights,
    gated,
    jumprelu,
    relu,
    scaled_input,
    topk,
    unit_decoder,
)
from labeling.dictionaries._codes import Origin
from labeling.dictionaries._files import Settings, Tensors, read_json, read_safetensors, refuse_scaling
from labeling.errors import FeatlasError

WEIGHTS = "sae_weights.safetensors"
CONFIG = "cfg.json"
SCALER = "activation_scaler.json"
"""Beside the checkpoints of a training run: what activations are multiplied by."""
SCALED_IN_TRAINING = "expected_average_only_in"
TRANSCODERS = ("transcoder", "skip_transcoder", "jumprelu_transcoder", "jumprelu_skip_transcoder")
BATCH_TOPK = ("batchtopk", "matryoshka_batchtopk")
ARCHITECTURES = ("standard", "gated", "topk", "jumprelu", *BATCH_TOPK, *TRANSCODERS)

log = logging.getLogger(__name__)


def matches(place: Path) -> bool:
    return (place / WEIGHTS).is_file() and (place / CONFIG).is_file()


def create(*, path: Path) -> Coder:
    """Read and check a folder. Raise FeatlasError for what it can't be."""
    config = read_json(path / CONFIG)
    tensors = read_safetensors(path / WEIGHTS)
    architecture = _architecture(config)
    weights = _weights(config, tensors, gate=architecture == "gated", transcoder=architecture in TRANSCODERS)
    refuse_scaling(tensors)
    place = _input(config, transcoder=architecture in TRANSCODERS)
    return replace(_coder(architecture, config, tensors, weights, place), origin=origin(config))


def origin(config: Settings) -> Origin:
    """What a config says of model and place: in its `metadata` from version 6 on, at its top before."""
    facts = Settings(config.file, {**config.values, **config.table("metadata").values})
    begins = facts.values.get("prepend_bos")
    return Origin(
        model=facts.text("model_name"),
        hook=facts.text("hook_name") or facts.text("hook_point"),
        prepend_bos=begins if isinstance(begins, bool) else None,
        context_size=facts.whole("context_size"),
    )


def _architecture(config: Settings) -> str:
    old_name = config.text("activation_fn") or config.text("activation_fn_str") or "relu"
    if old_name == "topk" and config.values.get("architecture", "standard") == "standard":
        return "topk"
    for key in ("activation_fn", "activation_fn_str"):
        config.refuse(key, unless="topk" if old_name == "topk" else "relu", why="only relu and topk are read.")
    return config.choice("architecture", ARCHITECTURES, default="standard")


def _weights(config: Settings, tensors: Tensors, *, gate: bool, transcoder: bool) -> Weights:
    d_in, d_sae = config.count("d_in"), config.count("d_sae")
    d_out = config.count("d_out") if transcoder else d_in
    says = CONFIG
    return Weights(
        w_enc=tensors.take("W_enc", (d_in, d_sae), says=says).T,
        b_enc=torch.zeros(d_sae) if gate else tensors.take("b_enc", (d_sae,), says=says),
        w_dec=tensors.take("W_dec", (d_sae, d_out), says=says),
        b_dec=tensors.take("b_dec", (d_out,), says=says),
    )


def _input(config: Settings, *, transcoder: bool) -> Input:
    seen = _normalization(config)
    values = Settings(config.file, {"normalize_activations": "none" if seen == SCALED_IN_TRAINING else seen})
    known = values.choice("normalize_activations", NORMALIZATIONS)
    normalization = next(each for each in NORMALIZATIONS if each == known)
    subtract = config.flag("apply_b_dec_to_input", default=True) and not transcoder
    return Input(subtract, normalization, undo=not transcoder)


def _normalization(config: Settings) -> object:
    seen = config.values.get("normalize_activations")
    if isinstance(seen, bool) or seen is None:  # before version 3
        return SCALED_IN_TRAINING if seen else "none"
    return seen


def _factor(config: Settings) -> float:
    """What activations were multiplied by in training, where the weights do not hold it yet."""
    if _normalization(config) != SCALED_IN_TRAINING:
        return 1.0
    if (config.file.parent / SCALER).is_file():
        return read_json(config.file.parent / SCALER).number("scaling_factor")
    log.warning(
        "%s: activations were scaled in training by a factor that is neither in the config nor in %s beside it. As SAELens "
        "does, featlas uses the weights as they stand; if features look wrong, fold the factor in and save again.",
        config.file,
        SCALER,
    )
    return 1.0


def _coder(architecture: str, config: Settings, tensors: Tensors, weights: Weights, place: Input) -> Coder:
    d_sae, factor = len(weights.b_enc), _factor(config)
    if factor != 1:
        weights = scaled_input(weights, factor)
    if architecture == "gated":
        b_gate, b_mag, r_mag = (tensors.take(name, (d_sae,), says=CONFIG) for name in ("b_gate", "b_mag", "r_mag"))
        return gated(weights, place, b_gate=b_gate, b_mag=b_mag, r_mag=r_mag)
    if architecture == "topk":
        rescaled = config.flag("rescale_acts_by_decoder_norm", default=False)
        return topk(unit_decoder(weights) if rescaled else weights, place, k=_k(config, d_sae))
    if architecture in BATCH_TOPK:
        rescaled = config.flag("rescale_acts_by_decoder_norm", default=True)
        threshold = tensors.take("topk_threshold", (), says=CONFIG).repeat(d_sae) / (factor if rescaled else 1)
        weights = unit_decoder(weights) if rescaled else weights
        return jumprelu(weights, place, threshold=threshold, architecture=architecture)
    if architecture.startswith("jumprelu"):
        threshold = tensors.take("threshold", (d_sae,), says=CONFIG)
        return jumprelu(weights, place, threshold=threshold, architecture=architecture)
    return relu(weights, place, architecture=architecture)


def _k(config: Settings, d_sae: int) -> int:
    k = (config if "k" in config.values else config.table("activation_fn_kwargs")).count("k")
    if k > d_sae:
        raise FeatlasError(f"{config.file}: 'k' is {k}, expected at most 'd_sae', which is {d_sae}. Mend the config.")
    return k
