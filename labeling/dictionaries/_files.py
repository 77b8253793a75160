"""Files of dictionaries to checked values: tensors as float32, settings of the type that is needed.

Every refusal is a FeatlasError that names the file, the value seen, what was expected and what to do. Nothing that is
read here can run code. Knows no format.
"""

from __future__ import annotations

import json
import pickle
import warnings
import zipfile
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from labeling.errors import FeatlasError
from labeling.types import JSON

PICKLES = (".pt", ".pth", ".bin", ".pkl", ".ckpt")
ROWS_CHECKED_AT_ONCE = 4_096


@dataclass(frozen=True, eq=False)
class Tensors:
    """Tensors of one file by name, as they stand there."""

    file: Path
    named: Mapping[str, torch.Tensor]

    def __contains__(self, name: str) -> bool:
        return name in self.named

    def take(self, name: str, shape: Sequence[int | None], *, says: str) -> torch.Tensor:
        """One tensor as float32. `shape` has None where any length will do; `says` names what else knows the shape."""
        if name not in self.named:
            held = ", ".join(sorted(self.named)) or "nothing"
            raise FeatlasError(
                f"{self.file} has no tensor {name!r}; it holds {held}. Give the whole dictionary, or another `format`."
            )
        tensor = self.named[name]
        if not tensor.is_floating_point():
            raise FeatlasError(
                f"{self.file}: {name!r} holds {str(tensor.dtype).removeprefix('torch.')} numbers, expected floating point "
                "numbers. Give weights that are not quantized."
            )
        seen, wanted = list(tensor.shape), [None if size is None else int(size) for size in shape]
        if len(seen) != len(wanted) or any(w not in (None, s) for s, w in zip(seen, wanted, strict=True)):
            sizes = "[" + ", ".join("any" if size is None else str(size) for size in wanted) + "]"
            raise FeatlasError(
                f"{self.file}: {name!r} has shape {seen}, but {says} says {sizes}. The files do not belong together, or "
                "the `format` is another."
            )
        if not tensor.numel():
            raise FeatlasError(f"{self.file}: {name!r} is empty, shape {seen}. There is no feature to read.")
        return _finite(tensor.float(), name, self.file)

    def first(self, *names: str) -> str:
        """The first of these names that the file has; the first of all where it has none."""
        return next((name for name in names if name in self.named), names[0])


@dataclass(frozen=True, eq=False)
class Settings:
    """Values of one JSON file, or of a table in it."""

    file: Path
    values: Mapping[str, JSON]

    def count(self, key: str) -> int:
        """A whole number above 0."""
        seen = self.values.get(key)
        if not isinstance(seen, int) or isinstance(seen, bool) or seen < 1:
            raise FeatlasError(f"{self.file}: {key!r} is {seen!r}, expected a whole number above 0. Mend the file.")
        return seen

    def number(self, key: str) -> float:
        """A finite number above 0."""
        seen = self.values.get(key)
        if not isinstance(seen, int | float) or isinstance(seen, bool) or not 0 < seen < float("inf"):
            raise FeatlasError(f"{self.file}: {key!r} is {seen!r}, expected a number above 0. Mend the file.")
        return float(seen)

    def flag(self, key: str, *, default: bool) -> bool:
        seen = self.values.get(key, default)
        if not isinstance(seen, bool):
            raise FeatlasError(f"{self.file}: {key!r} is {seen!r}, expected true or false. Mend the file.")
        return seen

    def choice(self, key: str, allowed: Collection[str], *, default: str | None = None) -> str:
        seen = self.values.get(key, default)
        if seen not in allowed:
            raise FeatlasError(
                f"{self.file}: {key!r} is {seen!r}; featlas reads {', '.join(sorted(allowed))}. Use one of those dictionaries."
            )
        return str(seen)

    def text(self, key: str) -> str | None:
        """A text, or None where there is none."""
        seen = self.values.get(key)
        return seen if isinstance(seen, str) and seen else None

    def whole(self, key: str) -> int | None:
        """A whole number, or None where there is none."""
        seen = self.values.get(key)
        return seen if isinstance(seen, int) and not isinstance(seen, bool) else None

    def table(self, key: str) -> Settings:
        """A table within; empty where there is none."""
        seen = self.values.get(key)
        return Settings(self.file, seen if isinstance(seen, dict) else {})

    def refuse(self, key: str, *, unless: object, why: str) -> None:
        """Raise where a setting has another value than this one or none."""
        seen = self.values.get(key)
        if seen is not None and seen != unless:
            raise FeatlasError(f"{self.file}: {key!r} is {seen!r}, which featlas can't use: {why}")


def read_json(file: Path) -> Settings:
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise FeatlasError(f"{file} is not readable JSON ({error}). Copy or train the dictionary again.") from error
    if not isinstance(values, dict):
        raise FeatlasError(f"{file} holds a {type(values).__name__}, expected a table of settings. Mend the file.")
    return Settings(file, values)


def read_safetensors(file: Path) -> Tensors:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return Tensors(file, load_file(file))
    except (SafetensorError, OSError) as error:
        raise FeatlasError(f"{file} is not a readable safetensors file ({error}). Copy or train it again.") from error


def read_npz(file: Path) -> Tensors:
    """Arrays of an npz file. Pickled ones are refused."""
    try:
        with np.load(file, allow_pickle=False) as arrays:
            named = {name: torch.from_numpy(np.ascontiguousarray(arrays[name])) for name in arrays.files}
    except (OSError, ValueError, TypeError, AttributeError, EOFError, zipfile.BadZipFile) as error:
        raise FeatlasError(
            f"{file} is not a readable npz file of plain arrays ({error}). Copy or train it again."
        ) from error
    return Tensors(file, named)


def read_torch(file: Path) -> dict[str, JSON]:
    """A checkpoint of torch.save: tensors, numbers, texts and tables of them; anything else is refused unread."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of old ways to write the same: what can't be read is refused below
            loaded = torch.load(file, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError, KeyError, AttributeError) as error:
        why = next(iter(str(error).splitlines()), "the file ends too early")[:200]
        raise pickle_refused(file.parent, [file.name], why) from error
    if not isinstance(loaded, dict):
        raise FeatlasError(
            f"{file} holds a {type(loaded).__name__}, expected the tensors of a dictionary by name (a state dict). "
            "Save `model.state_dict()` instead."
        )
    return dict(loaded)


def tensors_of(file: Path, loaded: Mapping[str, JSON]) -> Tensors:
    """The tensors among what a checkpoint holds."""
    return Tensors(file, {name: value for name, value in loaded.items() if isinstance(value, torch.Tensor)})


def refuse_scaling(tensors: Tensors) -> None:
    """Some releases have a factor for each feature; of 1 in all that are in use. Raise FeatlasError for another one."""
    name = tensors.first("scaling_factor", "finetuning_scaling_factor")
    if name in tensors and not torch.allclose(tensors.named[name].float(), torch.tensor(1.0)):
        raise FeatlasError(
            f"{tensors.file}: {name!r} is not 1 everywhere, and finetuned scales are not supported. Multiply it into the "
            "weights with the program that wrote it."
        )


def pickle_refused(place: Path, names: Sequence[str], why: str) -> FeatlasError:
    """What is said of pickled files that hold more than tensors, or nothing that is known."""
    return FeatlasError(
        f"{place} holds a pickled checkpoint ({', '.join(names)}) that can't be used: {why}. Reading a pickle of anything but "
        "tensors can run any code, so featlas refuses it. Convert it where you trust its origin: "
        f"`state = torch.load({names[0]!r}, weights_only=True)`, then "
        "`safetensors.torch.save_file(state, 'dictionary.safetensors')`, and write a card.json beside it."
    )


def single(place: Path, wanted: Callable[[Path], bool]) -> Path | None:
    """The one file that is wanted: the place itself, or the only such file in the folder."""
    if place.is_file():
        return place if wanted(place) else None
    found = [file for file in sorted(place.iterdir()) if file.is_file() and wanted(file)]
    return found[0] if len(found) == 1 else None


def _finite(tensor: torch.Tensor, name: str, file: Path) -> torch.Tensor:
    parts = torch.split(tensor if tensor.ndim else tensor[None], ROWS_CHECKED_AT_ONCE)
    bad = sum(int((~part.isfinite()).sum()) for part in parts)
    if bad:
        raise FeatlasError(
            f"{file}: {name!r} has {bad} values that are not finite (NaN or infinite), expected none. Copy it again, or "
            "use another dictionary."
        )
    return tensor
