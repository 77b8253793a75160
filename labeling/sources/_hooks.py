"""Where a model is read: from what a user or a dictionary calls the place to a module and a side of it.

A hook is a module path with an optional side, `transformer.h.6.mlp` or `transformer.h.6.mlp:input`, or a name of
TransformerLens, `blocks.6.hook_mlp_out` (`_lens_names`). Two hooks for the same values are the same place. Knows nothing of how a
model is loaded or run.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Literal, get_args

import torch

from labeling.errors import UsageError
from labeling.sources._lens_names import Family, family_of, lens_names

Side = Literal["output", "input", "normalized"]
"""`normalized` is what a norm makes of its input before its learned scale and shift."""
NEAREST = 3


@dataclass(frozen=True)
class Place:
    """One side of one module."""

    module: str
    """Path in the model without its output head."""
    side: Side

    def __str__(self) -> str:
        return self.module if self.side == "output" else f"{self.module}:{self.side}"


def find_place(module: torch.nn.Module, hook: str, *, model: str) -> Place:
    """The place that `hook` names in a model whose name is `model`. Raise UsageError with the nearest names."""
    family = family_of(module)
    if re.match(r"(blocks\.\d+\.|hook_)", hook):
        return _simplest(_lens_place(module, family, hook, model=model), family)
    path, _, side = hook.partition(":")
    if ":" in hook and side not in get_args(Side):
        raise UsageError(
            f"The hook {hook!r} ends in {side!r}; allowed after the colon: {', '.join(get_args(Side))}. Without a colon the "
            "output is read."
        )
    known = _module_names(module)
    found = path if path in known else _without_head(module, path)
    if found not in known and family is not None:
        found = _in_language_model(family, found)
    if found not in known:
        raise _unknown(module, hook, model=model)
    if side == "normalized" and _epsilon(module.get_submodule(found)) is None:
        raise UsageError(
            f"The hook {hook!r} asks for normalized values, but {found!r} of {model!r} is no layer norm and no RMS norm. "
            "Take its input or output."
        )
    return _simplest(Place(found, side or "output"), family)  # type: ignore[arg-type]  # a Side, checked above


def normalize(norm: torch.nn.Module, inputs: torch.Tensor) -> torch.Tensor:
    """What `norm` makes of `inputs` [..., width] before its learned scale and shift, in 32 bits."""
    values, epsilon = inputs.float(), _epsilon(norm) or 0.0
    if isinstance(norm, torch.nn.LayerNorm):
        values = values - values.mean(-1, keepdim=True)
    return values * torch.rsqrt(values.pow(2).mean(-1, keepdim=True) + epsilon)


def _epsilon(norm: torch.nn.Module) -> float | None:
    """The small number that a norm adds to the mean square; None for modules that are no norm."""
    if not isinstance(norm, torch.nn.LayerNorm) and not type(norm).__name__.endswith("RMSNorm"):
        return None
    found: Any = next((getattr(norm, name) for name in ("eps", "variance_epsilon") if hasattr(norm, name)), None)
    return None if found is None else float(found)


def _lens_place(module: torch.nn.Module, family: Family | None, hook: str, *, model: str) -> Place:
    if family is None:
        kind = getattr(getattr(module, "config", None), "model_type", "unknown")
        raise UsageError(
            f"The hook {hook!r} is a name of TransformerLens, which is not known for models of the kind {kind!r}. Give the "
            f"module path instead, such as {', '.join(_nearest(hook, _module_names(module)))}."
        )
    places = lens_names(module, family)
    if hook not in places:
        raise _unknown(module, hook, model=model, reason=family.why_missing(module, hook))
    path, side = places[hook]
    return Place(path, side)


def _simplest(place: Place, family: Family | None) -> Place:
    """The input of a layer is the output of the one before: one place, and one layer less to run."""
    if family is None or place.side != "input":
        return place
    stack, _, index = place.module.rpartition(".")
    if stack != family.stack or not index.isdigit() or index == "0":
        return place
    return Place(f"{stack}.{int(index) - 1}", "output")


def _unknown(module: torch.nn.Module, hook: str, *, model: str, reason: str = "") -> UsageError:
    family = family_of(module)
    paths = _nearest(_without_head(module, hook.partition(":")[0]), _module_names(module))
    lens = _nearest(hook, list(lens_names(module, family))) if family else []
    names = f"module paths {', '.join(paths)}" + (f"; TransformerLens names {', '.join(lens)}" if lens else "")
    return UsageError(
        f"The model {model!r} has no module named {hook!r}, so nothing can be read there. {reason}Nearest {names}. "
        "Set `hook` to one of the model's."
    )


def _without_head(module: torch.nn.Module, path: str) -> str:
    """The path as it is in the model without its output head, where it was written with one."""
    return path.removeprefix(f"{getattr(module, 'base_model_prefix', '')}.")


def _in_language_model(family: Family, path: str) -> str:
    """The path where the layers are, where it was written for the language model alone: `layers.7` of one with images."""
    outer, _, layers = family.stack.rpartition(".")
    return f"{outer}.{path}" if outer and path.startswith(f"{layers}.") else path


def _nearest(hook: str, names: list[str]) -> list[str]:
    """The most similar names; where none is, those with the same number, which is the layer."""
    numbers = re.findall(r"\d+", hook)
    same_layer = [name for name in names if numbers and re.findall(r"\d+", name)[:1] == numbers[:1]]
    return (get_close_matches(hook, names, n=NEAREST, cutoff=0.3) or same_layer or names)[:NEAREST]


def _module_names(module: torch.nn.Module) -> list[str]:
    return [name for name, _ in module.named_modules() if name]
