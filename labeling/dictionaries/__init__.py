"""Dictionaries: from files on disk to an encoder. One file a format; `load` finds the format by looking at the files.

A format's file defines `matches(place) -> bool`, which looks at names only, and `create(*, path) -> Dictionary`.
Weights are read from safetensors; pickled checkpoints can run code and are refused.
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
from labeling.errors import FeatlasError, UsageError, unknown_name
from labeling.types import FloatArray

EMBEDDED = ("embedded/minilm-l2-2048", "embedded/minilm-random-l2-512")
"""Dictionaries that come with featlas."""
PICKLES = (".pt", ".pth", ".bin", ".pkl", ".ckpt")


@dataclass(frozen=True)
class Codes:
    """Non-zero feature activations, sorted by row; three tensors with one entry an activation."""

    row: torch.Tensor  # int64, row of the activations that were encoded
    feature: torch.Tensor  # int64
    value: torch.Tensor  # float32, > 0
    n_rows: int

    def dense(self, n_features: int) -> torch.Tensor:
        """The same as a matrix [n_rows, n_features]."""
        matrix = self.value.new_zeros((self.n_rows, n_features))
        matrix[self.row, self.feature] = self.value
        return matrix


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

    def encode(self, activations: torch.Tensor) -> Codes:
        """Codes of activations [n, d_model]. Rows may be encoded in any grouping with the same result."""

    def decode(self, codes: Codes) -> torch.Tensor:
        """Activations [n_rows, d_model] rebuilt from codes."""

    def directions(self) -> FloatArray:
        """Decoder directions [n_features, d_model]."""

    def to(self, device: str) -> Dictionary:
        """The same dictionary on another device."""


def load(path: str) -> Dictionary:
    """Read a dictionary from a folder, a `.safetensors` file or an `embedded/...` name.

    Raise UsageError when there is nothing at the path, FeatlasError when what is there can't be used.
    """
    place = _locate(path)
    package = sys.modules[__name__]
    for name in registry.names(package):
        if import_module(f"{__name__}.{name}").matches(place):
            dictionary: Dictionary = registry.create(package, name, kind="dictionary format", path=place)
            return dictionary
    _refuse_pickles(place)
    raise FeatlasError(
        f"{place} holds no dictionary that featlas can read. Formats known: {', '.join(registry.names(package))}; "
        f"the own format is a folder with dictionary.safetensors and card.json. Seen: {_listing(place)}."
    )


def _locate(path: str) -> Path:
    if path.startswith("embedded/"):
        if path not in EMBEDDED:
            raise unknown_name("embedded dictionary", path, EMBEDDED)
        return asset(path.removeprefix("embedded/") + ".safetensors")
    place = Path(path).expanduser()
    if not place.exists():
        raise UsageError(
            f"The dictionary path {path!r} does not exist. Give a folder with dictionary.safetensors and card.json, or one "
            f"of the dictionaries that come with featlas: {', '.join(EMBEDDED)}."
        )
    return place


def _refuse_pickles(place: Path) -> None:
    files = sorted(place.iterdir()) if place.is_dir() else [place]
    pickles = [file.name for file in files if file.suffix in PICKLES]
    if pickles:
        raise FeatlasError(
            f"{place} holds a pickled checkpoint ({', '.join(pickles)}) and no safetensors file. Reading a pickle can run "
            "any code, so featlas refuses it. Convert it where you trust its origin: "
            f"`state = torch.load({pickles[0]!r}, weights_only=True)`, then "
            "`safetensors.torch.save_file(state, 'dictionary.safetensors')`, and write a card.json beside it."
        )


def _listing(place: Path) -> str:
    names = sorted(file.name for file in place.iterdir())[:8] if place.is_dir() else [place.name]
    return ", ".join(names) or "an empty folder"
