"""Language models for the source `torch`: from a name to a model that ends at the hooked layers.

Weights come from safetensors only. Knows nothing of dictionaries or windows.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from difflib import get_close_matches
from hashlib import blake2b

import numpy as np
import torch

from labeling.errors import UsageError
from labeling.sources._places import RANDOM_MINILM, explained, folder, from_disk, quiet

RANDOM_STANDARD_DEVIATION = 0.02
"""BERT's own initializer. Layer norms keep activations near 1; attention is close to uniform, as in any fresh BERT."""
RANDOM_SEED = 0


def load_model(model: str, hooks: Sequence[str]) -> torch.nn.Module:
    """Load a model in evaluation mode, 32-bit, cut after the last layer that a hook needs.

    Raise UsageError for a hook that names no module, FeatlasError for a model that can't be read.
    """
    from transformers import AutoConfig, AutoModel

    with quiet(), explained(model, "model"):
        if model == RANDOM_MINILM:
            config = AutoConfig.from_pretrained(folder(model), local_files_only=True)
            with torch.random.fork_rng(devices=[]):  # its own random start is thrown away
                loaded = AutoModel.from_config(config)
        else:
            loaded = AutoModel.from_pretrained(
                folder(model), dtype=torch.float32, use_safetensors=True, **from_disk(model)
            )
    loaded.config.use_cache = False
    module: torch.nn.Module = loaded.eval().requires_grad_(False)
    for hook in hooks:
        _check_hook(module, hook, model)
    cut_after(module, hooks)
    if model == RANDOM_MINILM:
        draw_weights(module)
    return module


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


def _check_hook(module: torch.nn.Module, hook: str, model: str) -> None:
    names = [name for name, _ in module.named_modules() if name]
    if hook not in names:
        near = get_close_matches(hook, names, n=5, cutoff=0.4) or names[:5]
        raise UsageError(
            f"The model {model!r} has no module named {hook!r}, so nothing can be read there. Nearest names: "
            f"{', '.join(near)}. Set `hook` to one of the model's module paths."
        )
