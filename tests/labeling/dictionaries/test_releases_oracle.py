"""Releases of others that SAELens converts itself, Gemma Scope and Llama Scope: its codes and ours, from the same files.

SAELens reads them from a hub, so the files stand in a hub's cache and SAELens runs without a network, in a process of its own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from labeling.dictionaries import Dictionary, load
from tests.labeling.dictionaries.oracles import D_IN, D_SAE, assert_equal, inputs

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        find_spec("sae_lens") is None,
        reason="SAELens, the oracle of this format, is not installed: pip install -c constraints.txt -e '.[oracle]'",
    ),
]
COMMIT = "0123456789abcdef0123456789abcdef01234567"
NORM_IN = 3.0
"""Average norm of Llama Scope's activations in these tests."""
REFERENCE = """
import json, sys, warnings
warnings.simplefilter("ignore")
from sae_lens import SAE
from sae_lens.loading import pretrained_sae_loaders
from safetensors.torch import load_file, save_file

x = load_file("given.safetensors")["x"]
for number, (loader, repository, folder, overrides, factor) in enumerate(json.loads(sys.argv[1])):
    def converter(cfg_overrides, **others):
        return getattr(pretrained_sae_loaders, loader)(cfg_overrides={**cfg_overrides, **overrides}, **others)

    sae = SAE.from_pretrained(repository, folder, converter=converter)
    if factor != 1:
        sae.fold_activation_norm_scaling_factor(factor)
    heads = 2 if sae.cfg.metadata.hook_name.endswith("hook_z") else 1  # of attention, whose outputs SAELens joins itself
    codes = sae.encode(x.view(len(x), heads, -1) if heads > 1 else x)
    rebuilt = sae.decode(codes).view(x.shape)
    save_file({"codes": codes.detach(), "rebuilt": rebuilt.detach().contiguous()}, f"{number}.safetensors")
    print(json.dumps([sae.cfg.metadata.model_name, sae.cfg.metadata.hook_name]))
"""


@dataclass(frozen=True, eq=False)
class Release:
    """A folder of a repository, and how SAELens reads it."""

    repository: str
    folder: str
    loader: str
    overrides: dict[str, object]
    factor: float = 1.0
    """What activations are multiplied by."""

    def create(self, home: Path) -> Path:
        """The folder in a hub's cache."""
        cached = home / "hub" / ("models--" + self.repository.replace("/", "--"))
        (cached / "refs").mkdir(parents=True)
        (cached / "refs" / "main").write_text(COMMIT)
        place = cached / "snapshots" / COMMIT / self.folder
        place.mkdir(parents=True)
        return place


@dataclass(frozen=True)
class Compared:
    """Our dictionary, and what SAELens makes of the same files."""

    ours: Dictionary
    codes: torch.Tensor
    rebuilt: torch.Tensor
    model: str
    hook: str


SCOPE, TRANSCODERS = "gemma_2_sae_huggingface_loader", "gemma_2_transcoder_huggingface_loader"
WIDTHS: dict[str, object] = {"d_in": D_IN, "d_sae": D_SAE}
GEMMA = (
    Release("google/gemma-scope-2b-pt-res", "layer_12/width_16k/average_l0_82", SCOPE, WIDTHS),
    Release("google/gemma-scope-9b-it-mlp", "layer_9/width_16k/average_l0_88", SCOPE, WIDTHS),
    Release("google/gemma-scope-2b-pt-att", "layer_3/width_65k/average_l0_100", SCOPE, WIDTHS),
    Release(
        "google/gemma-scope-2b-pt-transcoders",
        "layer_5/width_16k/average_l0_87",
        TRANSCODERS,
        {**WIDTHS, "d_out": D_IN},
    ),
)
LLAMA = Release(
    "fnlp/Llama3_1-8B-Base-LXR-8x",
    "Llama3_1-8B-Base-L15R-8x",
    "llama_scope_sae_huggingface_loader",
    {},
    factor=D_IN**0.5 / NORM_IN,
)


def drawn(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) / 3


def write_gemma(place: Path) -> None:
    arrays = {
        "W_enc": drawn(D_IN, D_SAE, seed=0),
        "W_dec": drawn(D_SAE, D_IN, seed=1),
        "b_enc": drawn(D_SAE, seed=2),
        "b_dec": drawn(D_IN, seed=3),
        "threshold": drawn(D_SAE, seed=4).abs(),
    }
    made: dict[str, Any] = {name: tensor.numpy() for name, tensor in arrays.items()}
    np.savez(place / "params.npz", **made)


def write_llama(place: Path) -> None:
    config = {
        "d_model": D_IN,
        "d_sae": D_SAE,
        "act_fn": "jumprelu",
        "jump_relu_threshold": 0.4,
        "norm_activation": "dataset-wise",
        "dataset_average_activation_norm": {"in": NORM_IN, "out": NORM_IN},
        "hook_point_in": "blocks.15.hook_resid_post",
        "hook_point_out": "blocks.15.hook_resid_post",
        "use_decoder_bias": True,
    }
    tensors = {
        "encoder.weight": drawn(D_SAE, D_IN, seed=0),
        "encoder.bias": drawn(D_SAE, seed=1),
        "decoder.weight": torch.nn.functional.normalize(drawn(D_IN, D_SAE, seed=2), dim=0),
        "decoder.bias": drawn(D_IN, seed=3),
    }
    (place / "hyperparams.json").write_text(json.dumps(config))
    (place / "checkpoints").mkdir()
    save_file(tensors, place / "checkpoints" / "final.safetensors")


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> dict[Release, Compared]:
    """All releases, read by SAELens in one process."""
    home, releases = tmp_path_factory.mktemp("hub"), (*GEMMA, LLAMA)
    places = [release.create(home) for release in releases]
    for release, place in zip(releases, places, strict=True):
        write_llama(place) if release is LLAMA else write_gemma(place)
    save_file({"x": inputs()}, home / "given.safetensors")
    offline = {"HF_HOME": str(home), "HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
    jobs = [(one.loader, one.repository, one.folder, one.overrides, one.factor) for one in releases]
    done = subprocess.run(
        [sys.executable, "-c", REFERENCE, json.dumps(jobs)],
        env={**os.environ, **offline},
        cwd=home,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    said = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("[")]
    return {
        release: Compared(load(str(place)), **load_file(home / f"{number}.safetensors"), model=model, hook=hook)
        for number, (release, place, (model, hook)) in enumerate(zip(releases, places, said, strict=True))
    }


def check(one: Compared, *, scale: float = 1.0) -> None:
    """Codes, but for a scale, what is rebuilt from them, and where it was trained."""
    codes = one.ours.encode(inputs())
    assert 0.01 < len(codes.value) / one.codes.numel() < 0.9
    assert_equal(codes.dense(D_SAE) * scale, one.codes)
    assert_equal(one.ours.decode(codes), one.rebuilt)
    assert one.ours.origin is not None
    assert (one.ours.origin.model or "").rpartition("/")[2] == one.model.rpartition("/")[2]
    assert one.ours.origin.hook == one.hook


@pytest.mark.parametrize("release", GEMMA, ids=lambda release: release.repository.partition("/")[2])
def test_gemma_scope(compared: dict[Release, Compared], release: Release) -> None:
    check(compared[release])


def test_llama_scope_but_for_the_scale_of_its_codes(compared: dict[Release, Compared]) -> None:
    """SAELens leaves codes in the scale of training, and knows decoder directions of norm 1 alone."""
    check(compared[LLAMA], scale=LLAMA.factor)
