"""The source `torch`: from windows to feature activations, by one forward pass of a model and its dictionaries.

Windows of a document are joined to sequences, sequences of similar length to padded batches; special tokens and padding
never count. The model stops after the last hooked module. Which windows share a batch depends on the windows alone.
Knows nothing of what is done with the events, and nothing of files except through `_models` and `dictionaries`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, Protocol, get_args

import numpy as np
import numpy.typing as npt
import polars as pl
import torch

from labeling import dictionaries
from labeling.allocator import keep_freed_memory
from labeling.cores import idle_cores
from labeling.dictionaries import Dictionary
from labeling.errors import FeatlasError, UsageError
from labeling.identity import identify
from labeling.sources import EventBatch, FeatureSetInfo
from labeling.sources._models import Tokenizer, load_model, load_tokenizer, weights_hash
from labeling.types import Document, FloatArray, IntArray, TokenizedDocument

Precision = Literal["float32", "bfloat16"]
SMALL_MODEL_BYTES = 1_000_000_000
"""Processes that run at once each hold the model: at most this much of each."""
BATCH_TOKENS = 4_096
"""Padded tokens in a batch at most. A fixed number: results must not depend on the machine."""
CPU_TOKENS = 1_024
"""Of these, what a CPU reads at once: as fast as all together, in a quarter of the memory."""


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


@dataclass(frozen=True)
class Batch:
    """Sequences that go through the model together: `b` rows, `length` positions, `n` tokens that count."""

    token_ids: torch.Tensor  # int64 [b, length] with special tokens and padding
    attention: torch.Tensor  # int64 [b, length]; 0 is padding
    counted: torch.Tensor  # bool [b, length]; neither special nor padding
    window: torch.Tensor  # int64 [n] window id of each counted token, in row order
    position: torch.Tensor  # int64 [n] 0-based position of each counted token in its window


class _AllHooksRead(Exception):
    """Raised inside the forward pass when nothing after this point is needed."""


class TorchModel:
    """A model that is read at some of its modules."""

    def __init__(self, model: str, hooks: Sequence[str], *, device: str, precision: Precision) -> None:
        self.name = model
        self.hooks = tuple(dict.fromkeys(hooks))
        self.tokenizer: Tokenizer = load_tokenizer(model)
        self._module = load_model(model, self.hooks)
        self.device = device
        self.weights = weights_hash(self._module)
        self._module = self._module.to(device=device, dtype=getattr(torch, precision))
        self._read: dict[str, torch.Tensor] = {}
        for hook in self.hooks:
            self._module.get_submodule(hook).register_forward_hook(self._reader(hook))

    def _reader(self, hook: str) -> Any:
        def read(module: torch.nn.Module, inputs: object, output: Any) -> None:  # noqa: ARG001
            self._read[hook] = output if isinstance(output, torch.Tensor) else output[0]
            if len(self._read) == len(self.hooks):
                raise _AllHooksRead

        return read

    @cached_property
    def widths(self) -> dict[str, int]:
        """Width of the output at each hook, found by running one token."""
        ids = torch.tensor([[*self.tokenizer.before, self.tokenizer.padding, *self.tokenizer.after]])
        read = self._forward(ids, torch.ones_like(ids))
        for hook in self.hooks:
            if read[hook].shape[:-1] != ids.shape:
                raise UsageError(
                    f"The module {hook!r} of {self.name!r} gives {tuple(read[hook].shape)} numbers for {ids.shape[1]} tokens, not "
                    "a row for each token. Hook a module that does, such as a whole layer."
                )
        return {hook: int(read[hook].shape[-1]) for hook in self.hooks}

    @property
    def n_bytes(self) -> int:
        """Memory of the parameters."""
        return sum(parameter.numel() * parameter.element_size() for parameter in self._module.parameters())

    def check_length(self, sequence: int) -> None:
        """Raise UsageError when sequences of so many tokens do not fit the model."""
        most = getattr(self._module.config, "max_position_embeddings", None)
        special = len(self.tokenizer.before) + len(self.tokenizer.after)
        if isinstance(most, int) and sequence + special > most:
            raise UsageError(
                f"`sequence` is {sequence} tokens, but the model {self.name!r} reads at most {most}, {special} of them "
                f"special. Set `sequence` to {most - special} or less."
            )

    def activations(self, batch: Batch) -> dict[str, torch.Tensor]:
        """Output at each hook for the counted tokens: float32 [n, width], on the model's device."""
        rows, length = batch.token_ids.shape
        step = max(1, CPU_TOKENS // length) if self.device == "cpu" else rows
        parts: dict[str, list[torch.Tensor]] = {hook: [] for hook in self.hooks}
        for i in range(0, rows, step):
            read = self._forward(batch.token_ids[i : i + step], batch.attention[i : i + step])
            counted = batch.counted[i : i + step].to(self.device)
            for hook in self.hooks:
                parts[hook].append(read[hook][counted].float())
        return {hook: torch.cat(outputs) for hook, outputs in parts.items()}

    def _forward(self, token_ids: torch.Tensor, attention: torch.Tensor) -> dict[str, torch.Tensor]:
        self._read = {}
        with torch.inference_mode():
            try:
                self._module(input_ids=token_ids.to(self.device), attention_mask=attention.to(self.device))
            except _AllHooksRead:
                return self._read
        missing = ", ".join(hook for hook in self.hooks if hook not in self._read)
        raise UsageError(f"The module {missing} of {self.name!r} takes no part in reading text. Hook another module.")


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

    def directions(self, feature_set: int) -> FloatArray | None:
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


def open_model(
    model: str,
    hooks: Sequence[str],
    *,
    device: str = "auto",
    threads: int | None = None,
    precision: Precision = "float32",
) -> TorchModel:
    """Load a model to be read at `hooks`, with the errors of `create`."""
    if precision not in get_args(Precision):
        raise UsageError(f"`precision` is {precision!r}; allowed: {', '.join(get_args(Precision))}.")
    torch.set_num_threads(_threads(threads))
    keep_freed_memory()
    return TorchModel(model, hooks, device=_device(device), precision=precision)


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


def _threads(wanted: int | None) -> int:
    if wanted is not None and wanted < 1:
        raise UsageError(f"`threads` is {wanted}; expected a whole number above 0.")
    # two threads on busy cores are far slower than one
    return wanted or min(2, idle_cores(), torch.get_num_threads())


def _device(wanted: str) -> str:
    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.zeros(1, device=wanted)
    except (RuntimeError, AssertionError) as error:
        raise UsageError(f"`device` is {wanted!r}, which can't be used here ({error}). Use 'auto' or 'cpu'.") from error
    return wanted


def tokenize(tokenizer: Tokenizer, documents: Sequence[Document]) -> list[TokenizedDocument]:
    """Cut documents into tokens, special tokens left out."""
    encodings = tokenizer.backend.encode_batch([document.text for document in documents], add_special_tokens=False)
    return [
        TokenizedDocument(
            document=document,
            token_ids=tuple(encoding.ids),
            tokens=tuple(encoding.tokens),
            starts=tuple(start for start, _ in encoding.offsets),
            ends=tuple(end for _, end in encoding.offsets),
        )
        for document, encoding in zip(documents, encodings, strict=True)
    ]


def batches(windows: pl.DataFrame, *, sequence: int, tokenizer: Tokenizer) -> Iterator[Batch]:
    """Padded batches of whole windows; columns `window_id`, `document_id`, `token_ids` as in `FeatureSource.events`."""
    tokens = windows["token_ids"].explode().drop_nulls().to_numpy().astype(np.int64)
    lengths = windows["token_ids"].list.len().to_numpy().astype(np.int64)
    first_window = sequences(windows["document_id"].rle_id().to_numpy(), lengths, sequence=sequence)
    last_window = np.append(first_window[1:], len(lengths))
    ends = np.concatenate([[0], np.cumsum(lengths)])
    sizes = ends[last_window] - ends[first_window]
    ids = windows["window_id"].to_numpy()
    flat_window = np.repeat(ids, lengths)
    flat_position = np.arange(len(tokens)) - np.repeat(ends[:-1], lengths)
    for group in grouped(sizes, special=len(tokenizer.before) + len(tokenizer.after)):
        spans = [np.arange(ends[first_window[row]], ends[last_window[row]]) for row in group]
        counted = np.concatenate(spans)
        yield _pad([tokens[span] for span in spans], tokenizer, flat_window[counted], flat_position[counted])


def sequences(document: npt.NDArray[Any], lengths: IntArray, *, sequence: int) -> IntArray:
    """First window of each sequence: consecutive windows of one document, `sequence` tokens at most."""
    firsts: list[int] = []
    size = 0
    for row, length in enumerate(lengths.tolist()):
        if row == 0 or document[row] != document[row - 1] or size + length > sequence:
            firsts.append(row)
            size = 0
        size += length
    return np.array(firsts, dtype=np.int64)


def grouped(sizes: IntArray, *, special: int) -> Iterator[IntArray]:
    """Sequences of similar length, by index, as many as fit into BATCH_TOKENS padded tokens."""
    order = np.argsort(sizes, kind="stable")[::-1]  # longest first, so that a batch is as wide as its first
    start = 0
    while start < len(order):
        rows = max(1, BATCH_TOKENS // (int(sizes[order[start]]) + special))
        yield order[start : start + rows]
        start += rows


def _pad(rows: list[IntArray], tokenizer: Tokenizer, window: IntArray, position: IntArray) -> Batch:
    before, after = len(tokenizer.before), len(tokenizer.after)
    shape = (len(rows), max(len(row) for row in rows) + before + after)
    ids, attention, counted = np.full(shape, tokenizer.padding), np.zeros(shape, np.int64), np.zeros(shape, np.bool_)
    for i, row in enumerate(rows):
        end = before + len(row)
        ids[i, : end + after] = np.concatenate([tokenizer.before, row, tokenizer.after])
        attention[i, : end + after] = 1
        counted[i, before:end] = True
    parts = (torch.from_numpy(part) for part in (ids, attention, counted, window, position))
    return Batch(*parts)
