"""Dictionaries: from files on disk to an encoder. One file a format; `load` finds the format by looking at the files.

A format's file defines `matches(place) -> bool`, which looks at names only, and `create(*, path) -> Dictionary`; the
mathematics is in `_architectures.py`, once for all formats. Nothing that is read can run code: of pickled checkpoints
only those that hold nothing but tensors are read.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Protocol

import torch

from labeling import registry
from labeling.assets import asset
from labeling.dictionaries import _hub
from labeling.dictionaries._files import PICKLES, pickle_refused
from labeling.errors import FeatlasError, UsageError, unknown_name
from labeling.types import FloatArray

EMBEDDED = ("embedded/minilm-l2-2048", "embedded/minilm-random-l2-512")
"""Dictionaries that come with featlas."""
UNITS = ("neurons", "directions")
"""What stands for a dictionary where there is none: the units of the hooked place itself; see `units`."""


@dataclass(frozen=True)
class Codes:
    """Non-zero feature activations, sorted by row; three tensors with one entry an activation."""

    row: torch.Tensor  # int64, row of the activations that were encoded
    feature: torch.Tensor  # int64
    value: torch.Tensor  # float32, > 0
    n_rows: int
    scale: torch.Tensor | None = None  # [n_rows, 1] what undoes a normalization of the activations: first times scale,
    shift: torch.Tensor | None = None  # [n_rows, 1] then plus shift; None where there was none

    def dense(self, n_features: int) -> torch.Tensor:
        """The same as a matrix [n_rows, n_features]."""
        matrix = self.value.new_zeros((self.n_rows, n_features))
        matrix[self.row, self.feature] = self.value
        return matrix


@dataclass(frozen=True)
class Origin:
    """What a dictionary's own files or their path say it was trained on. None is not said."""

    model: str | None = None
    hook: str | None = None
    """As written there: `blocks.8.hook_resid_pre` in most, a module path in others."""
    prepend_bos: bool | None = None
    """Whether every sequence began with the tokenizer's BOS token."""
    context_size: int | None = None
    """Tokens of a training sequence."""


class Dictionary(Protocol):
    @property
    def n_features(self) -> int: ...

    @property
    def d_model(self) -> int: ...

    @property
    def architecture(self) -> str:
        """`topk`, `jumprelu`, ..."""

    @property
    def fingerprint(self) -> str:
        """Hash of the weights and of what else decides the codes."""

    @property
    def origin(self) -> Origin | None:
        """What it was trained on; None when nothing is said."""

    def encode(self, activations: torch.Tensor) -> Codes:
        """Codes of activations [n, d_model]. Rows may be encoded in any grouping with the same result."""

    def decode(self, codes: Codes) -> torch.Tensor:
        """Activations [n_rows, d_model] rebuilt from codes."""

    def directions(self) -> FloatArray | None:
        """Decoder directions [n_features, d_model] (a transcoder's: of its output); None when there are none."""

    def to(self, device: str) -> Dictionary:
        """The same dictionary on another device."""


def load(path: str, *, format: str | None = None) -> Dictionary:
    """Read a dictionary from a folder, a file, an `embedded/...` name or a hub id (`hf://owner/name/subfolder@revision`).

    `format` overrides what the files look like. Raise UsageError when there is nothing at the path or no such format,
    FeatlasError when what is there can't be used.
    """
    place = _locate(path)
    package = sys.modules[__name__]
    name = format if format is not None else _format_of(place)
    dictionary: Dictionary = registry.create(package, name, kind="dictionary format", path=place)
    return dictionary


def stored_name(path: str) -> str:
    """How tables name a dictionary: the path as it is written; a hub id with the exact commit, raising as `load` does."""
    return _hub.download(path).name if path.startswith(_hub.SCHEME) else path


def units(name: str, *, width: int) -> Dictionary:
    """What stands for a dictionary where there is none: one of UNITS at a place of `width` numbers a token.

    `neurons`: the positive part of each unit. `directions`: the positive part of each, then the negative part of each.
    """
    from labeling.dictionaries._units import Units

    if name not in UNITS:
        raise unknown_name("set of units", name, UNITS)
    return Units(width, signed=name == "directions")


def _format_of(place: Path) -> str:
    known = registry.names(sys.modules[__name__])
    found = [name for name in known if import_module(f"{__name__}.{name}").matches(place)]
    if len(found) > 1:
        raise UsageError(f"{place} looks like {' and like '.join(found)}. Set `format` to the one it is.")
    if found:
        return found[0]
    names = sorted(file.name for file in place.iterdir()) if place.is_dir() else [place.name]
    pickles = [name for name in names if name.endswith(PICKLES)]
    if pickles:
        raise pickle_refused(place, pickles, "no known format looks like this, and there is no safetensors file")
    raise FeatlasError(
        f"{place} holds no dictionary that featlas can read. Formats known: {', '.join(known)}; docs/dictionaries.md says "
        f"which files each has. Seen: {', '.join(names[:8]) or 'an empty folder'}."
    )


def _locate(path: str) -> Path:
    if path.startswith("embedded/"):
        if path not in EMBEDDED:
            raise unknown_name("embedded dictionary", path, EMBEDDED)
        return asset(path.removeprefix("embedded/") + ".safetensors")
    if path.startswith(_hub.SCHEME):
        return _hub.download(path).folder
    place = Path(path).expanduser()
    if not place.exists():
        raise UsageError(
            f"The dictionary path {path!r} does not exist. Give a folder, a file, hf://owner/name/subfolder@revision, one of "
            f"the dictionaries that come with featlas ({', '.join(EMBEDDED)}), or {' or '.join(UNITS)}."
        )
    return place
