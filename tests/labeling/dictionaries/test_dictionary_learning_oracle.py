"""dictionary_learning's own classes beside what featlas makes of the files that its trainers write."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.labeling.dictionaries.oracles import D_IN, D_SAE, check, filled, inputs

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        find_spec("dictionary_learning") is None,
        reason="dictionary-learning, the oracle of this format, is not installed. It wants older versions of other packages: "
        "pip install --no-deps dictionary-learning 'nnsight<0.4' and what they import, in an environment of its own.",
    ),
]
K = 7
CLASSES: dict[str, tuple[str, dict[str, Any]]] = {
    "AutoEncoder": ("dictionary", {}),
    "AutoEncoderNew": ("dictionary", {}),
    "GatedAutoEncoder": ("dictionary", {}),
    "JumpReluAutoEncoder": ("dictionary", {}),
    "AutoEncoderTopK": ("trainers.top_k", {"k": K}),
    "BatchTopKSAE": ("trainers.batch_top_k", {"k": K}),
    "MatryoshkaBatchTopKSAE": ("trainers.matryoshka_batch_top_k", {"k": K, "group_sizes": [32, D_SAE - 32]}),
}


@pytest.fixture(scope="module", autouse=True)
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the packages that come with it
        yield


def made(name: str) -> Any:
    module, settings = CLASSES[name]
    kind = getattr(import_module(f"dictionary_learning.{module}"), name)
    dictionary = filled(kind(D_IN, D_SAE, **settings))
    if "threshold" in dict(dictionary.named_buffers()):
        dictionary.threshold.fill_(0.7)
    return dictionary


def written(dictionary: Any, name: str, folder: Path) -> Path:
    """As its trainers save: the state dict, and the config of trainer and buffer."""
    torch.save(dictionary.state_dict(), folder / "ae.pt")
    trainer = {"dict_class": name, "activation_dim": D_IN, "dict_size": D_SAE, "k": K, "layer": 3, "lm_name": "gpt2"}
    (folder / "config.json").write_text(json.dumps({"trainer": trainer, "buffer": {"ctx_len": 128}}))
    return folder


@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.filterwarnings("ignore")
def test_every_class(tmp_path: Path, name: str) -> None:
    reference = made(name)
    with torch.no_grad():
        codes = reference.encode(inputs())
        rebuilt = reference.decode(codes)
    check(written(reference, name, tmp_path), codes=codes, rebuilt=rebuilt)
