"""Labels made elsewhere, from files to values: CSV, JSONL, JSON, Parquet, Neuronpedia exports, delphi's explanation folders.

A label needs a feature number and a text; author and feature set are taken where they are given. What can't be taken is
a counted state with its place, never a cut or a guessed label. Which features exist is for others to say.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Literal

from labeling._label_records import Damaged, Record, read_records
from labeling.errors import FeatlasError
from labeling.half_surrogates import writable
from labeling.identity import identify
from labeling.types import JSON

LabelProblem = Literal[
    "no feature number",
    "no text",
    "empty",
    "too long",
    "placeholder",
    "duplicate",
    "damaged",
    "other feature set",
    "no such feature",
    "not selected",
]
MAX_CHARACTERS = 1000
"""Longer texts are no labels. They are left out whole: a cut label would be another label."""
FEATURE_KEYS = ("feature", "index", "latent", "feature_index", "latent_index", "feature_id", "neuron")
TEXT_KEYS = ("label", "text", "explanation", "description")
AUTHOR_KEYS = ("author", "tool", "explainer", "explanationModelName", "model")
PLACE_KEYS = ("layer", "module", "hookpoint")
"""Where in a model the feature is, as other tools say it: tells feature sets apart when a file has several."""
PLACEHOLDERS = {"explanation could not be parsed.", "explanation could not be parsed"}
"""What tools write where they failed: delphi stores it as if it were a label."""
SEEN_CHARACTERS = 80


@dataclass(frozen=True)
class FileLabel:
    """One label of a file."""

    feature: int
    text: str
    author: str
    feature_set: str | None
    """None: of the only feature set there is."""
    place: str


@dataclass(frozen=True)
class LeftOut:
    """One entry of a file that gives no label."""

    problem: LabelProblem
    feature: int | None
    author: str
    place: str
    seen: str


@dataclass(frozen=True)
class LabelFile:
    """Everything a file of labels holds, in its order."""

    labels: tuple[FileLabel, ...]
    left_out: tuple[LeftOut, ...]

    @property
    def authors(self) -> list[str]:
        return sorted({label.author for label in self.labels})

    def by(self, author: str) -> LabelsBy:
        own = [label for label in self.labels if label.author == author]
        return LabelsBy({(label.feature_set, label.feature): label for label in own})


@dataclass(frozen=True)
class LabelsBy:
    """One author's labels, one a feature."""

    label_of: Mapping[tuple[str | None, int], FileLabel]

    @cached_property
    def version(self) -> str:
        """Hash of all of them: another wording is another explanation."""
        texts = [[name, feature, label.text] for (name, feature), label in self.label_of.items()]
        return identify("labels of a file", labels=sorted(texts, key=str))

    def find(self, feature_set: str, feature: int, *, unnamed: str) -> FileLabel | None:
        """The label of a feature. `unnamed` is the feature set that labels without one are of."""
        named = self.label_of.get((feature_set, feature))
        return named or (self.label_of.get((None, feature)) if feature_set == unnamed else None)


@dataclass(frozen=True)
class LabelSource:
    """Whose labels of which file, as plain values that a job can carry."""

    path: Path
    author: str
    unnamed: str
    """Feature set that labels without one are of."""

    def labels(self) -> LabelsBy:
        return _labels_by(self.path, self.author, _signature(self.path))


@lru_cache(maxsize=8)
def _labels_by(path: Path, author: str, signature: tuple[object, ...]) -> LabelsBy:  # noqa: ARG001 - a part of the key
    return read_label_file(path).by(author)


def read_label_file(path: Path) -> LabelFile:
    """Read a file or folder of labels; kept while it is unchanged.

    Raise UsageError for what is no file of labels, FeatlasError when not one label can be taken.
    """
    return _read(path, _signature(path))


def _signature(path: Path) -> tuple[object, ...]:
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    return tuple((str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in files if file.is_file())


@lru_cache(maxsize=2)
def _read(path: Path, signature: tuple[object, ...]) -> LabelFile:  # noqa: ARG001 - a part of the key
    labels, left_out = list[FileLabel](), list[LeftOut]()
    entries = list(read_records(path))
    for entry in _with_feature_sets(entries):
        taken = _take(entry, default_author=path.name)
        (labels if isinstance(taken, FileLabel) else left_out).append(taken)  # type: ignore[arg-type]
    kept, doubled = _told_apart(labels)
    if not kept:
        first = f" First, {left_out[0].place}: {left_out[0].problem}, {left_out[0].seen}." if left_out else ""
        raise FeatlasError(
            f"{path} has no label that can be taken (of {len(left_out):,}).{first} A label needs a feature number "
            f"({', '.join(FEATURE_KEYS[:3])}) and a text ({', '.join(TEXT_KEYS)})."
        )
    return LabelFile(tuple(kept), (*left_out, *doubled))


def _with_feature_sets(entries: Iterable[Record | Damaged]) -> list[Record | Damaged]:
    """Where entries are of several places of a model and name no feature set, the place is the feature set."""
    entries = list(entries)
    records = [entry for entry in entries if isinstance(entry, Record)]
    places = {str(place) for record in records if (place := _first(record.values, PLACE_KEYS)) is not None}
    if len(places) < 2:
        return entries
    return [
        replace(e, values={"feature_set": _first(e.values, PLACE_KEYS), **e.values}) if isinstance(e, Record) else e
        for e in entries
    ]


def _take(entry: Record | Damaged, *, default_author: str) -> FileLabel | LeftOut:
    if isinstance(entry, Damaged):
        return LeftOut("damaged", None, default_author, entry.place, entry.seen)
    author, feature = _author(entry.values) or default_author, _number(_first(entry.values, FEATURE_KEYS))
    raw = _first(entry.values, TEXT_KEYS)

    def left_out(problem: LabelProblem, seen: object) -> LeftOut:
        return LeftOut(problem, feature, author, entry.place, repr(seen)[:SEEN_CHARACTERS])

    if feature is None:
        return left_out("no feature number", _first(entry.values, FEATURE_KEYS))
    if not isinstance(raw, str):
        return left_out("no text", raw)
    if "\N{REPLACEMENT CHARACTER}" in raw or "\0" in raw:
        return left_out("damaged", raw)
    text = " ".join(writable(raw).split())
    if not text:
        return left_out("empty", raw)
    if len(text) > MAX_CHARACTERS:
        return left_out("too long", f"{len(text):,} characters: {text}")
    if text.casefold() in PLACEHOLDERS:
        return left_out("placeholder", text)
    named = entry.values.get("feature_set")
    return FileLabel(feature, text, author, str(named) if named not in (None, "") else None, entry.place)


def _told_apart(labels: Iterable[FileLabel]) -> tuple[list[FileLabel], list[LeftOut]]:
    """Further labels of one author for one feature get an author of their own, "name (2)"; equal ones are left out."""
    seen: dict[tuple[str | None, int, str], list[str]] = {}
    kept, doubled = list[FileLabel](), list[LeftOut]()
    for label in labels:
        texts = seen.setdefault((label.feature_set, label.feature, label.author), [])
        if label.text in texts:
            doubled.append(LeftOut("duplicate", label.feature, label.author, label.place, repr(label.text)))
            continue
        texts.append(label.text)
        kept.append(label if len(texts) == 1 else replace(label, author=f"{label.author} ({len(texts)})"))
    return kept, doubled


def _first(values: Mapping[str, JSON], keys: Iterable[str]) -> JSON:
    """The value of the first key that is there; None where none is."""
    return next((values[key] for key in keys if values.get(key) is not None), None)


def _author(values: Mapping[str, JSON]) -> str:
    """Who wrote a label, in one line; Neuronpedia names a method beside the model."""
    parts = [values.get("typeName"), _first(values, AUTHOR_KEYS)]
    return " ".join(" ".join(str(part).split()) for part in parts if part not in (None, ""))[:SEEN_CHARACTERS].strip()


def _number(value: JSON) -> int | None:
    if isinstance(value, str) and re.fullmatch(r"\s*\d{1,12}(\.0*)?\s*", value, re.ASCII):
        return int(float(value))
    if isinstance(value, bool) or not isinstance(value, int | float) or value < 0 or value != int(value):
        return None
    return int(value)
