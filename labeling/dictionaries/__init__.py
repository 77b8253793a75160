"""Dictionaries: from files on disk to an encoder. One file a format; `load` finds the format by looking at the files.

A format's file defines `matches(place) -> bool`, which looks at names only, and `create(*, path) -> Dictionary`; the
mathematics is in `_architectures.py`, once for all formats. Nothing that is read can run code: of pickled checkpoints
only those that hold nothing but tensors are read.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Protocol

import torch

from labeling import registry
from labeling.assets import asset
from labeling.dictionaries import _hub
from labeling.dictionaries._codes import Codes as Codes
from labeling.dictionaries._codes import Origin as Origin
from labeling.dictionaries._files import PICKLES, pickle_refused
from labeling.dictionaries._units import Units
from labeling.errors import FeatlasError, UsageError, unknown_name
from labeling.types import FloatArray

EMBEDDED = ("embedded/minilm-l2-2048", "embedded/minilm-random-l2-512")
"""Dictionaries that come with featlas."""
UNITS = ("neurons", "directions")
"""What stands for a dictionary where there is none: the positive part of each unit of the hooked place; or of each unit,
then the negative part of each."""


class Dictionary(Protocol):
    @property
    def n_features(self) -> int: ...

    @property
    def d_model(self) -> int: ...

    @property
    def n_bytes(self) -> int:
        """Memory of the weights."""

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

    A name of UNITS stands for no dictionary, and has no width until it is `fitted`. `format` overrides what the files
    look like. Raise UsageError when there is nothing at the path or no such format,
    FeatlasError when what is there can't be used.
    """
    if path in UNITS:
        return Units(signed=path == "directions")
    place = _locate(path)
    package = sys.modules[__name__]
    name = format if format is not None else _format_of(place)
    dictionary: Dictionary = registry.create(package, name, kind="dictionary format", path=place)
    return dictionary


def stored_name(path: str) -> str:
    """How tables name a dictionary: the path as it is written; a hub id with the exact commit, raising as `load` does."""
    return _hub.download(path).name if path.startswith(_hub.SCHEME) else path


def fitted(dictionary: Dictionary, *, width: int) -> Dictionary:
    """The dictionary for a place of `width` numbers a token: units of the model take that width, others have their own."""
    return replace(dictionary, d_model=width) if isinstance(dictionary, Units) else dictionary


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
