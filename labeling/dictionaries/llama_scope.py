"""Llama Scope: `hyperparams.json` and `checkpoints/final.safetensors`; JumpReLU with one threshold, and transcoders.

He et al. 2024, "Llama Scope". Tensors are those of two torch Linear layers, trained on activations scaled to an average
norm of sqrt(d_model). Read as the lm_saes library makes them ready for inference: biases and decoder are scaled back
by factor_in = sqrt(d_model) / norm_in and factor_out, decoder directions get norm 1, and the threshold counts in the
scale of the model's own activations. (SAELens leaves codes in the scale of training: larger by factor_in.)
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from labeling.dictionaries._architectures import Coder, Input, Weights, jumprelu, unit_decoder
from labeling.dictionaries._codes import Origin
from labeling.dictionaries._files import Settings, Tensors, read_json, read_safetensors

WEIGHTS = Path("checkpoints") / "final.safetensors"
CONFIG = "hyperparams.json"
MODELS = {"Llama3_1-8B-Base": "meta-llama/Llama-3.1-8B"}
"""Model by how the folder's name begins; the config does not say."""


def matches(place: Path) -> bool:
    return (place / WEIGHTS).is_file() and (place / CONFIG).is_file()


def create(*, path: Path) -> Coder:
    """Read and check a folder. Raise FeatlasError for what it can't be."""
    config = read_json(path / CONFIG)
    config.choice("act_fn", ("jumprelu",))
    for key in ("use_glu_encoder", "apply_decoder_bias_to_pre_encoder"):
        config.refuse(key, unless=False, why="no released dictionary has it.")
    transcoder = config.text("hook_point_out") != config.text("hook_point_in")
    weights = _in_scale_of_the_model(_weights(config, read_safetensors(path / WEIGHTS)), config)
    if config.flag("sparsity_include_decoder_norm", default=True):
        weights = unit_decoder(weights)
    threshold = torch.full((len(weights.b_enc),), config.number("jump_relu_threshold"))
    coder = jumprelu(weights, Input(subtract_b_dec=False, undo=not transcoder), threshold=threshold)
    return replace(coder, origin=origin(config))


def origin(config: Settings) -> Origin:
    """The place by the config, the model by the folder's name. The report: 1,024 tokens that begin with BOS."""
    folder = config.file.absolute().parent.name
    model = next((model for begin, model in MODELS.items() if folder.startswith(begin)), None)
    return Origin(model=model, hook=config.text("hook_point_in"), prepend_bos=True, context_size=1024)


def _weights(config: Settings, tensors: Tensors) -> Weights:
    d_model, n_features = config.count("d_model"), config.count("d_sae")
    biased = config.flag("use_decoder_bias", default=True)
    return Weights(
        w_enc=tensors.take("encoder.weight", (n_features, d_model), says=CONFIG),
        b_enc=tensors.take("encoder.bias", (n_features,), says=CONFIG),
        w_dec=tensors.take("decoder.weight", (d_model, n_features), says=CONFIG).T,
        b_dec=tensors.take("decoder.bias", (d_model,), says=CONFIG) if biased else torch.zeros(d_model),
    )


def _in_scale_of_the_model(weights: Weights, config: Settings) -> Weights:
    if config.choice("norm_activation", ("dataset-wise", "inference"), default="dataset-wise") == "inference":
        return weights
    norms = config.table("dataset_average_activation_norm")
    root = weights.w_enc.shape[1] ** 0.5
    factor_in, factor_out = root / norms.number("in"), root / norms.number("out")
    return replace(
        weights,
        b_enc=weights.b_enc / factor_in,
        w_dec=weights.w_dec * (factor_in / factor_out),
        b_dec=weights.b_dec / factor_out,
    )
