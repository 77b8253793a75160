"""Language models for the source `torch`: from a name to a model that ends at the hooked layers.

Weights come from safetensors only. Knows nothing of dictionaries or windows.
"""

from __future__ import annotations

import zlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Literal

import numpy as np
import torch

from labeling.errors import FeatlasError
from labeling.sources._hooks import Place, find_place
from labeling.sources._places import RANDOM_MINILM, explained, folder, origin, quiet

RANDOM_STANDARD_DEVIATION = 0.02
"""BERT's own initializer. Layer norms keep activations near 1; attention is close to uniform, as in any fresh BERT."""
RANDOM_SEED = 0


Precision = Literal["float32", "bfloat16", "float16"]
"""How a model computes. What is read from it is 32-bit again before a dictionary sees it."""
UNREAD = ("pooler.",)
"""Weights that many checkpoints lack and that no hook comes after."""


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """A model in evaluation mode, cut after the last layer that a hook needs."""

    module: torch.nn.Module
    places: Mapping[str, Place]
    """Where each hook reads."""
    causal: bool
    """Whether a position sees only what stands before it."""


def load_model(model: str, hooks: Sequence[str], *, dtype: Precision = "float32") -> LoadedModel:
    """Load a model to be read at `hooks`.

    Raise UsageError for a hook that names no module, FeatlasError for a model that can't be read.
    """
    with quiet(), explained(model, "model"):
        loaded, missing = _random_minilm() if model == RANDOM_MINILM else _from_checkpoint(model, dtype)
    loaded.config.use_cache = False
    module: torch.nn.Module = loaded.eval().requires_grad_(False)
    places = {hook: find_place(module, hook, model=model) for hook in hooks}
    cut_after(module, [place.module for place in places.values()])
    _refuse_missing(module, missing, model)
    if model == RANDOM_MINILM:
        draw_weights(module)
        module.to(getattr(torch, dtype))
    return LoadedModel(module, places, causal=_is_causal(loaded.config.model_type))


def outline(model: str) -> torch.nn.Module:
    """All modules of a model without any weights, for looking up names. Raise FeatlasError when it can't be read."""
    from transformers import AutoConfig, AutoModel

    with quiet(), explained(model, "model"):
        config = AutoConfig.from_pretrained(folder(model), **origin(model))
        with torch.device("meta"):
            whole: torch.nn.Module = AutoModel.from_config(config)
    return whole


def _from_checkpoint(model: str, dtype: Precision) -> tuple[Any, Collection[str]]:
    """The model, and the names of weights that its files do not have."""
    from transformers import AutoModel

    loaded, info = AutoModel.from_pretrained(
        folder(model), dtype=getattr(torch, dtype), use_safetensors=True, output_loading_info=True, **origin(model)
    )
    return loaded, info["missing_keys"]


def _random_minilm() -> tuple[Any, Collection[str]]:
    from transformers import AutoConfig, AutoModel

    config = AutoConfig.from_pretrained(folder(RANDOM_MINILM), local_files_only=True)
    with torch.random.fork_rng(devices=[]):  # its own random start is thrown away
        return AutoModel.from_config(config), ()


def _refuse_missing(module: torch.nn.Module, missing: Collection[str], model: str) -> None:
    """The library fills weights that it does not find with random numbers."""
    kept = {name for name, _ in module.named_parameters()}
    lost = sorted(name for name in kept & set(missing) if not name.startswith(UNREAD))
    if lost:
        raise FeatlasError(
            f"The files of the model {model!r} lack {len(lost)} of the weights that are needed, {lost[0]} among them; they would "
            "be random numbers. The files belong to another model than config.json says, or are incomplete: copy them again."
        )


def _is_causal(kind: str) -> bool:
    """By `model_type`. Kinds that are also trained to fill gaps, such as BERT, see both sides."""
    from transformers.models.auto import modeling_auto

    both_sides = modeling_auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES
    return kind in modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES and kind not in both_sides


def cut_after(module: torch.nn.Module, hooks: Sequence[str]) -> None:
    """Drop the layers of a stack that come after every hook, where all hooks lie in one stack."""
    for name, stack in list(module.named_modules()):
        inside = [hook.removeprefix(f"{name}.").split(".")[0] for hook in hooks if hook.startswith(f"{name}.")]
        if isinstance(stack, torch.nn.ModuleList) and inside and len(inside) == len(hooks):
            del stack[max(int(index) for index in inside) + 1 :]


def draw_weights(module: torch.nn.Module) -> None:
    """Draw every weight from a normal distribution; biases become 0 and the scales of layer norms 1.

    Each tensor has its own numpy generator, seeded by its name, so that it is the same on every machine and
    however many layers are kept.
    """
    for name, parameter in module.named_parameters():
        if parameter.ndim > 1:
            generator = np.random.default_rng([RANDOM_SEED, zlib.crc32(name.encode())])
            drawn = generator.standard_normal(tuple(parameter.shape), dtype=np.float32)
            parameter.copy_(torch.from_numpy(drawn * np.float32(RANDOM_STANDARD_DEVIATION)))
        else:
            parameter.fill_(1.0 if name.endswith("weight") else 0.0)


def weights_hash(module: torch.nn.Module) -> str:
    """Hash of all parameters, 16 hexadecimal digits."""
    digest = blake2b(digest_size=8)
    for name, parameter in sorted(module.named_parameters()):
        digest.update(name.encode())
        digest.update(parameter.detach().cpu().contiguous().view(torch.uint8).numpy().data)
    return digest.hexdigest()
