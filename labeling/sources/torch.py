"""The source `torch`: from windows to feature activations, by one forward pass of a model and its dictionaries.

Windows of a document are joined to sequences, sequences of similar length to padded batches; special tokens and padding
never count. The model stops after the last hooked module. Which windows share a batch depends on the windows alone.
Knows nothing of what is done with the events, and nothing of files except through `_models` and `dictionaries`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import polars as pl
import torch

from labeling import dictionaries
from labeling.dictionaries import Dictionary
from labeling.errors import FeatlasError, UsageError
from labeling.identity import identify
from labeling.sources import EventBatch, FeatureSetInfo
from labeling.sources._batches import Batch, batches
from labeling.sources._tokenizers import tokenize
from labeling.sources._torch_model import Precision, TorchModel, open_model
from labeling.types import Document, FloatArray, TokenizedDocument

SMALL_MODEL_BYTES = 1_000_000_000
"""Processes that run at once each hold the model: at most this much of each."""


class FeatureSetSettings(Protocol):
    """What a user says of a feature set; a section of the config file satisfies it."""

    @property
    def name(self) -> str: ...
    @property
    def model(self) -> str | None: ...
    @property
    def hook(self) -> str | None: ...
    @property
    def dictionary(self) -> str | None: ...
    @property
    def control_for(self) -> str | None: ...
    @property
    def device(self) -> str: ...


@dataclass(frozen=True)
class TorchFeatureSet:
    """A dictionary at one place of one model."""

    name: str
    model: str
    """`embedded/minilm`, `embedded/minilm-random`, a local folder, or a hub id."""
    hook: str
    """Module path whose output is encoded, such as `encoder.layer.2`."""
    dictionary: str
    """Folder or file of a dictionary, or `embedded/...`."""
    control_for: str | None = None
    device: str = "auto"


class TorchSource:
    """A FeatureSource over one model and the dictionaries hooked into it."""

    def __init__(self, model: TorchModel, dictionaries: Sequence[Dictionary], infos: Sequence[FeatureSetInfo]) -> None:
        self.model = model
        self._dictionaries = tuple(dictionaries)
        self.feature_sets = tuple(infos)

    @property
    def tokenizer_id(self) -> str:
        return self.model.tokenizer.tokenizer_id

    @property
    def parallel(self) -> bool:
        return self.model.device == "cpu" and self.model.n_bytes <= SMALL_MODEL_BYTES

    def tokenize(self, documents: Sequence[Document]) -> list[TokenizedDocument]:
        return tokenize(self.model.tokenizer, documents)

    def events(self, windows: pl.DataFrame, *, sequence: int) -> Iterator[EventBatch]:
        for batch, activations in self.hidden(windows, sequence=sequence):
            yield from self.encode(batch, activations)

    def hidden(self, windows: pl.DataFrame, *, sequence: int) -> Iterator[tuple[Batch, dict[str, torch.Tensor]]]:
        """Batches with the model's activations at each hook: `events` without the dictionaries."""
        self.model.check_length(sequence)
        for batch in batches(windows, sequence=sequence, tokenizer=self.model.tokenizer):
            yield batch, self.model.activations(batch)

    def encode(self, batch: Batch, activations: dict[str, torch.Tensor]) -> Iterator[EventBatch]:
        """Events of every feature set on one batch."""
        for index, (dictionary, info) in enumerate(zip(self._dictionaries, self.feature_sets, strict=True)):
            codes = dictionary.encode(activations[info.hook])
            row = codes.row.cpu()
            yield EventBatch(
                feature_set=index,
                feature=codes.feature.cpu(),
                window=batch.window[row],
                position=batch.position[row],
                value=codes.value.cpu(),
                n_tokens=len(batch.window),
            )

    def directions(self, feature_set: int) -> FloatArray:
        return self._dictionaries[feature_set].directions()

    def unembedding(self) -> tuple[np.ndarray, tuple[str, ...]] | None:
        """None: models are loaded without their output head."""
        return None


def create(
    *, feature_sets: Sequence[FeatureSetSettings], threads: int | None = None, precision: Precision = "float32"
) -> TorchSource:
    """Load one model and the dictionaries of its feature sets.

    `threads` None takes up to two idle cores. Raise UsageError for settings that can't be right, FeatlasError for
    files that can't be used, a dictionary of another width than its hook among them.
    """
    wanted = [_complete(feature_set) for feature_set in feature_sets]
    places = sorted({(feature_set.model, feature_set.device) for feature_set in wanted})
    if len(places) != 1:
        seen = ", ".join(f"{model} on {device}" for model, device in places) or "none"
        raise UsageError(f"A source reads one model on one device, but these are given: {seen}. Make one source each.")
    loaded = [dictionaries.load(feature_set.dictionary) for feature_set in wanted]
    model = open_model(
        places[0][0],
        [feature_set.hook for feature_set in wanted],
        device=places[0][1],
        threads=threads,
        precision=precision,
    )
    for feature_set, dictionary in zip(wanted, loaded, strict=True):
        _check_width(feature_set, dictionary, model.widths[feature_set.hook])
    infos = [_info(feature_set, each, model.weights) for feature_set, each in zip(wanted, loaded, strict=True)]
    return TorchSource(model, [dictionary.to(model.device) for dictionary in loaded], infos)


def _complete(settings: FeatureSetSettings) -> TorchFeatureSet:
    model, hook, dictionary = settings.model, settings.hook, settings.dictionary
    if model is None or hook is None or dictionary is None:
        missing = [key for key in ("model", "hook", "dictionary") if getattr(settings, key) is None]
        raise UsageError(
            f"The feature set {settings.name!r} does not say its {' and '.join(missing)}. The source 'torch' needs all of "
            "model, hook and dictionary."
        )
    return TorchFeatureSet(settings.name, model, hook, dictionary, settings.control_for, settings.device)


def _check_width(feature_set: TorchFeatureSet, dictionary: Dictionary, width: int) -> None:
    if dictionary.d_model != width:
        raise FeatlasError(
            f"The dictionary {feature_set.dictionary!r} is {dictionary.d_model} wide, but {feature_set.hook!r} of the model "
            f"{feature_set.model!r} gives {width} numbers a token. They do not belong together: check model, hook, dictionary."
        )


def _info(feature_set: TorchFeatureSet, dictionary: Dictionary, weights: str) -> FeatureSetInfo:
    return FeatureSetInfo(
        name=feature_set.name,
        model=feature_set.model,
        hook=feature_set.hook,
        dictionary=feature_set.dictionary,
        architecture=dictionary.architecture,
        n_features=dictionary.n_features,
        d_model=dictionary.d_model,
        fingerprint=identify("feature set", model=weights, hook=feature_set.hook, dictionary=dictionary.fingerprint),
        control_for=feature_set.control_for,
    )
