"""Tensors read from a file in place are those that were saved."""

from __future__ import annotations

from pathlib import Path

import torch

from labeling.tensor_files import map_tensors, save_tensors


def test_mapped_tensors_are_the_saved_ones(tmp_path: Path) -> None:
    saved = {
        "long": torch.arange(7),
        "int": torch.arange(6, dtype=torch.int32).reshape(2, 3),
        "short": torch.arange(5, dtype=torch.int16),
        "float": torch.linspace(0, 1, 4),
        "none": torch.zeros(0),
    }
    save_tensors(tmp_path / "some.safetensors", saved)
    mapped = map_tensors(tmp_path / "some.safetensors")
    assert {name: array.tolist() for name, array in mapped.items()} == {n: t.tolist() for n, t in saved.items()}
    assert all(torch.from_numpy(mapped[name].copy()).dtype == tensor.dtype for name, tensor in saved.items())
