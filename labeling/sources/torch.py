"""The source `torch`: from windows to feature activations, by one forward pass of a model and its dictionaries.

Windows of a document are joined to sequences, sequences of similar length to padded batches; special tokens and padding
never count. The model stops after the last hooked module. Which windows share a batch depends on the windows alone.
Knows nothing of what is done with the events, and nothing of files except through `_models` and `dictionaries`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import polars as pl
import torch

from labeling import dictionaries
from labeling.dictionaries import Dictionary, Origin
from labeling.errors import FeatlasError, UsageError
from labeling.identity import identify
from labeling.sources import EventBatch, FeatureSetInfo, NamedFeatureSet
from labeling.sources._ahead import ahead
from labeling.sources._batches import Batch, batches
from labeling.sources._models import Precision, outline
from labeling.sources._origins import check_hook, check_model
from labeling.sources._tokenizers import tokenize
from labeling.sources._torch_model import TorchModel, open_model
from labeling.types import Document, FloatArray, TokenizedDocument

SMALL_MODEL_BYTES = 1_000_000_000
"""Processes that run at once each hold the model and its dictionaries: at most this much of both."""


class FeatureSetSettings(NamedFeatureSet, Protocol):
    """What this source reads besides."""

    @property
    def device(self) -> str: ...
    @property
    def dtype(self) -> Precision: ...
    @property
    def prepend_bos(self) -> bool | None: ...
    @property
    def force(self) -> bool: ...
    @property
    def format(self) -> str | None: ...


@dataclass(frozen=True)
class TorchFeatureSet:
    """A dictionary at one place of one model."""

    name: str
    model: str | None
    """`embedded/minilm`, `embedded/minilm-random`, a local folder, or a hub id."""
    hook: str | None
    """Place that is encoded, such as `encoder.layer.2` (`_hooks`). None takes what the dictionary was trained at."""
    dictionary: str | None
    """Folder or file of a dictionary, or `embedded/...`."""
    control_for: str | None = None
    device: str = "auto"
    dtype: Precision = "float32"
    prepend_bos: bool | None = None
    """Whether sequences start with a BOS token. None: as the dictionary was trained, else as the tokenizer does."""
    force: bool = False
    """Go on when the dictionary says that it belongs to another model or hook."""
    format: str | None = None
    """Format of the dictionary's files. None: what they look like."""


@dataclass(frozen=True)
class _Loaded:
    """A feature set whose settings are complete, with its dictionary."""

    name: str
    model: str
    hook: str
    prepend_bos: bool | None
    settings: FeatureSetSettings
    dictionary: Dictionary
    origin: Origin | None


class TorchSource:
    """A FeatureSource over one model and the dictionaries hooked into it."""

    def __init__(self, model: TorchModel, dictionaries: Sequence[Dictionary], infos: Sequence[FeatureSetInfo]) -> None:
        self.model = model
        self.dictionaries = tuple(dictionaries)
        self.feature_sets = tuple(infos)

    @property
    def tokenizer_id(self) -> str:
        return self.model.tokenizer.tokenizer_id

    @property
    def parallel(self) -> bool:
        n_bytes = self.model.n_bytes + sum(dictionary.n_bytes for dictionary in self.dictionaries)
        return self.model.device == "cpu" and n_bytes <= SMALL_MODEL_BYTES

    def tokenize(self, documents: Sequence[Document]) -> list[TokenizedDocument]:
        return tokenize(self.model.tokenizer, documents)

    def events(self, windows: pl.DataFrame, *, sequence: int) -> Iterator[EventBatch]:
        """As the protocol says. A GPU is a few batches ahead of whoever takes the events."""
        made = self._events(windows, sequence=sequence)
        return made if self.model.device == "cpu" else ahead(made)

    def _events(self, windows: pl.DataFrame, *, sequence: int) -> Iterator[EventBatch]:
        for batch, activations in self.hidden(windows, sequence=sequence):
            yield from self.encode(batch, activations)

    def hidden(self, windows: pl.DataFrame, *, sequence: int) -> Iterator[tuple[Batch, dict[str, torch.Tensor]]]:
        """Batches with the model's activations at each hook: `events` without the dictionaries."""
        self.model.check_length(sequence)
        for batch in batches(windows, sequence=sequence, tokenizer=self.model.tokenizer):
            yield batch, self.model.activations(batch)

    def encode(self, batch: Batch, activations: dict[str, torch.Tensor]) -> Iterator[EventBatch]:
        """Events of every feature set on one batch."""
        for index, (dictionary, info) in enumerate(zip(self.dictionaries, self.feature_sets, strict=True)):
            codes = dictionary.encode(activations[info.hook])
            device = codes.row.device
            yield EventBatch(
                feature_set=index,
                feature=codes.feature,
                window=batch.window.to(device)[codes.row],
                position=batch.position.to(device)[codes.row],
                value=codes.value,
                n_tokens=len(batch.window),
            )

    def directions(self, feature_set: int) -> FloatArray | None:
        return self.dictionaries[feature_set].directions()

    def unembedding(self) -> tuple[np.ndarray, tuple[str, ...]] | None:
        """None: models are loaded without their output head."""
        return None


def create(*, feature_sets: Sequence[FeatureSetSettings], threads: int | None = None) -> TorchSource:
    """Load one model and the dictionaries of its feature sets.

    `threads` None takes up to two idle cores. Raise UsageError for settings that can't be right, a dictionary trained at
    another place among them; FeatlasError for files that can't be used, a dictionary of another width than its hook
    among them.
    """
    _check_one_model(feature_sets)
    return assemble(
        feature_sets, [dictionaries.load(_dictionary(one), format=one.format) for one in feature_sets], threads=threads
    )


def assemble(
    feature_sets: Sequence[FeatureSetSettings], opened: Sequence[Dictionary], *, threads: int | None = None
) -> TorchSource:
    """`create` with dictionaries that are loaded already, one for each feature set."""
    loaded = [_complete(settings, dictionary) for settings, dictionary in zip(feature_sets, opened, strict=True)]
    first = loaded[0]
    _check_hooks(loaded)
    model = open_model(
        first.model,
        [feature_set.hook for feature_set in loaded],
        device=first.settings.device,
        threads=threads,
        dtype=first.settings.dtype,
        prepend_bos=_one_start(loaded),
    )
    loaded = [
        replace(one, dictionary=dictionaries.fitted(one.dictionary, width=model.widths[one.hook])) for one in loaded
    ]
    for feature_set in loaded:
        _check_width(feature_set, model.widths[feature_set.hook])
    infos = [_info(feature_set, model) for feature_set in loaded]
    return TorchSource(model, [feature_set.dictionary.to(model.device) for feature_set in loaded], infos)


def _check_one_model(feature_sets: Sequence[FeatureSetSettings]) -> None:
    places = sorted({(str(one.model), one.device, one.dtype) for one in feature_sets})
    if len(places) != 1:
        seen = ", ".join(f"{model} on {device} in {dtype}" for model, device, dtype in places) or "none"
        raise UsageError(f"A source reads one model on one device, but these are given: {seen}. Make one source each.")


def _dictionary(settings: FeatureSetSettings) -> str:
    missing = [key for key in ("model", "dictionary") if getattr(settings, key) is None]
    if settings.dictionary is None or missing:
        raise UsageError(
            f"The feature set {settings.name!r} does not say its {' and '.join(missing)}. The source 'torch' needs both."
        )
    return settings.dictionary


def _complete(settings: FeatureSetSettings, dictionary: Dictionary) -> _Loaded:
    """Take from the dictionary's origin what the settings leave out."""
    origin = dictionary.origin
    model = settings.model or ""
    if not settings.force:
        check_model(origin, feature_set=settings.name, model=model)
    hook = settings.hook or (origin.hook if origin else None)
    if hook is None:
        raise UsageError(
            f"The feature set {settings.name!r} does not say its hook, and its dictionary {settings.dictionary!r} does not say "
            "where it was trained. Set `hook` to a module path of the model or a TransformerLens name."
        )
    start = settings.prepend_bos
    if start is None and origin is not None:
        start = origin.prepend_bos
    return _Loaded(settings.name, model, hook, start, settings, dictionary, origin)


def _check_hooks(loaded: Sequence[_Loaded]) -> None:
    """Before any weight is read, or fetched from the hub: every hook exists, and is where its dictionary was trained."""
    whole = outline(loaded[0].model)
    for feature_set in loaded:
        check_hook(
            None if feature_set.settings.force else feature_set.origin,
            feature_set=feature_set.name,
            hook=feature_set.hook,
            module=whole,
            model=feature_set.model,
        )


def _one_start(loaded: Sequence[_Loaded]) -> bool | None:
    """Whether sequences start with BOS, for all feature sets of one forward pass."""
    starts = {feature_set.prepend_bos for feature_set in loaded}
    if len(starts) > 1:
        seen = ", ".join(f"{one.name}: {_start_in_words(one.prepend_bos)}" for one in loaded)
        raise UsageError(
            f"Dictionaries of one model were trained on sequences that start differently ({seen}), so that one pass can't "
            "serve them. Set `prepend_bos` on each: those that differ are read in passes of their own."
        )
    return starts.pop()


def _start_in_words(prepend_bos: bool | None) -> str:
    return {True: "with BOS", False: "without BOS", None: "not known"}[prepend_bos]


def _check_width(feature_set: _Loaded, width: int) -> None:
    if feature_set.dictionary.d_model != width:
        raise FeatlasError(
            f"The dictionary {feature_set.settings.dictionary!r} is {feature_set.dictionary.d_model} wide, but "
            f"{feature_set.hook!r} of the model {feature_set.model!r} gives {width} numbers a token. They do not belong "
            "together: check model, hook, dictionary."
        )


def _info(feature_set: _Loaded, model: TorchModel) -> FeatureSetInfo:
    dictionary = feature_set.dictionary
    start = {"before": model.tokenizer.before} if model.restarted else {}  # the tokenizer's own stands for itself
    return FeatureSetInfo(
        name=feature_set.name,
        model=feature_set.model,
        hook=feature_set.hook,
        dictionary=dictionaries.stored_name(feature_set.settings.dictionary or ""),
        architecture=dictionary.architecture,
        n_features=dictionary.n_features,
        d_model=dictionary.d_model,
        fingerprint=identify(
            "feature set",
            model=model.weights,
            hook=str(model.places[feature_set.hook]),
            dictionary=dictionary.fingerprint,
            **start,
        ),
        control_for=feature_set.settings.control_for,
    )
