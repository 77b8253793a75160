"""The activation table: activations that were made elsewhere, as a folder of Parquet files, and how to write one.

    documents.parquet    document_id, text
    tokens.parquet       document_id, position, token, start
    activations.parquet  feature, document_id, position, activation      (non-zero only)
    features.parquet     feature, name                                   (optional)
    directions.safetensors   one tensor `directions` [n_features, d_model]   (optional)
    table.json           what the activations were made with             (optional)

A file may also be a folder of that name with several Parquet files, read in the order of their names. This module
knows the form; `sources/table.py` reads it, `importers/` write it from the files of other programs.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, get_args

import numpy as np
import polars as pl
import pyarrow.parquet as pq
from safetensors import SafetensorError
from safetensors.numpy import save_file

from labeling.errors import FeatlasError, UsageError
from labeling.evidence import disk_error
from labeling.types import FloatArray

Kind = Literal["id", "text", "whole", "number"]
"""What a column holds. An `id` is text or a whole number, and compared as text."""
TYPES: Mapping[Kind, pl.DataType] = {
    "id": pl.String(),
    "text": pl.String(),
    "whole": pl.Int64(),
    "number": pl.Float32(),
}

Extent = Literal["all", "strongest"]
"""Whether every activation on the documents is in the table, or only those of each feature's strongest texts."""
ROWS_IN_GROUP = 262_144


@dataclass(frozen=True)
class FileForm:
    """One file of the folder: its name without `.parquet`, and its columns."""

    name: str
    columns: Mapping[str, Kind]

    @property
    def schema(self) -> pl.Schema:
        return pl.Schema({name: TYPES[kind] for name, kind in self.columns.items()})


DOCUMENTS = FileForm("documents", {"document_id": "id", "text": "text"})
TOKENS = FileForm("tokens", {"document_id": "id", "position": "whole", "token": "text", "start": "whole"})
ACTIVATIONS = FileForm(
    "activations", {"feature": "whole", "document_id": "id", "position": "whole", "activation": "number"}
)
FEATURES = FileForm("features", {"feature": "whole", "name": "text"})
DIRECTIONS = "directions.safetensors"
CARD = "table.json"


@dataclass(frozen=True)
class TableCard:
    """What `table.json` says. Everything may be left out; None is not known."""

    extent: Extent = "all"
    model: str | None = None
    hook: str | None = None
    dictionary: str | None = None
    made_from: str | None = None
    """For people: where the activations come from."""


def read_card(folder: Path) -> TableCard:
    """The table's card; one that says nothing when there is none. Raise FeatlasError when it can't be read."""
    file = folder / CARD
    if not file.exists():
        return TableCard()
    try:
        card = TableCard(**json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        known = ", ".join(TableCard.__dataclass_fields__)
        raise FeatlasError(f"{file} can't be read: {error}. Allowed: a JSON object with the keys {known}.") from error
    if card.extent not in get_args(Extent):
        raise FeatlasError(f"{file}: extent is {card.extent!r}; allowed: {', '.join(get_args(Extent))}.")
    return card


class TableWriter:
    """Writes a table piece by piece, as a context manager: the folder appears when all of it is written.

    Raise UsageError when the folder is there already, FeatlasError when the disk does not take a file.
    """

    def __init__(self, folder: Path, card: TableCard | None = None) -> None:
        if folder.exists():
            raise UsageError(f"{folder} exists already. Name another folder for the table, or remove this one.")
        self._folder, self._partial, self._card = folder, folder.with_name(f".{folder.name}.partial"), card
        self._files: dict[str, Any] = {}

    def __enter__(self) -> TableWriter:
        shutil.rmtree(self._partial, ignore_errors=True)
        self._partial.mkdir(parents=True)
        return self

    def write(self, form: FileForm, frame: pl.DataFrame) -> None:
        """Add rows to one of the files; columns and types as declared."""
        typed = frame.select(pl.col(name).cast(dtype) for name, dtype in form.schema.items()).to_arrow(
            compat_level=pl.CompatLevel.oldest()
        )
        file = self._partial / f"{form.name}.parquet"
        try:
            if form.name not in self._files:
                self._files[form.name] = pq.ParquetWriter(file, typed.schema, compression="zstd")
            self._files[form.name].write_table(typed, row_group_size=ROWS_IN_GROUP)
        except OSError as error:
            raise disk_error(file, error) from error

    def write_directions(self, directions: FloatArray) -> None:
        """Add decoder directions [n_features, d_model]."""
        file = self._partial / DIRECTIONS
        try:
            save_file({"directions": np.ascontiguousarray(directions)}, file)
            file.chmod(self._partial.stat().st_mode & 0o666)  # the library writes it for its owner only
        except (OSError, SafetensorError) as error:
            raise disk_error(file, error if isinstance(error, OSError) else OSError(0, str(error))) from error

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            for form in (DOCUMENTS, TOKENS, ACTIVATIONS):
                if form.name not in self._files:
                    self.write(form, form.schema.to_frame())
        if kind is not None:
            with suppress(OSError):  # closing writes, and the disk may be what is wrong
                self._close()
            shutil.rmtree(self._partial, ignore_errors=True)
            return
        self._close()
        if self._card is not None:
            said = {key: value for key, value in asdict(self._card).items() if value is not None}
            (self._partial / CARD).write_text(json.dumps(said, indent=1) + "\n", encoding="utf-8")
        self._partial.rename(self._folder)

    def _close(self) -> None:
        for file in self._files.values():
            file.close()
