"""A dictionary of random directions that is as sparse as a trained one: a control for what training found.

From a model, a corpus and a dictionary to another of the same width on disk, whose features fire on the same shares of
tokens, in directions that mean nothing. A feature set on it (`control_for`) goes through the whole pipeline.
"""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch

from labeling.corpora import Corpus
from labeling.dictionaries import Dictionary, featlas, fitted, load
from labeling.dictionaries.featlas import RANDOM_DIRECTIONS, TopKDictionary
from labeling.errors import FeatlasError
from labeling.sources._torch_model import open_model
from labeling.topk_trainer import Progress
from labeling.training import Halves, blocks, collect
from labeling.types import JSON

DIRECTIONS_TOGETHER = 128
"""Directions whose projections of all tokens are held at once: 100 MB for 200,000 tokens."""


def draw_directions(
    *,
    model: str,
    hook: str,
    like: str,
    corpus: Corpus,
    output: Path,
    seed: int,
    max_tokens: int | None = None,
    sequence: int = 256,
    device: str = "auto",
    threads: int | None = None,
    progress: Progress | None = None,
) -> dict[str, JSON]:
    """Write random directions as sparse as the dictionary `like` to `output`; return the card.

    Raise FeatlasError when the dictionary is of another width than the hooked place.
    """
    opened = open_model(model, [hook], device=device, threads=threads)
    width = opened.widths[hook]
    reference = fitted(load(like), width=width)
    if reference.d_model != width:
        raise FeatlasError(
            f"{like} is of width {reference.d_model}, but {hook} of {model} gives {width} numbers a token. Name the hook "
            "that the dictionary was trained on."
        )
    read = collect(opened, corpus, max_tokens=max_tokens, sequence=sequence, progress=progress)
    rates = firing_rates(reference, read.training, read.held_out)
    made = match_rates(rates, read.training, read.held_out, generator=np.random.default_rng(seed))
    made_from = {"model": model, "hook": hook, "corpus": corpus.name, "sequence": sequence, "max_tokens": max_tokens}
    facts = {"like": like, "seed": seed, "n_tokens": len(read.training) + len(read.held_out)}
    packages = {"packages": {name: version(name) for name in ("torch", "transformers", "numpy")}}
    featlas.save(made, output, card={**made_from, **facts, **packages})
    return featlas.read_card(featlas.files(output, new=True)[1])


def firing_rates(dictionary: Dictionary, *parts: Halves) -> torch.Tensor:
    """[n_features] share of tokens on which each feature is active. `parts` hold activations [n, d_model]."""
    fired = torch.zeros(dictionary.n_features, dtype=torch.int64)
    for block in blocks(*parts):
        fired += torch.bincount(dictionary.encode(block).feature, minlength=dictionary.n_features)
    return fired / sum(len(part) for part in parts)


def match_rates(rates: torch.Tensor, *parts: Halves, generator: np.random.Generator) -> TopKDictionary:
    """Random unit directions with thresholds at which feature i fires on the share `rates[i]` of the tokens.

    A rate of 0 is a threshold above all tokens. Directions are rounded first, as they will be read back.
    """
    d_model, n = parts[0].shape[1], len(rates)
    drawn = torch.from_numpy(generator.standard_normal((n, d_model)).astype(np.float32))
    directions = torch.nn.functional.normalize(drawn, dim=1).half().float()
    center = torch.cat([block.double().sum(0, keepdim=True) for block in blocks(*parts)]).sum(0)
    center = (center / sum(len(part) for part in parts)).half().float()
    bias = torch.cat(
        [
            -_thresholds(
                directions[start : start + DIRECTIONS_TOGETHER],
                rates[start : start + DIRECTIONS_TOGETHER],
                center,
                parts,
            )
            for start in range(0, n, DIRECTIONS_TOGETHER)
        ]
    )
    return featlas.rounded(
        TopKDictionary(
            w_enc=directions, b_enc=bias, w_dec=directions, b_dec=center, k=n, architecture=RANDOM_DIRECTIONS
        )
    )


def _thresholds(
    directions: torch.Tensor, rates: torch.Tensor, center: torch.Tensor, parts: tuple[Halves, ...]
) -> torch.Tensor:
    """The projection that a share `rates` [m] of all tokens exceeds, for each direction [m, d_model]."""
    projected = torch.cat([(block - center) @ directions.T for block in blocks(*parts)])  # [tokens, m]
    n_tokens = len(projected)
    firing = (rates * n_tokens).round().long().clamp(0, n_tokens - 1)
    ordered = projected.sort(dim=0, descending=True).values
    limit = ordered.gather(0, firing[None])[0]
    return torch.where(firing > 0, limit, ordered[0].abs() + 1)
