"""Whether a dictionary belongs to the model and hook it is used with, by what its own files say of their origin.

A dictionary that says nothing is taken as the user gives it.
"""

from __future__ import annotations

from pathlib import Path

import torch

from labeling.dictionaries import Origin
from labeling.errors import UsageError
from labeling.sources._hooks import Place, find_place

SAME_MODEL = {"gpt2-small": "gpt2"}
"""Names of TransformerLens that are not the last part of a hub id."""


def check_model(origin: Origin | None, *, feature_set: str, model: str) -> None:
    """Raise UsageError when the dictionary was trained on another model."""
    if origin is None or origin.model is None or same_model(origin.model, model):
        return
    raise UsageError(
        f"The dictionary of the feature set {feature_set!r} says that it was trained on the model {origin.model!r}, but "
        f"`model` is {model!r}. Set `model` to the former; or, if they are the same or you want it so, `force = true` in the "
        "config or `--force`."
    )


def check_hook(origin: Origin | None, *, feature_set: str, hook: str, module: torch.nn.Module, model: str) -> None:
    """Raise UsageError when the dictionary was trained at another place of `module`, a whole model, than `hook`."""
    trained = _trained_at(origin, module, model=model)
    try:
        place = find_place(module, hook, model=model)
    except UsageError as error:
        if trained is None or origin is None:
            raise
        raise UsageError(
            f"{error} Without `hook` that is {origin.hook!r}, where its dictionary was trained."
        ) from error
    if origin is None or origin.hook is None or origin.hook == hook:
        return
    if trained != place:
        raise UsageError(
            f"The dictionary of the feature set {feature_set!r} says that it was trained at {origin.hook!r}, but `hook` is "
            f"{hook!r}, which is another place. Leave `hook` out to use the former; or set `force = true` in the config, or "
            "run with `--force`."
        )


def _trained_at(origin: Origin | None, module: torch.nn.Module, *, model: str) -> Place | None:
    """Where the dictionary was trained; None when it does not say, or the model has no such place."""
    if origin is None or origin.hook is None:
        return None
    try:
        return find_place(module, origin.hook, model=model)
    except UsageError:
        return None


def same_model(trained: str, used: str) -> bool:
    """Whether two names can be of one model: owners, revisions and folders around the name do not count."""
    if trained == used:
        return True
    folders = Path(used).resolve().parts if Path(used).is_dir() else (used,)
    return _bare(trained) in {_bare(part) for part in folders}


def _bare(name: str) -> str:
    last = name.partition("@")[0].rstrip("/").rpartition("/")[2].rpartition("--")[2].lower()
    return SAME_MODEL.get(last, last)
