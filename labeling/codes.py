"""Sparse activations kept on disk while sampling, so that those around chosen windows can be read back.

One safetensors file a shard of documents, sorted by feature with an offset per feature, 10 bytes an activation: those of
a few features are one short read a file. Memory while reading depends on the features asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from safetensors import safe_open

from labeling.events import SortedEvents
from labeling.tensor_files import save_tensors
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
class WindowMaxima:
    """Largest activation of every active (feature, window), sorted by feature, then window."""

    feature: IntArray  # [n]
    window: IntArray  # [n]
    value: FloatArray  # [n]


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


def read_codes(paths: Sequence[Path], features: IntArray) -> Codes:
    """Activations of `features` (ascending) from all shards."""
    nothing = np.zeros(0, np.int64)
    empty = Codes(nothing, nothing, nothing, np.zeros(0, np.float32))
    parts = [empty, *(_read_shard(path, features) for path in paths)]
    feature, window, position = (
        np.concatenate([getattr(p, n) for p in parts]) for n in ("feature", "window", "position")
    )
    # every shard is in order by feature and split already, positions too: a stable sort has only to merge runs
    order = np.argsort((feature << 32) | window, kind="stable")
    value = np.concatenate([part.value for part in parts])
    return Codes(feature[order], window[order], position[order], value[order])


def _read_shard(path: Path, features: IntArray) -> Codes:
    """Activations of `features` in one shard; features that stand side by side in the file are read together."""
    with safe_open(path, framework="np") as file:
        offsets = file.get_tensor("offsets")
        begins, ends = offsets[features], offsets[features + 1]
        new_run = np.flatnonzero(begins[1:] != ends[:-1]) + 1
        runs = (
            list(zip(begins[np.append(0, new_run)], ends[np.append(new_run - 1, -1)], strict=True))
            if len(features)
            else []
        )
        window, position, value = (
            np.concatenate(
                [file.get_slice(name)[begin:end] for begin, end in runs if end > begin] or [file.get_slice(name)[:0]]
            )
            for name in ("window", "position", "value")
        )
    return Codes(np.repeat(features, ends - begins), window.astype(np.int64), position.astype(np.int64), value)


def window_maxima(codes: Codes) -> WindowMaxima:
    """The strongest activation of each (feature, window)."""
    new = np.ones(len(codes), dtype=np.bool_)
    new[1:] = (codes.feature[1:] != codes.feature[:-1]) | (codes.window[1:] != codes.window[:-1])
    starts = np.flatnonzero(new)
    value = np.maximum.reduceat(codes.value, starts) if len(starts) else codes.value
    return WindowMaxima(codes.feature[starts], codes.window[starts], value)
