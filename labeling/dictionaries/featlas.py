"""The project's own format: a TopK dictionary in `dictionary.safetensors`, described by `card.json`.

A folder with these two files, or a pair `NAME.safetensors` and `NAME.json`. Weights are 16-bit on disk and 32-bit in
use. Tensors: `W_enc` and `W_dec` [n_features, d_model], `b_enc` [n_features], `b_dec` [d_model]. The codes of x are the
k largest of relu(W_enc (x - b_dec) + b_enc) (Makhzani and Frey 2013; Gao et al. 2024, "Scaling and evaluating sparse
autoencoders"). The card of a trained dictionary says more than is read here; `labeling.training` writes it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import blake2b
from pathlib import Path

import torch

from labeling.dictionaries._architectures import decode
from labeling.dictionaries._codes import Codes, Origin
from labeling.dictionaries._encoding import Encoder, TopK, encode
from labeling.dictionaries._files import Settings, read_json, read_safetensors
from labeling.errors import FeatlasError
from labeling.types import JSON, FloatArray

WEIGHTS = "dictionary.safetensors"
CARD = "card.json"
FORMAT = "featlas-dictionary"
FORMAT_VERSION = 1
TOPK, RANDOM_DIRECTIONS = "topk", "random_directions"
"""Architectures: trained ones, and those of `labeling.random_directions`, read alike."""


@dataclass(frozen=True, eq=False)
class TopKDictionary:
    """Keeps the k strongest features of each activation vector."""

    w_enc: torch.Tensor  # float32 [n_features, d_model]
    b_enc: torch.Tensor  # float32 [n_features]
    w_dec: torch.Tensor  # float32 [n_features, d_model]
    b_dec: torch.Tensor  # float32 [d_model]
    k: int
    architecture: str = TOPK
    origin: Origin | None = None

    @property
    def n_features(self) -> int:
        return int(self.w_enc.shape[0])

    @property
    def d_model(self) -> int:
        return int(self.w_enc.shape[1])

    @property
    def n_bytes(self) -> int:
        return sum(tensor.nbytes for tensor in (self.w_enc, self.b_enc, self.w_dec, self.b_dec))

    @cached_property
    def fingerprint(self) -> str:
        digest = blake2b(f"topk {self.k}".encode(), digest_size=8)
        for tensor in (self.w_enc, self.b_enc, self.w_dec, self.b_dec):
            digest.update(tensor.cpu().numpy().tobytes())
        return digest.hexdigest()

    @cached_property
    def _encoder(self) -> Encoder:
        # the bias takes b_dec along, so that a batch needs one product and no subtraction
        return Encoder(self.w_enc, self.b_enc - self.w_enc @ self.b_dec)

    def encode(self, activations: torch.Tensor) -> Codes:
        return encode(self._encoder, TopK(self.k), activations)

    def decode(self, codes: Codes) -> torch.Tensor:
        return decode(codes, self.w_dec, self.b_dec)

    def directions(self) -> FloatArray:
        directions: FloatArray = self.w_dec.cpu().numpy()
        return directions

    def to(self, device: str) -> TopKDictionary:
        moved = {name: getattr(self, name).to(device) for name in ("w_enc", "b_enc", "w_dec", "b_dec")}
        return replace(self, **moved)


def matches(place: Path) -> bool:
    """Whether the folder or file looks like this format."""
    weights, card = files(place)
    return weights.is_file() and card.is_file()


def create(*, path: Path) -> TopKDictionary:
    """Read and check a dictionary. Raise FeatlasError that names the file, the value seen and what was expected."""
    weights, card_file = files(path)
    card = Settings(card_file, read_card(card_file))
    n_features, d_model, k = (card.count(key) for key in ("n_features", "d_model", "k"))
    if k > n_features:
        raise FeatlasError(
            f"{card_file}: 'k' is {k}, expected at most 'n_features', which is {n_features}. Mend the card."
        )
    shapes = {
        "W_enc": (n_features, d_model),
        "b_enc": (n_features,),
        "W_dec": (n_features, d_model),
        "b_dec": (d_model,),
    }
    tensors = read_safetensors(weights)
    w_enc, b_enc, w_dec, b_dec = (
        tensors.take(name, shape, says="the card beside it").contiguous() for name, shape in shapes.items()
    )
    origin = Origin(model=card.text("model"), hook=card.text("hook"), context_size=card.whole("sequence"))
    architecture = RANDOM_DIRECTIONS if card.text("architecture") == RANDOM_DIRECTIONS else TOPK
    return TopKDictionary(w_enc, b_enc, w_dec, b_dec, k, architecture=architecture, origin=origin)


def save(dictionary: TopKDictionary, path: Path, *, card: dict[str, JSON]) -> None:
    """Write weights and card to `path`: a folder, or a `.safetensors` file whose card stands beside it."""
    from safetensors.torch import save_file

    weights, card_file = files(path, new=True)
    weights.parent.mkdir(parents=True, exist_ok=True)
    tensors = {
        "W_enc": dictionary.w_enc,
        "b_enc": dictionary.b_enc,
        "W_dec": dictionary.w_dec,
        "b_dec": dictionary.b_dec,
    }
    save_file({name: tensor.half().contiguous() for name, tensor in tensors.items()}, weights)
    facts = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "architecture": dictionary.architecture,
        "n_features": dictionary.n_features,
        "d_model": dictionary.d_model,
        "k": dictionary.k,
    }
    card_file.write_text(json.dumps({**facts, **card}, indent=2) + "\n", encoding="utf-8")
    weights.chmod(card_file.stat().st_mode)  # the library writes it for its owner only


def rounded(dictionary: TopKDictionary) -> TopKDictionary:
    """The dictionary as it will be read back: weights rounded to 16 bits."""
    halves = {name: getattr(dictionary, name).half().float() for name in ("w_enc", "b_enc", "w_dec", "b_dec")}
    return replace(dictionary, **halves)


def read_card(file: Path) -> dict[str, JSON]:
    """Read `card.json`. Raise FeatlasError when it describes another format or architecture."""
    card = read_json(file).values
    expected = {"format": (FORMAT,), "format_version": (FORMAT_VERSION,), "architecture": (TOPK, RANDOM_DIRECTIONS)}
    for key, values in expected.items():
        if card.get(key) not in values:
            known = " or ".join(repr(value) for value in values)
            raise FeatlasError(
                f"{file}: {key!r} is {card.get(key)!r}, expected {known}. Use a dictionary written by featlas."
            )
    return dict(card)


def files(place: Path, *, new: bool = False) -> tuple[Path, Path]:
    """Weights and card of a dictionary at `place`, which need not exist yet when `new`."""
    if place.is_file() or (new and place.suffix):
        return place.with_suffix(".safetensors"), place.with_suffix(".json")
    return place / WEIGHTS, place / CARD
