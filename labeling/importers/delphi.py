"""The importer `delphi`: a folder of latents that EleutherAI's delphi cached for one module, to an activation table.

The folder holds `START_END.safetensors` files with `locations` (row of tokens, position, latent less START),
`activations`, and `tokens` [rows, context length], and a `config.json` that names the model. Special tokens are left out,
and a row is parted there: every part is a document. Where delphi cut a long text into rows, its parts are documents too.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from safetensors import SafetensorError, safe_open

from labeling.activation_table import ACTIVATIONS, DOCUMENTS, FEATURES, TOKENS, TableCard, TableWriter
from labeling.errors import FeatlasError, UsageError
from labeling.importers import RowBuffer, plain_runs, trimmed
from labeling.types import IntArray

SPLIT = re.compile(r"(\d+)_(\d+)\.safetensors")
ROWS_AT_ONCE = 1 << 20
CONTEXT = 6
"""Tokens before one that what it adds to the text may depend on: the bytes of a character, an apostrophe."""
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


@dataclass(frozen=True)
class Split:
    """One file: latents `first` to `last`."""

    file: Path
    first: int
    last: int


@dataclass(frozen=True)
class Placed:
    """Where each token of the cache went: [rows, context length]."""

    document: IntArray  # -1 where the token is left out
    position: IntArray


class DelphiImporter:
    """Reads one module's cache, a piece of a file at a time."""

    def __init__(self, path: Path, tokenizer: str | None) -> None:
        self._path, self._splits = path, find_splits(path)
        config = path / "config.json"
        self._config: dict[str, Any] = json.loads(config.read_text(encoding="utf-8")) if config.exists() else {}
        name = tokenizer or self._config.get("model_name")
        if name is None:
            raise UsageError(
                f"{path} has no config.json with model_name, so its tokens can't be read as text. Name the model's folder or "
                "hub id with --tokenizer."
            )
        self._model = str(name)

    def write(self, folder: Path, *, say: Callable[[str], None]) -> None:
        config = self._config
        source = " ".join(
            str(config[key]) for key in ("dataset_repo", "dataset_name", "dataset_split") if config.get(key)
        )
        card = TableCard(
            model=config.get("model_name"), hook=self._path.name, made_from=f"delphi, {source}".rstrip(", ")
        )
        with TableWriter(folder, card) as writer:
            placed = self._write_texts(writer)
            left_out = sum(self._write_activations(writer, split, placed) for split in self._splits)
            features = pl.DataFrame({"feature": range(self._splits[-1].last + 1)}).with_columns(
                name=pl.lit(None, pl.String)
            )
            writer.write(FEATURES, features)
        say(
            f"{folder}: {int(placed.document.max(initial=-1)) + 1:,} texts from {len(self._splits)} files of {self._path}"
        )
        if left_out:
            say(f"{left_out:,} activations were left out: on special tokens, or negative")

    def _write_texts(self, writer: TableWriter) -> Placed:
        tokens = _tensor(self._splits[0].file, "tokens").astype(np.int64)
        tokenizer = load_tokenizer(self._model)
        special = np.isin(tokens, tokenizer.all_special_ids)
        placed = Placed(np.full(tokens.shape, -1), np.zeros(tokens.shape, np.int64))
        texts, pieces = RowBuffer(writer, DOCUMENTS), RowBuffer(writer, TOKENS)
        number = 0
        for row in range(len(tokens)):
            for start, end in plain_runs(special[row].tolist()):
                ids = tokens[row, start:end].tolist()
                text, starts = decode(tokenizer.backend_tokenizer, ids)
                name = str(number)
                texts.add((name, text))
                for position, (piece, begin) in enumerate(
                    zip(tokenizer.convert_ids_to_tokens(ids), starts, strict=True)
                ):
                    pieces.add((name, position, piece, begin))
                placed.document[row, start:end] = number
                placed.position[row, start:end] = np.arange(end - start)
                number += 1
        texts.flush()
        pieces.flush()
        return placed

    def _write_activations(self, writer: TableWriter, split: Split, placed: Placed) -> int:
        """Write one file's activations; return how many were left out."""
        left_out = 0
        for locations, values in _pieces(split.file):
            row, position, latent = locations.T
            shape = placed.document.shape
            if len(row) and (
                row.max() >= shape[0] or position.max() >= shape[1] or latent.max() > split.last - split.first
            ):
                raise FeatlasError(
                    f"{split.file} has a location beyond its tokens {shape} or its {split.last - split.first + 1} latents. It is "
                    "damaged or of another cache. Cache it again."
                )
            document = placed.document[row, position]
            kept = (document >= 0) & ~(values < 0)  # what is not a number is found when the table is checked
            left_out += int((~kept).sum())
            columns = {
                "feature": latent[kept] + split.first,
                "document_id": document[kept],
                "position": placed.position[row, position][kept],
                "activation": values[kept],
            }
            writer.write(ACTIVATIONS, pl.DataFrame(columns))
        return left_out


def create(*, path: Path, tokenizer: str | None) -> DelphiImporter:
    """Open a cache. Raise UsageError when `path` is no folder of one module or the model is not known."""
    return DelphiImporter(path, tokenizer)


def find_splits(path: Path) -> list[Split]:
    """The files of one module's cache, by first latent."""
    found = []
    for file in sorted(path.glob("*.safetensors")) if path.is_dir() else []:
        if match := SPLIT.fullmatch(file.name):
            found.append(Split(file, int(match[1]), int(match[2])))
    if found:
        return sorted(found, key=lambda split: split.first)
    modules = sorted(folder.name for folder in path.iterdir() if folder.is_dir()) if path.is_dir() else []
    hint = f" It has the folders {', '.join(modules[:5])}: name one of them." if modules else ""
    raise UsageError(
        f"{path} is no folder of latents that delphi cached for one module: files such as 0_1023.safetensors are expected.{hint}"
    )


def load_tokenizer(model: str) -> Any:
    """The fast tokenizer of a local folder or a hub id. Raise FeatlasError when there is none."""
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(model, local_files_only=Path(model).is_dir())
    except (OSError, ValueError) as error:
        raise FeatlasError(
            f"The tokenizer of {model!r} can't be loaded: {str(error).splitlines()[0]} Name a folder or hub id with --tokenizer."
        ) from error
    if not tokenizer.is_fast:
        raise FeatlasError(
            f"The model {model!r} has no fast tokenizer, so tokens can't be found in the text. Use another."
        )
    return tokenizer


def decode(backend: Any, ids: Sequence[int]) -> tuple[str, list[int]]:
    """The text of some tokens, and where each starts in it, white space before it left out.

    Tokenizing the text again gives the places where it gives the same tokens; else what each token adds to the text of
    those before it does.
    """
    text: str = backend.decode(list(ids), skip_special_tokens=False)
    again = backend.encode(text, add_special_tokens=False)
    if again.ids == list(ids):
        starts = [start for start, _ in again.offsets]
    else:
        starts, length = added_lengths(backend, ids, context=CONTEXT)
        if length != len(text.rstrip(REPLACEMENT)):
            starts, _ = added_lengths(backend, ids, context=len(ids))
    return text, trimmed(text, [min(start, len(text)) for start in starts])


def added_lengths(backend: Any, ids: Sequence[int], *, context: int) -> tuple[list[int], int]:
    """Where each token starts, judged by the `context` tokens before it, and the length of all."""

    def length(begin: int, end: int) -> int:
        # a character whose bytes are not complete yet is read as a replacement: its tokens start together
        return len(backend.decode(list(ids[begin:end]), skip_special_tokens=False).rstrip(REPLACEMENT))

    starts, total = [], 0
    for place in range(len(ids)):
        begin = max(0, place - context)
        starts.append(total)
        total += max(length(begin, place + 1) - length(begin, place), 0)
    return starts, total


def _tensor(file: Path, name: str) -> Any:
    try:
        with safe_open(file, framework="np") as tensors:
            if name in list(tensors.keys()):
                return tensors.get_tensor(name)
            seen = ", ".join(tensors.keys())
    except (SafetensorError, OSError) as error:
        raise FeatlasError(f"{file} can't be read as safetensors: {error}. Cache it again.") from error
    raise FeatlasError(f"{file} has no tensor {name!r}, only {seen}. Let delphi save it: save_tokens = True.")


def _pieces(file: Path) -> Iterator[tuple[IntArray, Any]]:
    """Locations [n, 3] and float32 values, at most ROWS_AT_ONCE at a time."""
    with safe_open(file, framework="np") as tensors:
        missing = {"locations", "activations"} - set(tensors.keys())
        if missing:
            raise FeatlasError(
                f"{file} has no tensor {' and '.join(sorted(missing))}, only {', '.join(tensors.keys())}."
            )
        locations, values = tensors.get_slice("locations"), tensors.get_slice("activations")
        total = locations.get_shape()[0]
        for start in range(0, total, ROWS_AT_ONCE):
            end = min(start + ROWS_AT_ONCE, total)
            yield locations[start:end].astype(np.int64), values[start:end].astype(np.float32)
