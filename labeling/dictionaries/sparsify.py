"""EleutherAI's sparsify: `cfg.json` and `sae.safetensors`; the k largest, or the largest of each of k groups.

Tensors: `encoder.weight` [n_features, d_in], `encoder.bias`, `W_dec` [n_features, d_out], `b_dec`. b_dec is taken off
the activations, except in transcoders, which read a module's input. The folder is named after the module of the model;
the `config.json` of the run may stand in the folder above.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from labeling.dictionaries._architectures import Coder, Input, Weights, groupmax, topk
from labeling.dictionaries._codes import Origin
from labeling.dictionaries._files import Settings, Tensors, read_json, read_safetensors
from labeling.errors import FeatlasError

WEIGHTS = "sae.safetensors"
CONFIG = "cfg.json"
RUN = "config.json"


def matches(place: Path) -> bool:
    return (place / WEIGHTS).is_file() and (place / CONFIG).is_file()


def create(*, path: Path) -> Coder:
    """Read and check a folder. Raise FeatlasError for what it can't be."""
    config = read_json(path / CONFIG)
    config.refuse("signed", unless=False, why="features that fire with negative activations can't be labeled.")
    for key in ("gram_lookup", "embed_skip"):
        config.refuse(key, unless=False, why="it needs more of the model than the activations at one place.")
    transcode = config.flag("transcode", default=False)
    weights = _weights(config, read_safetensors(path / WEIGHTS))
    place = Input(subtract_b_dec=not transcode, undo=not transcode)
    return replace(_coder(config, weights, place), origin=origin(path, transcode=transcode))


def origin(path: Path, *, transcode: bool) -> Origin:
    """The module by the folder's name; the model by the run's config, where it stands above."""
    run = path.absolute().parent / RUN
    facts = read_json(run) if run.is_file() else Settings(run, {})
    hook = path.absolute().name
    return Origin(
        model=facts.text("model"),
        hook=f"{hook}:input" if transcode else hook,
        context_size=facts.whole("ctx_len"),
    )


def _weights(config: Settings, tensors: Tensors) -> Weights:
    d_in = config.count("d_in")
    stated = config.values.get("num_latents")
    n_features = config.count("num_latents") if stated else d_in * config.count("expansion_factor")
    w_dec = tensors.take("W_dec", (n_features, None), says=CONFIG)
    return Weights(
        w_enc=tensors.take("encoder.weight", (n_features, d_in), says=CONFIG),
        b_enc=tensors.take("encoder.bias", (n_features,), says=CONFIG),
        w_dec=w_dec,
        b_dec=tensors.take("b_dec", (w_dec.shape[1],), says="'W_dec' beside it"),
    )


def _coder(config: Settings, weights: Weights, place: Input) -> Coder:
    activation = config.choice("activation", ("topk", "groupmax"), default="topk")
    k, n_features = config.count("k"), len(weights.b_enc)
    if activation == "topk" and k <= n_features:
        return topk(weights, place, k=k)
    if activation == "groupmax" and n_features % k == 0:
        return groupmax(weights, place, k=k)
    need = f"at most {n_features}, the features" if activation == "topk" else f"a divisor of {n_features}, the features"
    raise FeatlasError(f"{config.file}: 'k' is {k}, expected {need}. Mend the config.")
