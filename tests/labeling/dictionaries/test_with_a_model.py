"""Dictionaries of other libraries, and none at all, behind a model."""

from pathlib import Path

import polars as pl
import pytest
import torch

from labeling.errors import UsageError
from labeling.identity import text_id
from labeling.sources.torch import TorchFeatureSet, TorchSource, create
from labeling.types import Document
from labeling.windows import cut_windows
from tests.labeling.dictionaries.builders import write_json, written
from tests.labeling.tiny_models import WIDTH, save_tiny

TEXT = "Neurons are features too, and so are directions; each fires where it is above zero."


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_tiny("gpt2", tmp_path_factory.mktemp("models") / "gpt2")


def opened(model: str, dictionary: str, hook: str | None = None, format: str | None = None) -> TorchSource:
    settings = TorchFeatureSet("some", model, hook, dictionary, device="cpu", format=format)
    return create(feature_sets=[settings], threads=1)


def windows(source: TorchSource) -> pl.DataFrame:
    return cut_windows(source.tokenize([Document(text_id(TEXT), "one", TEXT)]), corpus_id="c", width=8, seed=0)


def sae_lens_folder(folder: Path, width: int = WIDTH) -> str:
    weights = torch.randn(40, width, generator=torch.Generator().manual_seed(0))
    tensors = {"W_enc": weights.T, "b_enc": torch.zeros(40), "W_dec": weights, "b_dec": torch.zeros(width)}
    metadata = {"model_name": "gpt2-small", "hook_name": "blocks.1.hook_resid_post", "prepend_bos": True}
    config = {"architecture": "standard", "d_in": width, "d_sae": 40, "metadata": metadata}
    write_json(folder / "cfg.json", config)
    written(folder, "sae_weights.safetensors", tensors, "W_enc")
    return str(folder)


def test_a_sae_lens_folder_says_its_hook(gpt2: str, tmp_path: Path) -> None:
    source = opened(gpt2, sae_lens_folder(tmp_path))
    info = source.feature_sets[0]
    assert (info.hook, info.architecture, info.n_features) == ("blocks.1.hook_resid_post", "standard", 40)
    assert opened(gpt2, str(tmp_path), format="sae_lens").feature_sets[0].fingerprint == info.fingerprint
    with pytest.raises(UsageError, match="no dictionary format named 'saelens'"):
        opened(gpt2, str(tmp_path), format="saelens")


@pytest.mark.parametrize(
    ("name", "hook", "features"), [("neurons", "h.1.mlp.act", 64), ("directions", "h.1", 2 * WIDTH)]
)
def test_units_of_a_model_take_the_width_of_their_hook(gpt2: str, name: str, hook: str, features: int) -> None:
    source = opened(gpt2, name, hook)
    info = source.feature_sets[0]
    assert (info.dictionary, info.architecture, info.n_features) == (name, name, features)
    assert source.directions(0) is None
    table = windows(source)
    [(_, hidden)] = source.hidden(table, sequence=32)
    [events] = source.events(table, sequence=32)
    assert len(events.value) == int((hidden[hook] != 0 if name == "directions" else hidden[hook] > 0).sum())
    assert float(events.value.sum()) == pytest.approx(
        float((hidden[hook].abs() if name == "directions" else hidden[hook].clamp(min=0)).sum()), rel=1e-5
    )
