"""Sparse activations kept on disk while sampling, so that those around chosen windows can be read back.

One safetensors file a shard of documents, sorted by feature with an offset per feature, 10 bytes an activation: those of
a few features are one short read a file. Memory while reading depends on the features asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from labeling.events import SortedEvents
from labeling.tensor_files import map_tensors, save_tensors
from labeling.types import FloatArray, IntArray


@dataclass(frozen=True)
class Codes:
    """Non-zero activations, one an entry, sorted by feature, then window, then position."""

    feature: IntArray  # [n]
    window: IntArray  # [n]
    position: IntArray  # [n] 0-based token position in the window
    value: FloatArray  # [n] raw activation

    def __len__(self) -> int:
        return len(self.feature)

    def take(self, which: npt.NDArray[np.bool_]) -> Codes:
        return Codes(self.feature[which], self.window[which], self.position[which], self.value[which])


@dataclass(frozen=True)
class CodePart:
    """Activations of some features in some documents: by feature, and those of a window side by side, by position."""

    place: IntArray  # [n] place of the feature among those asked for, ascending
    window: npt.NDArray[np.integer]  # [n] ids
    position: npt.NDArray[np.int16]  # [n] 0-based token position in the window
    value: FloatArray  # [n] raw activation


CodeReader = Callable[[IntArray], Iterator[CodePart]]
"""Takes features (ascending); gives all their activations, every document's in one part."""


def save_codes(path: Path, events: SortedEvents, *, n_features: int) -> None:
    """Write a shard's events as codes. Raise FeatlasError when the disk does not take the file."""
    counts = torch.bincount(events.feature, minlength=n_features).cpu()
    save_tensors(
        path,
        {
            "offsets": torch.cat([counts.new_zeros(1), counts.cumsum(0)]),
            "window": events.window.int().cpu(),
            "position": events.position.to(torch.int16).cpu(),
            "value": events.value.cpu(),
        },
    )


def code_reader(paths: Sequence[Path]) -> CodeReader:
    """Reads what `save_codes` wrote, a file at a time."""
    return partial(_read_parts, paths)


def read_codes(paths: Sequence[Path], features: IntArray) -> Codes:
    """Activations of `features` (ascending) from all shards."""
    nothing = CodePart(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.int16), np.zeros(0, np.float32))
    parts = [nothing, *_read_parts(paths, features)]
    place, window, position, value = (
        np.concatenate([getattr(part, name) for part in parts]) for name in ("place", "window", "position", "value")
    )
    order = np.lexsort((position, window, place))
    return Codes(features[place[order]], window[order].astype(np.int64), position[order].astype(np.int64), value[order])


def _read_parts(paths: Sequence[Path], features: IntArray) -> Iterator[CodePart]:
    for path in paths:
        tensors = map_tensors(path)
        begins = tensors["offsets"][features]
        sizes = tensors["offsets"][features + 1] - begins
        # features that follow each other stand side by side in the file
        side_by_side = len(features) and int(features[-1]) - int(features[0]) + 1 == len(features)
        entries = slice(int(begins[0]), int(begins[-1] + sizes[-1])) if side_by_side else ranges(begins, sizes)
        place = np.repeat(np.arange(len(features)), sizes)
        yield CodePart(place, *(tensors[name][entries] for name in ("window", "position", "value")))


def ranges(begins: IntArray, sizes: IntArray) -> IntArray:
    """begins[0], begins[0] + 1, ... for `sizes[0]` numbers, then the same for the next."""
    before = sizes.cumsum() - sizes
    return np.repeat(begins - before, sizes) + np.arange(int(sizes.sum()))
