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

loader, repository, folder, overrides, factor, given, result = sys.argv[1:]

def converter(cfg_overrides, **others):
    return getattr(pretrained_sae_loaders, loader)(cfg_overrides={**cfg_overrides, **json.loads(overrides)}, **others)

sae = SAE.from_pretrained(repository, folder, converter=converter)
if float(factor) != 1:
    sae.fold_activation_norm_scaling_factor(float(factor))
codes = sae.encode(load_file(given)["x"])
save_file({"codes": codes.detach(), "rebuilt": sae.decode(codes).detach()}, result)
print(json.dumps([sae.cfg.metadata.model_name, sae.cfg.metadata.hook_name]))
"""


@dataclass(frozen=True)
class Reference:
    """What SAELens makes of a release."""

    codes: torch.Tensor
    rebuilt: torch.Tensor
    model: str
    hook: str


@dataclass(frozen=True)
class Release:
    """A folder in a hub's cache."""

    home: Path
    repository: str
    folder: str

    @property
    def path(self) -> Path:
        name = "models--" + self.repository.replace("/", "--")
        return self.home / "hub" / name / "snapshots" / COMMIT / self.folder

    def create(self) -> Path:
        self.path.mkdir(parents=True)
        branch = self.path.parents[len(Path(self.folder).parts)] / "refs" / "main"
        branch.parent.mkdir()
        branch.write_text(COMMIT)
        return self.path

    def reference(self, loader: str, *, overrides: dict[str, object] | None = None, factor: float = 1.0) -> Reference:
        given, result = self.home / "given.safetensors", self.home / "result.safetensors"
        save_file({"x": inputs()}, given)
        offline = {"HF_HOME": str(self.home), "HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
        arguments = (loader, self.repository, self.folder, json.dumps(overrides or {}), str(factor), given, result)
        done = subprocess.run(
            [sys.executable, "-c", REFERENCE, *map(str, arguments)],
            env={**os.environ, **offline},
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr
        model, hook = json.loads(done.stdout.splitlines()[-1])
        return Reference(**load_file(result), model=model, hook=hook)


def drawn(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) / 3


def ours(release: Release, reference: Reference) -> Dictionary:
    """Our dictionary, after checking that it comes from the same model and hook."""
    dictionary = load(str(release.path))
    assert dictionary.origin is not None
    assert (dictionary.origin.model or "").rpartition("/")[2] == reference.model.rpartition("/")[2]
    assert dictionary.origin.hook == reference.hook
    return dictionary


@pytest.mark.parametrize(
    ("repository", "folder", "loader"),
    [
        (
            "google/gemma-scope-2b-pt-res",
            "layer_12/width_16k/average_l0_82",
            "gemma_2_sae_huggingface_loader",
        ),
        (
            "google/gemma-scope-9b-it-mlp",
            "layer_9/width_16k/average_l0_88",
            "gemma_2_sae_huggingface_loader",
        ),
        (
            "google/gemma-scope-2b-pt-att",
            "layer_3/width_65k/average_l0_100",
            "gemma_2_sae_huggingface_loader",
        ),
        (
            "google/gemma-scope-2b-pt-transcoders",
            "layer_5/width_16k/average_l0_87",
            "gemma_2_transcoder_huggingface_loader",
        ),
    ],
)
def test_gemma_scope(tmp_path: Path, repository: str, folder: str, loader: str) -> None:
    release = Release(tmp_path, repository, folder)
    arrays = {
        "W_enc": drawn(D_IN, D_SAE, seed=0),
        "W_dec": drawn(D_SAE, D_IN, seed=1),
        "b_enc": drawn(D_SAE, seed=2),
        "b_dec": drawn(D_IN, seed=3),
        "threshold": drawn(D_SAE, seed=4).abs(),
    }
    np.savez(release.create() / "params.npz", **{name: tensor.numpy() for name, tensor in arrays.items()})
    widths: dict[str, object] = {"d_in": D_IN, "d_sae": D_SAE, "d_out": D_IN}
    reference = release.reference(loader, overrides=widths)
    dictionary = ours(release, reference)
    codes = dictionary.encode(inputs())
    assert_equal(codes.dense(D_SAE), reference.codes)
    assert_equal(dictionary.decode(codes), reference.rebuilt)


def test_llama_scope_but_for_the_scale_of_its_codes(tmp_path: Path) -> None:
    """SAELens leaves codes in the scale of training, and knows decoder directions of norm 1 alone."""
    release = Release(tmp_path, "fnlp/Llama3_1-8B-Base-LXR-8x", "Llama3_1-8B-Base-L15R-8x")
    folder = release.create()
    factor = D_IN**0.5 / NORM_IN
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
    (folder / "hyperparams.json").write_text(json.dumps(config))
    (folder / "checkpoints").mkdir()
    save_file(tensors, folder / "checkpoints" / "final.safetensors")
    reference = release.reference("llama_scope_sae_huggingface_loader", factor=factor)
    dictionary = ours(release, reference)
    codes = dictionary.encode(inputs())
    assert_equal(codes.dense(D_SAE) * factor, reference.codes)
    assert_equal(dictionary.decode(codes), reference.rebuilt)
