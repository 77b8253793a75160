"""Write planted features as activation tables, which `source = "table"` reads: one folder a feature set.

Directions are made from the activations alone: the mean of fixed random vectors of the tokens around the places where a
feature fires (random indexing, Kanerva 2000). So neighbors are features that fire in similar company, as with a real
decoder, and nothing of a concept's definition goes into the hard negatives.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
from safetensors.numpy import save_file

from evals.planted.extents import PlantedText, in_windows
from evals.planted.features import PlantedFeature
from evals.planted.shapes import Activations
from labeling.activation_table import (
    ACTIVATIONS,
    DIRECTIONS,
    DOCUMENTS,
    FEATURES,
    TOKENS,
    TableCard,
    TableWriter,
)
from labeling.identity import identify
from labeling.types import FloatArray

DIMENSIONS = 64
AROUND = 3
"""Tokens on either side whose vectors make a direction."""


def activate(text: PlantedText, features: Sequence[PlantedFeature], *, seed: int) -> list[Activations]:
    """Activations of each feature. Each has random numbers of its own, whatever other features there are."""
    return [_activations(text, feature, seed) for feature in features]


def _activations(text: PlantedText, feature: PlantedFeature, seed: int) -> Activations:
    assert feature.fires_on.holds is not None
    assert feature.sub.holds is not None
    places = text.occurrences(feature.fires_on.holds)
    inside = in_windows(text.occurrences(feature.sub.holds), n_tokens=text.n_tokens, first=places.first, end=places.end)
    generator = np.random.default_rng([seed, int(identify("planted", name=feature.name), 16)])
    return feature.make(places, inside, text.n_tokens, generator)


def write_table(
    folder: Path,
    text: PlantedText,
    features: Sequence[PlantedFeature],
    activations: Sequence[Activations],
    *,
    seed: int,
) -> None:
    """Write one feature set. Raise UsageError when the folder is there already."""
    ids = np.array([document.document.document_id for document in text.documents])
    with TableWriter(folder, TableCard(made_from="the planted-feature benchmark")) as writer:
        writer.write(DOCUMENTS, pl.DataFrame({"document_id": ids, "text": [d.document.text for d in text.documents]}))
        writer.write(TOKENS, _token_rows(text, ids))
        writer.write(FEATURES, pl.DataFrame({"feature": range(len(features)), "name": [f.name for f in features]}))
        for number, active in enumerate(activations):
            writer.write(ACTIVATIONS, _activation_rows(text, ids, number, active))
    save_file({"directions": directions(text, activations, seed=seed)}, folder / DIRECTIONS)


def _token_rows(text: PlantedText, ids: np.ndarray) -> pl.DataFrame:
    lengths = np.diff(text.first)
    return pl.DataFrame(
        {
            "document_id": np.repeat(ids, lengths),
            "position": np.arange(text.n_tokens) - np.repeat(text.first[:-1], lengths),
            "token": [token for document in text.documents for token in document.tokens],
            "start": [start for document in text.documents for start in document.starts],
        }
    )


def _activation_rows(text: PlantedText, ids: np.ndarray, feature: int, active: Activations) -> pl.DataFrame:
    document = np.searchsorted(text.first, active.token, side="right") - 1
    return pl.DataFrame(
        {
            "feature": np.full(len(active.token), feature),
            "document_id": ids[document],
            "position": active.token - text.first[document],
            "activation": active.value,
        }
    )


def directions(text: PlantedText, activations: Sequence[Activations], *, seed: int) -> FloatArray:
    """[features, DIMENSIONS] mean vector of the tokens around a feature's activations, less that of all tokens."""
    token = np.concatenate([np.array(document.token_ids, np.int64) for document in text.documents])
    vectors = np.random.default_rng(seed).normal(size=(int(token.max()) + 1, DIMENSIONS)).astype(np.float32)
    counts = np.bincount(token, minlength=len(vectors))
    average = counts @ vectors / counts.sum()
    found = np.zeros((len(activations), DIMENSIONS), np.float32)
    offsets = np.arange(-AROUND, AROUND + 1)
    for number, active in enumerate(activations):
        if len(active.token):
            document = np.searchsorted(text.first, active.token, side="right") - 1
            first, last = text.first[document], text.first[document + 1] - 1
            around = np.clip(active.token[:, None] + offsets, first[:, None], last[:, None])
            found[number] = vectors[token[around]].mean(axis=(0, 1)) - average
    return found
