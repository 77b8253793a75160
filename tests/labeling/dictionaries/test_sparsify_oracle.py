"""EleutherAI's sparsify writes dictionaries; what featlas makes of them must equal what sparsify makes of them."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.labeling.dictionaries.oracles import D_IN, check, filled, inputs

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        find_spec("sparsify") is None,
        reason="sparsify, the oracle of this format, is not installed: pip install -c constraints.txt -e '.[oracle]'",
    ),
]


@pytest.fixture(scope="module")
def sparsify() -> Iterator[Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the packages that come with it
        import sparsify

        yield sparsify


@pytest.mark.parametrize(
    "settings",
    [
        {"activation": "topk", "k": 7},
        {"activation": "topk", "k": 7, "num_latents": 80, "normalize_decoder": False},
        {"activation": "groupmax", "k": 8},
        {"activation": "topk", "k": 7, "transcode": True},
        {"activation": "topk", "k": 7, "transcode": True, "skip_connection": True},
    ],
    ids=lambda settings: "-".join(f"{value}" for value in settings.values()),
)
@pytest.mark.filterwarnings("ignore")
def test_what_sparsify_saves(sparsify: Any, tmp_path: Path, settings: dict[str, Any]) -> None:
    coder = filled(sparsify.SparseCoder(D_IN, sparsify.SparseCoderConfig(expansion_factor=4, **settings)))
    coder.save_to_disk(tmp_path / "layers.3")
    reference = sparsify.SparseCoder.load_from_disk(tmp_path / "layers.3")
    with torch.no_grad():
        found = reference.encode(inputs())
        codes = torch.zeros(len(inputs()), reference.num_latents).scatter_(1, found.top_indices, found.top_acts)
        rebuilt = reference.decode(found.top_acts, found.top_indices)
    check(tmp_path / "layers.3", codes=codes, rebuilt=rebuilt)
