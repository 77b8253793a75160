"""Where stage sample keeps its tensors: sampler states, sparse codes, decoder directions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from safetensors.torch import load_file

from labeling.sampler import SamplerState, state_from
from labeling.workspace import Workspace


def state_file(workspace: Workspace, sample_id: str, shard: int | None = None) -> Path:
    """Where the sampler state of a shard stands; the merged one without a number."""
    name = "state" if shard is None else f"state-{shard:05d}"
    return workspace.sampler / sample_id / f"{name}.safetensors"


def codes_file(workspace: Workspace, sample_id: str, shard: int) -> Path:
    return workspace.sampler / sample_id / f"codes-{shard:05d}.safetensors"


def load_state(path: Path) -> SamplerState:
    return state_from(load_file(path))


def directions_file(workspace: Workspace, sample_id: str) -> Path:
    """Where the decoder directions of a sample stand; absent when the source knows none."""
    return workspace.vectors / f"directions-{sample_id}.safetensors"


def load_directions(workspace: Workspace, sample_id: str) -> np.ndarray | None:
    """Decoder directions [n_features, d_model] float32, or None when unknown."""
    path = directions_file(workspace, sample_id)
    return load_file(path)["directions"].numpy() if path.exists() else None
