"""The importer `neuronpedia`: activations exported from Neuronpedia, to an activation table of the strongest texts.

Reads a source's export (`activations/batch-0.jsonl.gz`, ..., with Neuronpedia's own labels in `explanations/` as names), a
folder or file of such records as .jsonl, .jsonl.gz or .json, and the JSON of SAEDashboard and of the API, where records
stand inside features. A record is a text for one feature: `index`, `tokens`, `values`.

A record says nothing of other features: the table is marked `strongest`, and nothing is scored on it.
"""

from __future__ import annotations

import gzip
import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import IO, Any

import polars as pl

from labeling.activation_table import ACTIVATIONS, DOCUMENTS, FEATURES, TOKENS, TableCard, TableWriter
from labeling.errors import FeatlasError, UsageError
from labeling.identity import text_id
from labeling.importers import RowBuffer, plain_runs, trimmed

SUFFIXES = (".jsonl", ".jsonl.gz", ".json")
SPECIAL = frozenset(
    {"<bos>", "<eos>", "<pad>", "<s>", "</s>", "[CLS]", "[SEP]", "[PAD]", "<|endoftext|>", "<|begin_of_text|>"}
)
"""Tokens that are no text. An export does not say which are special."""


@dataclass(frozen=True)
class Record:
    """A text with one feature's activations; one entry a token."""

    feature: int
    tokens: Sequence[str]
    values: Sequence[float]
    model: str | None
    layer: str | None


class NeuronpediaImporter:
    """Reads records one line at a time; keeps the hashes of the texts it has seen."""

    def __init__(self, path: Path) -> None:
        inside = path / "activations"
        self._path, self._files = path, find_files(inside if inside.is_dir() else path)
        if not self._files:
            raise UsageError(
                f"{path} has no activations exported from Neuronpedia: files such as activations/batch-0.jsonl.gz are expected "
                f"({', '.join(SUFFIXES)})."
            )

    def write(self, folder: Path, *, say: Callable[[str], None]) -> None:
        first = next(self._records(), None)
        if first is None:
            raise FeatlasError(f"{self._path} has no record with an active token. Export the activations again.")
        card = TableCard("strongest", model=first.model, hook=first.layer, made_from="Neuronpedia")
        seen: set[tuple[int, str]] = set()
        with TableWriter(folder, card) as writer:
            buffers = {form.name: RowBuffer(writer, form) for form in (DOCUMENTS, TOKENS, ACTIVATIONS)}
            known: set[str] = set()
            features: set[int] = set()
            for record in self._records():
                features.add(record.feature)
                for tokens, values in parts(record):
                    _add(buffers, record.feature, tokens, values, known, seen)
            for buffer in buffers.values():
                buffer.flush()
            writer.write(FEATURES, self._names(features))
        say(
            f"{folder}: {len(known):,} texts and {len(features):,} features from {len(self._files)} files of {self._path}"
        )
        say(
            "only each feature's strongest texts are known: features can be labeled from it, but labels can't be scored"
        )

    def _records(self) -> Iterator[Record]:
        for file in self._files:
            for place, item in read_items(file):
                for inner, index in _flat(item):
                    yield _record(inner, index, f"{file}, {place}")

    def _names(self, features: set[int]) -> pl.DataFrame:
        """All features up to the last, with the first label that Neuronpedia has for each."""
        named: dict[int, str] = {}
        for file in find_files(self._path / "explanations"):
            for _, item in read_items(file):
                if str(item.get("index", "")).isdecimal() and item.get("description"):
                    named.setdefault(int(item["index"]), str(item["description"]))
        everything = range(max([*features, *named]) + 1)
        return pl.DataFrame({"feature": everything, "name": [named.get(feature) for feature in everything]})


def create(*, path: Path, tokenizer: str | None) -> NeuronpediaImporter:
    """Open an export. Raise UsageError when there is none, or for a tokenizer: an export has the tokens as text."""
    if tokenizer is not None:
        raise UsageError(f"Neuronpedia's exports hold tokens as text, but --tokenizer is {tokenizer!r}. Leave it out.")
    return NeuronpediaImporter(path)


def find_files(path: Path) -> list[Path]:
    """Files of records at a path, batches in the order of their numbers."""
    files = [path] if path.is_file() else list(path.iterdir()) if path.is_dir() else []
    return sorted((f for f in files if f.name.endswith(SUFFIXES)), key=lambda f: (len(f.name), f.name))


def read_items(file: Path) -> Iterator[tuple[str, Any]]:
    """Each JSON value of a file with its place: a line of .jsonl, an entry of the list in a .json.

    Raise FeatlasError for a file that can't be read.
    """
    try:
        if file.suffix == ".json":
            whole = json.loads(file.read_text(encoding="utf-8"))
            for number, item in enumerate(whole if isinstance(whole, list) else [whole], start=1):
                yield f"entry {number}", item
            return
        with _opened(file) as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    yield f"line {number}", json.loads(line)
    except (OSError, EOFError, ValueError) as error:
        raise FeatlasError(f"{file} can't be read as JSON: {error}. Export or download it again.") from error


def _opened(file: Path) -> IO[str]:
    return gzip.open(file, "rt", encoding="utf-8") if file.suffix == ".gz" else file.open(encoding="utf-8")


def parts(record: Record) -> Iterator[tuple[list[str], list[float]]]:
    """The texts of a record between special tokens, with their values."""
    tokens = plain_text(record.tokens)
    for start, end in plain_runs([token.strip() in SPECIAL for token in record.tokens]):
        yield tokens[start:end], list(record.values[start:end])


def plain_text(tokens: Sequence[str]) -> list[str]:
    """Tokens as text: marks that some tokenizers write for a space or a new line are replaced."""
    tokens = [token.replace("▁", " ") for token in tokens]
    if any(" " in token for token in tokens):
        return tokens
    return [token.replace("Ġ", " ").replace("Ċ", "\n") for token in tokens]


def _flat(item: Any) -> Iterator[tuple[Any, Any]]:
    """Records with their feature: SAEDashboard and the API put them inside features."""
    if isinstance(item, dict) and isinstance(item.get("features"), list):
        for feature in item["features"]:
            yield from _flat(feature)
    elif isinstance(item, dict) and isinstance(item.get("activations"), list):
        index = item.get("index", item.get("feature_index"))
        shared = {key: item[key] for key in ("modelId", "layer") if key in item}
        yield from (({**shared, **record}, index) for record in item["activations"])
    else:
        yield item, item.get("index") if isinstance(item, dict) else None


def _record(item: Any, index: Any, place: str) -> Record:
    tokens, values = (item.get(key) for key in ("tokens", "values")) if isinstance(item, dict) else (None, None)
    if not (str(index).isdecimal() and isinstance(tokens, list) and isinstance(values, list)):
        seen = ", ".join(item) if isinstance(item, dict) else type(item).__name__
        raise FeatlasError(
            f"{place}: no record of an activation, but {seen}. Expected: an object with index, tokens, values."
        )
    if len(tokens) != len(values) or not all(isinstance(v, int | float) and math.isfinite(v) for v in values):
        raise FeatlasError(
            f"{place}: feature {index} has {len(tokens)} tokens and {len(values)} values, or a value that is no finite "
            "number. Expected: a number a token. Export it again."
        )
    return Record(int(index), [str(token) for token in tokens], values, item.get("modelId"), item.get("layer"))


def _add(
    buffers: dict[str, RowBuffer],
    feature: int,
    tokens: list[str],
    values: list[float],
    known: set[str],
    seen: set[tuple[int, str]],
) -> None:
    """Add one text for one feature. A text comes once, and once a feature: exports list it in several bands."""
    text = "".join(tokens)
    name = text_id("\0".join(tokens))
    if not any(value > 0 for value in values) or (feature, name) in seen:
        return
    seen.add((feature, name))
    if name not in known:
        known.add(name)
        buffers[DOCUMENTS.name].add((name, text))
        starts = [0, *accumulate(len(token) for token in tokens[:-1])]
        for position, (token, start) in enumerate(zip(tokens, trimmed(text, starts), strict=True)):
            buffers[TOKENS.name].add((name, position, token, start))
    for position, value in enumerate(values):
        if value > 0:
            buffers[ACTIVATIONS.name].add((feature, name, position, value))
