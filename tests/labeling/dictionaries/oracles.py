"""What tests of several oracles share: their dictionaries filled with random numbers, and the comparison."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from labeling.dictionaries import load

D_IN, D_SAE = 24, 96


def filled(module: Any) -> Any:
    """The same dictionary with every floating-point tensor drawn at random, so that no part of the formula is idle."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, tensor in sorted(module.state_dict().items()):
            if tensor.is_floating_point():
                drawn = torch.randn(tensor.shape, generator=generator, dtype=tensor.dtype)
                tensor.copy_({"threshold": drawn.abs() / 2, "log_threshold": drawn / 4}.get(name, drawn / 3))
    return module


def inputs() -> torch.Tensor:
    return 2 * torch.randn(200, D_IN, generator=torch.Generator().manual_seed(1)) + 0.5


def check(folder: Path, *, codes: torch.Tensor, rebuilt: torch.Tensor | None) -> None:
    """Codes of `inputs` by the folder's dictionary, and what is rebuilt from them, are the reference's."""
    ours = load(str(folder))
    found = ours.encode(inputs())
    share = len(found.value) / codes.numel()
    assert 0.01 < share < 0.9, "a comparison needs features that fire and features that don't"
    assert_equal(found.dense(codes.shape[1]), codes)
    if rebuilt is not None:
        assert_equal(ours.decode(found), rebuilt)


def assert_equal(ours: torch.Tensor, reference: torch.Tensor) -> None:
    """To 1e-5 relative; numbers near zero to 1e-6 of the largest, which is what sums in another order leave."""
    torch.testing.assert_close(ours, reference, rtol=1e-5, atol=1e-6 * float(reference.abs().max()))
