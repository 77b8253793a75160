"""Names that TransformerLens gives to places, for the families it was checked on: `blocks.8.hook_resid_pre` to a module.

Dictionaries carry these names. What stands behind them was read in TransformerLens's components: `hook_attn_out` and
`hook_mlp_out` are what is added to the residual stream, so with Gemma 2 and 3 they come after the norms that follow attention and
MLP; `hook_resid_mid` does not exist where attention and MLP read the same input; `attn.hook_z` is the heads'
outputs side by side; `hook_normalized` comes before a norm's learned scale and shift (folded weights, and all RMS norms).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch

LensSide = Literal["output", "input", "normalized"]
Spot = tuple[str, LensSide]
"""A submodule of a layer ("" is the layer) and a side of it."""


@dataclass(frozen=True)
class Family:
    """Where a family of models keeps its layers, and what stands behind the names in each."""

    stack: str
    """Path of the list of layers."""
    spots: Mapping[str, Spot]
    missing: str = ""
    """Said of names that other families have and this one has not."""

    def why_missing(self, module: torch.nn.Module, hook: str) -> str:
        """A sentence on why the name does not exist, with a space after it; or nothing."""
        name = hook.partition(".")[2].partition(".")[2]
        n_layers = len(module.get_submodule(self.stack))  # type: ignore[arg-type]  # a ModuleList
        if name in self.spots:
            return f"It has {n_layers} layers, counted from 0. "
        return self.missing if name in _GPT2 else ""


def _spots(*, attention: str, heads: str, ln1: str, ln2: str, hidden: str) -> dict[str, Spot]:
    """What the families share: a norm before attention, one before the MLP, the output of both added."""
    return {
        "hook_resid_pre": ("", "input"),
        "hook_resid_mid": (ln2, "input"),
        "hook_resid_post": ("", "output"),
        "hook_attn_out": (attention, "output"),
        "hook_mlp_out": ("mlp", "output"),
        "attn.hook_z": (f"{attention}.{heads}", "input"),
        "mlp.hook_in": ("mlp", "input"),
        "mlp.hook_post": (f"mlp.{hidden}", "input"),
        "ln1.hook_normalized": (ln1, "normalized"),
        "ln2.hook_normalized": (ln2, "normalized"),
    }


_GPT2 = _spots(attention="attn", heads="c_proj", ln1="ln_1", ln2="ln_2", hidden="c_proj")
_NEOX = _spots(
    attention="attention",
    heads="dense",
    ln1="input_layernorm",
    ln2="post_attention_layernorm",
    hidden="dense_4h_to_h",
)
_NEOX_PARALLEL = {name: spot for name, spot in _NEOX.items() if name != "hook_resid_mid"}
_LLAMA = _spots(
    attention="self_attn", heads="o_proj", ln1="input_layernorm", ln2="post_attention_layernorm", hidden="down_proj"
)
_GEMMA2 = {
    **_spots(
        attention="self_attn",
        heads="o_proj",
        ln1="input_layernorm",
        ln2="pre_feedforward_layernorm",
        hidden="down_proj",
    ),
    "hook_attn_out": ("post_attention_layernorm", "output"),
    "hook_mlp_out": ("post_feedforward_layernorm", "output"),
}
_PARALLEL = "Attention and MLP read the same input in this model, so there is no residual stream between them. "

_FAMILIES: dict[str, Family] = {
    "gpt2": Family("h", _GPT2),
    "gpt_neox": Family("layers", _NEOX),
    **{kind: Family("layers", _LLAMA) for kind in ("llama", "mistral", "qwen2", "qwen3", "gemma")},
    **{kind: Family("layers", _GEMMA2) for kind in ("gemma2", "gemma3_text")},
    "gemma3": Family("language_model.layers", _GEMMA2),
}
KINDS = tuple(_FAMILIES)
"""Values of `model_type` in config.json for which the names are known."""


def family_of(module: torch.nn.Module) -> Family | None:
    """The family of a model of the transformers library, or None when its names are not known."""
    config = getattr(module, "config", None)
    kind = getattr(config, "model_type", "")
    if kind == "gpt_neox" and getattr(config, "use_parallel_residual", True):
        return Family("layers", _NEOX_PARALLEL, missing=_PARALLEL)
    return _FAMILIES.get(kind)


def lens_names(module: torch.nn.Module, family: Family) -> dict[str, Spot]:
    """Every name that exists in the model, with the path of its module and the side of it."""
    n_layers = len(module.get_submodule(family.stack))  # type: ignore[arg-type]  # a ModuleList
    return {
        f"blocks.{layer}.{name}": (".".join(filter(None, (family.stack, str(layer), path))), side)
        for layer in range(n_layers)
        for name, (path, side) in family.spots.items()
    }
