"""SAELens writes dictionaries of every architecture; what featlas makes of them must equal what SAELens makes of them."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch

from labeling.dictionaries import load
from tests.labeling.dictionaries.oracles import D_IN, D_SAE, assert_equal, inputs
from tests.labeling.dictionaries.oracles import filled as with_random_tensors

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        find_spec("sae_lens") is None,
        reason="SAELens, the oracle of this format, is not installed: pip install -c constraints.txt -e '.[oracle]'",
    ),
]
D_OUT = 20


@pytest.fixture(scope="module")
def sae_lens() -> Iterator[Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the packages that come with it
        import sae_lens

        yield sae_lens


def common(sae_lens: Any) -> dict[str, Any]:
    metadata = sae_lens.saes.sae.SAEMetadata(model_name="gpt2", hook_name="blocks.1.hook_resid_pre", context_size=64)
    return {"d_in": D_IN, "d_sae": D_SAE, "metadata": metadata}


def filled(sae: Any) -> Any:
    """The same dictionary with random tensors, and one threshold that some features reach."""
    drawn = with_random_tensors(sae)
    if hasattr(drawn, "topk_threshold"):
        drawn.topk_threshold.fill_(0.7)
    return drawn


def check(reference: Any, folder: Path) -> None:
    """Codes and rebuilt activations of the folder's dictionary are the reference's."""
    ours, x = load(str(folder)), inputs()
    with torch.no_grad():
        expected = reference.encode(x)
        rebuilt = reference.decode(expected)
    codes = ours.encode(x)
    share = len(codes.value) / expected.numel()
    assert 0.01 < share < 0.9, "a comparison needs features that fire and features that don't"
    assert_equal(codes.dense(D_SAE), expected)
    assert_equal(ours.decode(codes), rebuilt)


NORMALIZED = [
    {"apply_b_dec_to_input": apply, "normalize_activations": normalization}
    for apply in (True, False)
    for normalization in ("none", "expected_average_only_in", "constant_norm_rescale", "layer_norm")
]


@pytest.mark.parametrize("settings", NORMALIZED, ids=lambda s: "-".join(str(value) for value in s.values()))
@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("StandardSAE", {}),
        ("GatedSAE", {}),
        ("JumpReLUSAE", {}),
        ("TopKSAE", {"k": 7}),
        ("TopKSAE", {"k": 7, "rescale_acts_by_decoder_norm": True}),
    ],
    ids=["standard", "gated", "jumprelu", "topk", "topk-rescaled"],
)
@pytest.mark.filterwarnings("ignore")
def test_every_architecture_and_normalization(
    sae_lens: Any, tmp_path: Path, name: str, more: dict[str, Any], settings: dict[str, Any]
) -> None:
    config = getattr(sae_lens, f"{name}Config")(**common(sae_lens), **more, **settings)
    reference = filled(getattr(sae_lens, name)(config))
    reference.save_model(tmp_path)
    check(sae_lens.SAE.load_from_disk(tmp_path), tmp_path)


@pytest.mark.parametrize("normalization", ["none", "layer_norm", "constant_norm_rescale"])
@pytest.mark.parametrize("name", ["Transcoder", "SkipTranscoder", "JumpReLUTranscoder", "JumpReLUSkipTranscoder"])
@pytest.mark.filterwarnings("ignore")
def test_transcoders(sae_lens: Any, tmp_path: Path, name: str, normalization: str) -> None:
    config = getattr(sae_lens, f"{name}Config")(
        **common(sae_lens), d_out=D_OUT, apply_b_dec_to_input=False, normalize_activations=normalization
    )
    reference = filled(getattr(sae_lens, name)(config))
    reference.save_model(tmp_path)
    check(reference, tmp_path)
    directions = load(str(tmp_path)).directions()
    assert directions is not None
    assert directions.shape == (D_SAE, D_OUT)


@pytest.mark.parametrize("rescaled", [True, False])
@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("StandardTrainingSAE", {}),
        ("GatedTrainingSAE", {}),
        ("JumpReLUTrainingSAE", {}),
        ("TopKTrainingSAE", {"k": 7}),
        ("BatchTopKTrainingSAE", {"k": 7}),
        ("MatryoshkaBatchTopKTrainingSAE", {"k": 7, "matryoshka_widths": [24, D_SAE]}),
    ],
    ids=["standard", "gated", "jumprelu", "topk", "batchtopk", "matryoshka"],
)
@pytest.mark.filterwarnings("ignore")
def test_what_a_training_run_saves(
    sae_lens: Any, tmp_path: Path, name: str, more: dict[str, Any], rescaled: bool
) -> None:
    if "k" in more:
        more = {**more, "rescale_acts_by_decoder_norm": rescaled}
    trained = filled(getattr(sae_lens, name)(getattr(sae_lens, f"{name}Config")(**common(sae_lens), **more)))
    trained.save_inference_model(tmp_path / "inference")
    reference = sae_lens.SAE.load_from_disk(tmp_path / "inference")
    check(reference, tmp_path / "inference")
    trained.save_model(tmp_path / "checkpoint")
    ours = load(str(tmp_path / "checkpoint")).encode(inputs())
    assert_equal(ours.dense(D_SAE), reference.encode(inputs()).detach())


@pytest.mark.parametrize("name", ["StandardTrainingSAE", "TopKTrainingSAE", "BatchTopKTrainingSAE"])
@pytest.mark.filterwarnings("ignore")
def test_a_checkpoint_of_scaled_activations_takes_the_factor_beside_it(
    sae_lens: Any, tmp_path: Path, name: str
) -> None:
    config = getattr(sae_lens, f"{name}Config")(
        **common(sae_lens), normalize_activations="expected_average_only_in", **({"k": 7} if "K" in name else {})
    )
    trained = filled(getattr(sae_lens, name)(config))
    trained.save_model(tmp_path / "checkpoint")
    (tmp_path / "checkpoint" / "activation_scaler.json").write_text(json.dumps({"scaling_factor": 0.8}))
    trained.fold_activation_norm_scaling_factor(0.8)
    trained.save_inference_model(tmp_path / "inference")
    check(sae_lens.SAE.load_from_disk(tmp_path / "inference"), tmp_path / "checkpoint")


@pytest.mark.filterwarnings("ignore")
def test_a_config_from_before_version_6(sae_lens: Any, tmp_path: Path) -> None:
    filled(sae_lens.StandardSAE(sae_lens.StandardSAEConfig(**common(sae_lens)))).save_model(tmp_path)
    old = {
        "d_in": D_IN,
        "d_sae": D_SAE,
        "dtype": "float32",
        "device": "cpu",
        "model_name": "gpt2-small",
        "hook_point": "blocks.8.hook_resid_pre",
        "activation_fn_str": "topk",
        "activation_fn_kwargs": {"k": 5},
        "normalize_activations": False,
        "prepend_bos": True,
        "context_size": 128,
    }
    (tmp_path / "cfg.json").write_text(json.dumps(old))
    check(sae_lens.SAE.load_from_disk(tmp_path), tmp_path)
