"""Tiny dictionaries in the layout of each format, all with the same four features, to be computed by hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from labeling.dictionaries.featlas import TopKDictionary, save

W_ENC = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [-1.0, 0.0]])
B_ENC = torch.tensor([0.0, 0.5, -1.0, 0.25])
W_DEC = torch.tensor([[2.0, 0.0], [0.0, 1.0], [1.0, 0.0], [0.0, -1.0]])
B_DEC = torch.tensor([1.0, 0.0])
THRESHOLD = torch.tensor([1.0, 2.0, 2.5, 0.25])
X = torch.tensor([[3.0, 1.0], [0.0, -2.0], [1.75, 0.75]])
"""Scores are [3, 1.5, 3, -2.75], [0, -1.5, -3, 0.25], [1.75, 1.25, 1.5, -1.5] of x, and [2, 1.5, 2, -1.75],
[-1, -1.5, -4, 1.25], [0.75, 1.25, 0.5, -0.5] of x less b_dec."""


@dataclass(frozen=True)
class Written:
    """A dictionary on disk."""

    path: Path
    """What a user names."""
    weights: Path
    encoder: str
    """Name of the encoder's matrix in the file."""


def featlas(folder: Path) -> Written:
    save(TopKDictionary(W_ENC, B_ENC, W_DEC, B_DEC, k=2), folder, card={"model": "gpt2", "hook": "h.1"})
    return Written(folder, folder / "dictionary.safetensors", "W_enc")


def sae_lens(folder: Path, **changes: Any) -> Written:
    tensors = {"W_enc": W_ENC.T, "b_enc": B_ENC, "W_dec": W_DEC, "b_dec": B_DEC, "threshold": THRESHOLD}
    metadata = {"model_name": "gpt2", "hook_name": "blocks.1.hook_resid_pre", "prepend_bos": True, "context_size": 64}
    config = {"architecture": "jumprelu", "d_in": 2, "d_sae": 4, "apply_b_dec_to_input": False, "metadata": metadata}
    write_json(folder / "cfg.json", {**config, **changes})
    return written(folder, "sae_weights.safetensors", tensors, "W_enc")


def gemma_scope(folder: Path) -> Written:
    folder = folder / "gemma-scope-2b-pt-res" / "layer_12" / "width_16k" / "average_l0_82"
    tensors = {"W_enc": W_ENC.T, "b_enc": B_ENC, "W_dec": W_DEC, "b_dec": B_DEC, "threshold": THRESHOLD}
    return written(folder, "params.npz", tensors, "W_enc")


def sparsify(folder: Path, **changes: Any) -> Written:
    tensors = {"encoder.weight": W_ENC, "encoder.bias": B_ENC, "W_dec": W_DEC, "b_dec": B_DEC}
    config = {"activation": "topk", "expansion_factor": 2, "num_latents": 0, "k": 2, "d_in": 2, "signed": False}
    write_json(folder / "config.json", {"model": "EleutherAI/pythia-160m", "ctx_len": 2048})
    write_json(folder / "layers.3.mlp" / "cfg.json", {**config, **changes})
    return written(folder / "layers.3.mlp", "sae.safetensors", tensors, "encoder.weight")


LINEAR = {"encoder.weight": W_ENC, "encoder.bias": B_ENC, "decoder.weight": W_DEC.T}
PLAIN = {"W_enc": W_ENC.T, "b_enc": B_ENC, "W_dec": W_DEC, "b_dec": B_DEC}
GATE = {"gate_bias": [-1.0, 0.0, -2.0, -3.0], "r_mag": [0.0, 0.693147181, 0.0, 0.0], "mag_bias": [0.5, -1.0, 0.0, 0.0]}
CLASSES: dict[str, dict[str, torch.Tensor]] = {
    "AutoEncoder": {**LINEAR, "bias": B_DEC},
    "AutoEncoderNew": {**LINEAR, "decoder.bias": B_DEC},
    "GatedAutoEncoder": {
        "encoder.weight": W_ENC,
        "decoder.weight": W_DEC.T,
        "decoder_bias": B_DEC,
        **{name: torch.tensor(values) for name, values in GATE.items()},
    },
    "AutoEncoderTopK": {**LINEAR, "b_dec": B_DEC, "k": torch.tensor(2, dtype=torch.int)},
    "BatchTopKSAE": {**LINEAR, "b_dec": B_DEC, "k": torch.tensor(2), "threshold": torch.tensor(0.6)},
    "MatryoshkaBatchTopKSAE": {**PLAIN, "group_sizes": torch.tensor([1, 3]), "threshold": torch.tensor(0.6)},
    "JumpReluAutoEncoder": {**PLAIN, "threshold": THRESHOLD},
}


def dictionary_learning(folder: Path, dict_class: str = "AutoEncoder", **changes: Any) -> Written:
    trainer = {"dict_class": dict_class, "activation_dim": 2, "dict_size": 4, "k": 2}
    trainer |= {"lm_name": "EleutherAI/pythia-70m", "layer": 3, "submodule_name": "resid_post_layer_3"}
    write_json(folder / "config.json", {"trainer": {**trainer, **changes}, "buffer": {"ctx_len": 128}})
    tensors = CLASSES[dict_class]
    return written(folder, "ae.pt", tensors, "W_enc" if "W_enc" in tensors else "encoder.weight")


def openai_topk(folder: Path, **changes: Any) -> Written:
    file = folder / "resid_post_mlp_v5_32k" / "autoencoders" / "8.pt"
    file.parent.mkdir(parents=True, exist_ok=True)
    tensors = {"encoder.weight": W_ENC, "latent_bias": B_ENC, "decoder.weight": W_DEC.T, "pre_bias": B_DEC}
    state = {**tensors, "stats_last_nonzero": torch.zeros(4, dtype=torch.long)}
    activation = {"activation": "TopK", "activation_state_dict": {"k": 2, "postact_fn": "ReLU"}}
    torch.save({**state, **activation, **changes}, file)
    return Written(file, file, "encoder.weight")


def llama_scope(folder: Path, **changes: Any) -> Written:
    folder = folder / "Llama3_1-8B-Base-L3R-8x"
    root = 2**0.5
    config = {
        "d_model": 2,
        "d_sae": 4,
        "act_fn": "jumprelu",
        "jump_relu_threshold": 0.7,
        "norm_activation": "dataset-wise",
    }
    config |= {"dataset_average_activation_norm": {"in": root / 2, "out": root / 4}, "use_decoder_bias": True}
    config |= {"hook_point_in": "blocks.3.hook_resid_post", "hook_point_out": "blocks.3.hook_resid_post"}
    write_json(folder / "hyperparams.json", {**config, **changes})
    weights = written(folder / "checkpoints", "final.safetensors", {**LINEAR, "decoder.bias": B_DEC}, "encoder.weight")
    return Written(folder, weights.weights, weights.encoder)


BUILDERS: dict[str, Callable[[Path], Written]] = {
    "featlas": featlas,
    "sae_lens": sae_lens,
    "gemma_scope": gemma_scope,
    "sparsify": sparsify,
    "dictionary_learning": dictionary_learning,
    "openai_topk": openai_topk,
    "llama_scope": llama_scope,
}


def written(folder: Path, name: str, tensors: dict[str, torch.Tensor], encoder: str) -> Written:
    folder.mkdir(parents=True, exist_ok=True)
    write_tensors(folder / name, tensors)
    return Written(folder, folder / name, encoder)


def change(dictionary: Written, name: str, tensor: torch.Tensor | None) -> None:
    """Put another tensor into the file, or take one out."""
    tensors = read_tensors(dictionary.weights)
    tensors.pop(name, None)
    write_tensors(dictionary.weights, tensors if tensor is None else {**tensors, name: tensor})


def read_tensors(file: Path) -> dict[str, Any]:
    if file.suffix == ".npz":
        with np.load(file) as arrays:
            return {name: torch.from_numpy(arrays[name]) for name in arrays.files}
    return dict(torch.load(file, weights_only=True)) if file.suffix == ".pt" else load_file(file)


def write_tensors(file: Path, tensors: dict[str, Any]) -> None:
    if file.suffix == ".npz":
        np.savez(file, **{name: tensor.numpy() for name, tensor in tensors.items()})
    elif file.suffix == ".pt":
        torch.save(tensors, file)
    else:
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, file)


def write_json(file: Path, values: dict[str, Any]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(values))
