"""OpenAI's `sparse_autoencoder` for GPT-2 small: one `.pt` file with TopK (or, in the first releases, ReLU).

Gao et al. 2024, "Scaling and evaluating sparse autoencoders". The file is a pickle and read only if it holds nothing but
tensors, numbers and names: `encoder.weight` [n_features, d_model], `latent_bias`, `pre_bias` (taken off, and added
back), `decoder.weight` [d_model, n_features], `activation` and `activation_state_dict` with k. Dictionaries with TopK
center activations and divide them by their standard deviation. What it was trained on stands in the path,
`resid_post_mlp_v5_32k/autoencoders/8.pt`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from labeling.dictionaries._architectures import Coder, Input, Weights, relu, topk
from labeling.dictionaries._codes import Origin
from labeling.dictionaries._files import Settings, pickle_refused, read_torch, single, tensors_of
from labeling.errors import FeatlasError
from labeling.types import JSON

NEEDED = ("encoder.weight", "latent_bias", "pre_bias", "decoder.weight")
HOOKS = {
    "resid_post_mlp": "blocks.{}.hook_resid_post",
    "resid_post_attn": "blocks.{}.hook_resid_mid",
    "resid_delta_mlp": "blocks.{}.hook_mlp_out",
    "resid_delta_attn": "blocks.{}.hook_attn_out",
    "mlp_post_act": "blocks.{}.mlp.hook_post",
}
"""Place of the model by the words of the path."""


def matches(place: Path) -> bool:
    return _file(place) is not None


def create(*, path: Path) -> Coder:
    """Read and check a file, or a folder with one. Raise FeatlasError for what it can't be."""
    file = _file(path)
    if file is None:
        raise FeatlasError(f"{path} is no .pt file and no folder with a single one. Give the file of one layer.")
    loaded = read_torch(file)
    if not any(name in loaded for name in NEEDED):
        held = ", ".join(sorted(map(str, loaded))[:8]) or "nothing"
        raise pickle_refused(file.parent, [file.name], f"it holds {held}, which no known format is made of")
    weights = _weights(file, loaded)
    name = loaded.get("activation", "ReLU")
    if name == "TopK":
        coder = topk(weights, Input(subtract_b_dec=True, normalization="layer_norm"), k=_k(file, loaded, weights))
    elif name == "ReLU":
        coder = relu(weights, Input(subtract_b_dec=True))
    else:
        raise FeatlasError(f"{file}: 'activation' is {name!r}, expected 'TopK' or 'ReLU'. Use another dictionary.")
    return replace(coder, origin=origin(file))


def origin(file: Path) -> Origin:
    """Model and place by the path of the release."""
    seen = re.search(rf"({'|'.join(HOOKS)})[^/]*/autoencoders/(\d+)\.pt$", file.absolute().as_posix())
    return Origin(model="gpt2", hook=HOOKS[seen[1]].format(seen[2])) if seen else Origin()


def _file(place: Path) -> Path | None:
    if place.is_dir() and (place / "config.json").exists():
        return None  # a folder of another library
    return single(place, lambda file: file.suffix == ".pt")


def _weights(file: Path, loaded: Mapping[str, JSON]) -> Weights:
    tensors = tensors_of(file, loaded)
    w_enc = tensors.take("encoder.weight", (None, None), says="the format")
    n_features, d_model = w_enc.shape
    says = f"'encoder.weight' [{n_features}, {d_model}] beside it"
    return Weights(
        w_enc=w_enc,
        b_enc=tensors.take("latent_bias", (n_features,), says=says),
        w_dec=tensors.take("decoder.weight", (d_model, n_features), says=says).T,
        b_dec=tensors.take("pre_bias", (d_model,), says=says),
    )


def _k(file: Path, loaded: Mapping[str, JSON], weights: Weights) -> int:
    state = Settings(file, loaded).table("activation_state_dict")
    if state.text("postact_fn") not in ("ReLU", None):
        raise FeatlasError(
            f"{file}: 'postact_fn' is {state.text('postact_fn')!r}, expected 'ReLU': features that fire with negative "
            "activations can't be labeled."
        )
    k = state.count("k")
    if k > len(weights.b_enc):
        raise FeatlasError(
            f"{file}: 'k' is {k}, expected at most {len(weights.b_enc)}, the features. Use another file."
        )
    return k
