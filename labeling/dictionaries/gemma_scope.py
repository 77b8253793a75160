"""Gemma Scope: JumpReLU dictionaries and transcoders in `params.npz` (Gemma 2) or `params.safetensors` (Gemma 3).

Lieberum et al. 2024, "Gemma Scope". Arrays: `W_enc` [d_model, n_features], `W_dec` [n_features, d_out], `b_enc`,
`b_dec`, `threshold`; in lower case in the second release. b_dec is not taken off activations. An npz has no config, and
some folders of the second release have none either: what it was trained on stands in the path,
`gemma-scope-2b-pt-res/layer_12/width_16k/average_l0_82/params.npz`.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from labeling.dictionaries._architectures import Coder, Input, Weights, jumprelu, scaled_input
from labeling.dictionaries._codes import Origin
from labeling.dictionaries._files import Tensors, read_json, read_npz, read_safetensors, refuse_scaling
from labeling.errors import FeatlasError

ARRAYS = "params.npz"
TENSORS = "params.safetensors"
CONFIG = "config.json"
HOOKS = {
    "res": "blocks.{}.hook_resid_post",
    "mlp": "blocks.{}.hook_mlp_out",
    "att": "blocks.{}.attn.hook_z",
    "transcoders": "blocks.{}.ln2.hook_normalized",
}
"""Place of the model by the last part of a repository's name."""
EMBEDDING = "/embedding/"
"""Folder of dictionaries of the token embeddings. They were trained on those before Gemma multiplies them by sqrt(d_model)."""
HOOKS_OF_2 = {
    "resid_post": "model.layers.{}",
    "attn_out": "model.layers.{}.self_attn.o_proj:input",
    "mlp_out": "model.layers.{}.post_feedforward_layernorm",
    "transcoder": "model.layers.{}.pre_feedforward_layernorm",
}
"""The same for Gemma Scope 2, by the folder that holds the layers."""
PREPEND_BOS, CONTEXT_SIZE = True, 1024
"""How all of Gemma Scope was trained (section 3 of the report)."""


def matches(place: Path) -> bool:
    return place.suffix == ".npz" if place.is_file() else (place / ARRAYS).is_file() or (place / TENSORS).is_file()


def create(*, path: Path) -> Coder:
    """Read and check a folder or an npz file. Raise FeatlasError for what it can't be."""
    tensors = _tensors(path)
    w_enc, w_dec = tensors.first("W_enc", "w_enc"), tensors.first("W_dec", "w_dec")
    encoder = tensors.take(w_enc, (None, None), says="the format")
    d_model, n_features = encoder.shape
    says = f"{w_enc!r} [{d_model}, {n_features}] beside it"
    decoder = tensors.take(w_dec, (n_features, None), says=says)
    weights = Weights(
        w_enc=encoder.T,
        b_enc=tensors.take("b_enc", (n_features,), says=says),
        w_dec=decoder,
        b_dec=tensors.take("b_dec", (decoder.shape[1],), says=f"{w_dec!r} beside it"),
    )
    refuse_scaling(tensors)
    if EMBEDDING in path.absolute().as_posix():
        weights = scaled_input(weights, d_model**-0.5)
    threshold = tensors.take("threshold", (n_features,), says=says)
    coder = jumprelu(weights, Input(subtract_b_dec=False), threshold=threshold)
    return replace(coder, origin=origin(path))


def origin(path: Path) -> Origin:
    """What the config or, without one, the path says."""
    if path.is_dir() and (path / CONFIG).is_file():
        config = read_json(path / CONFIG)
        config.refuse("architecture", unless="jump_relu", why="Gemma Scope's dictionaries are jump_relu.")
        model, hook = config.text("model_name"), config.text("hf_hook_point_in")
        return _trained(
            _gemma_3(model.replace("gemma-v3", "gemma-3")) if model else None,
            hook.removesuffix(".output").replace(".input", ":input") if hook else None,
        )
    where = path.absolute().as_posix()
    layer = re.search(r"/layer_(\d+)[/_]", where)
    if release := re.search(r"gemma-scope-2-(270m|\d+b)-(pt|it)\b", where):
        part = re.search(rf"/({'|'.join(HOOKS_OF_2)})[^/]*/layer_", where)
        model = f"gemma-3-{release[1]}-{release[2]}"
        return _trained(_gemma_3(model), HOOKS_OF_2[part[1]].format(layer[1]) if part and layer else None)
    if release := re.search(r"gemma-scope-(\d+b)-(pt|it)-(res|mlp|att|transcoders)\b", where):
        size, tuned, kind = release.groups()
        model = f"google/gemma-2-{size}" + ("-it" if tuned == "it" else "")
        hook = HOOKS[kind].format(layer[1]) if layer else "embed_tokens" if EMBEDDING in where else None
        return _trained(model, hook)
    return Origin()


def _trained(model: str | None, hook: str | None) -> Origin:
    return Origin(model=model, hook=hook, prepend_bos=PREPEND_BOS, context_size=CONTEXT_SIZE)


def _gemma_3(name: str) -> str:
    """The hub's id of a model. The smallest one has no `-pt` there."""
    return f"google/{name.removesuffix('-pt') if '270m' in name else name}"


def _tensors(path: Path) -> Tensors:
    if path.is_file():
        return read_npz(path)
    if (path / ARRAYS).is_file():
        return read_npz(path / ARRAYS)
    if (path / TENSORS).is_file():
        return read_safetensors(path / TENSORS)
    raise FeatlasError(f"{path} has neither {ARRAYS} nor {TENSORS}, which is what Gemma Scope's folders hold.")
