"""Files of labels, one entry after the other, whatever their form. It knows forms and bytes, not what a label is."""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from labeling.errors import FeatlasError, UsageError
from labeling.types import JSON

SEEN_CHARACTERS = 80
DELPHI_FILE = re.compile(r"(?P<module>.*?)_?latent_?(?P<feature>\d+)\.txt")


@dataclass(frozen=True)
class Record:
    """One entry: its keys and values, and where it stands."""

    place: str
    values: Mapping[str, JSON]


@dataclass(frozen=True)
class Damaged:
    """An entry that can't be read."""

    place: str
    seen: str


Entry = Record | Damaged


def read_records(path: Path) -> Iterator[Entry]:
    """Entries of a file, or of the files of a folder in the order of their names.

    Raise UsageError for what is no file of labels, FeatlasError for a file that can't be opened.
    """
    if path.is_dir():
        yield from _read_folder(path)
        return
    if not path.is_file():
        raise UsageError(f"There is no file of labels at {path}. Name a {', '.join(FORMS)} file, or a folder of them.")
    read = _form_of(path)
    if read is None:
        raise UsageError(f"{path} is no file of labels by its name; known: {', '.join(FORMS)}, or a folder of them.")
    try:
        yield from read(path)
    except OSError as error:
        raise FeatlasError(f"{path} can't be read: {error.strerror or error}.") from error


def _read_folder(path: Path) -> Iterator[Entry]:
    inside = path / "explanations"  # of a Neuronpedia export
    files = sorted((inside if inside.is_dir() else path).rglob("*"), key=lambda f: (len(f.name), str(f)))
    delphi = [file for file in files if DELPHI_FILE.fullmatch(file.name)]
    others = [file for file in files if file.is_file() and _form_of(file) is not None]
    if not delphi and not others:
        raise UsageError(
            f"{path} has no file of labels; known: {', '.join(FORMS)}, and delphi's files such as layers.2_latent17.txt."
        )
    for file in delphi:
        yield _read_delphi(file)
    for file in others:
        yield from read_records(file)


def _read_delphi(file: Path) -> Entry:
    """delphi writes one JSON string a latent; the file's name says which."""
    name = DELPHI_FILE.fullmatch(file.name)
    assert name is not None
    try:
        text = file.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        return Damaged(file.name, str(error)[:SEEN_CHARACTERS])
    try:
        value = json.loads(text)
    except ValueError:
        value = text  # written by hand, or by an older version
    return Record(
        file.name, {"feature": int(name["feature"]), "label": value, "module": name["module"], "author": "delphi"}
    )


def _read_csv(path: Path) -> Iterator[Entry]:
    text = path.read_bytes().decode("utf-8-sig", errors="replace")  # a replaced character shows that bytes were no text
    rows = csv.DictReader(io.StringIO(text, newline=""), delimiter="\t" if path.suffix.lower() == ".tsv" else ",")
    while True:
        place = f"{path.name}, line {max(rows.line_num, 1) + 1}"  # the first line names the columns
        try:
            row = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            yield Damaged(place, str(error)[:SEEN_CHARACTERS])
            continue
        yield Record(place, {str(key).strip(): value for key, value in row.items() if key is not None})


def _read_jsonl(path: Path) -> Iterator[Entry]:
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                yield _json_entry(line, f"{path.name}, line {number}")


def _json_entry(line: bytes, place: str) -> Entry:
    try:
        value = json.loads(line.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        return Damaged(place, str(error)[:SEEN_CHARACTERS])
    return Record(place, value) if isinstance(value, dict) else Damaged(place, repr(value)[:SEEN_CHARACTERS])


def _read_json(path: Path) -> Iterator[Entry]:
    """A list of objects, or one object of texts by feature."""
    try:
        whole = json.loads(path.read_bytes().decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise FeatlasError(f"{path} is no JSON: {error}.") from None
    if isinstance(whole, dict):
        whole = [{"feature": key, "label": value} for key, value in whole.items()]
    for number, value in enumerate(whole if isinstance(whole, list) else [whole], start=1):
        place = f"{path.name}, entry {number}"
        yield Record(place, value) if isinstance(value, dict) else Damaged(place, repr(value)[:SEEN_CHARACTERS])


def _read_parquet(path: Path) -> Iterator[Entry]:
    try:
        frame = pl.read_parquet(path)
    except pl.exceptions.PolarsError as error:
        raise FeatlasError(f"{path} can't be read as Parquet: {error}.") from None
    for number, row in enumerate(frame.iter_rows(named=True), start=1):
        yield Record(f"{path.name}, row {number}", row)


FORMS: Mapping[str, Callable[[Path], Iterator[Entry]]] = {
    ".csv": _read_csv,
    ".tsv": _read_csv,
    ".jsonl": _read_jsonl,
    ".jsonl.gz": _read_jsonl,
    ".json": _read_json,
    ".parquet": _read_parquet,
}


def _form_of(path: Path) -> Callable[[Path], Iterator[Entry]] | None:
    name = path.name.lower()
    return next((read for suffix, read in FORMS.items() if name.endswith(suffix)), None)
