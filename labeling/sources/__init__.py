"""Feature sources: what turns text into activations. One file each: `torch`-backed models, activation tables.

A source serves one or more feature sets with one forward pass. It tokenizes documents, and yields activations as
sparse events in batches that hold whole windows, so that a window's largest activation is known within its batch.
Most sources read any text; one that `BringsCorpus` knows its own documents alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import polars as pl
import torch

from labeling.activation_table import Extent
from labeling.corpora import Corpus
from labeling.types import Document, FloatArray, TokenizedDocument


class NamedFeatureSet(Protocol):
    """What a user says of a feature set, whatever its source; a section of the config file satisfies it."""

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


@dataclass(frozen=True)
class FeatureSetInfo:
    """One dictionary at one place of one model."""

    name: str
    model: str
    """As the user wrote it: folder, hub id or `embedded/...`."""
    hook: str
    """Module path whose output is read."""
    dictionary: str
    architecture: str
    """`topk`, `jumprelu`, ..."""
    n_features: int
    d_model: int | None
    """Width of the directions; None where none are known."""
    fingerprint: str
    """Hash of the weights of model and dictionary: changes whenever activations could."""
    control_for: str | None = None
    """Name of the feature set this one is a random-weights control for."""
    extent: Extent = "all"
    """Whether all activations are known, or those of each feature's strongest texts only: then silence is not known,
    and nothing can be scored."""


@dataclass(frozen=True)
class EventBatch:
    """Non-zero activations of one feature set on some whole windows; four tensors with one entry an event, on the device
    where they were made."""

    feature_set: int
    """Index into `FeatureSource.feature_sets`."""
    feature: torch.Tensor  # int64
    window: torch.Tensor  # int64, the window's id
    position: torch.Tensor  # int64, 0-based token position in the window
    value: torch.Tensor  # float32, raw activation, > 0
    n_tokens: int
    """Tokens read for this batch, the silent ones included."""


class FeatureSource(Protocol):
    @property
    def feature_sets(self) -> tuple[FeatureSetInfo, ...]: ...

    @property
    def tokenizer_id(self) -> str:
        """Two sources with the same id cut text into the same tokens."""

    @property
    def parallel(self) -> bool:
        """Whether several processes may each open it and read at once: no GPU, and little enough to hold several times."""

    def tokenize(self, documents: Sequence[Document]) -> list[TokenizedDocument]: ...

    def events(self, windows: pl.DataFrame, *, sequence: int) -> Iterator[EventBatch]:
        """Run over windows (columns `window_id`, `document_id`, `start`, `n_tokens`, `token_ids`; whole documents, in
        order).

        Consecutive windows of one document are joined to sequences of at most `sequence` tokens. Batches depend on
        `windows` alone, never on the machine, so that results repeat.
        """

    def directions(self, feature_set: int) -> FloatArray | None:
        """Decoder directions [n_features, d_model], or None when unknown."""

    def unembedding(self) -> tuple[np.ndarray, tuple[str, ...]] | None:
        """Unembedding matrix [vocabulary, d_model] with its token strings, or None."""


@runtime_checkable
class BringsCorpus(Protocol):
    """A source whose documents and tokens come with its activations: it is read over these, not over `[corpus]`."""

    @property
    def own_corpus(self) -> Corpus: ...


@runtime_checkable
class NamesFeatures(Protocol):
    """A source that knows names for features, made by others."""

    def feature_names(self) -> pl.DataFrame:
        """Columns `feature`, `name`; features without a name are left out."""


@runtime_checkable
class Unprepared(Protocol):
    """What `create` gives where files must be looked through before they can be read."""

    def prepare(self, folder: Path, *, say: Callable[[str], None]) -> FeatureSource:
        """Look through the files and keep in `folder` what later openings need; `say` tells people what is done."""
