"""Write tensors to a safetensors file, whole or not at all, and look into one. It knows nothing of what they mean."""

from __future__ import annotations

import json
import math
import mmap
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from struct import Struct

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from labeling.evidence import disk_error
from labeling.types import JSON

_HEADER = Struct("<Q")
"""A safetensors file begins with the size of its header, which is JSON."""
_DTYPES = {"I16": "<i2", "I32": "<i4", "I64": "<i8", "F32": "<f4"}


def save_tensors(file: Path, tensors: Mapping[str, torch.Tensor]) -> None:
    """Write under a temporary name, then rename: a file that exists is complete.

    Raise FeatlasError when the disk does not take the file.
    """
    temporary = file.with_suffix(".partial")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        save_file(dict(tensors), temporary)
        temporary.replace(file)
    except (OSError, SafetensorError) as error:
        with suppress(OSError):
            temporary.unlink()
        # The library reports a full disk as an error of its own, with the system's words in it.
        raise disk_error(file, error if isinstance(error, OSError) else OSError(0, str(error))) from error


def map_tensors(file: Path) -> dict[str, np.ndarray]:
    """The tensors of a file as arrays that are read from disk where they are looked at, without copies.

    For many short pieces of a file, which the library would copy one by one. The file is closed with the last array.
    """
    with file.open("rb") as stream:
        content = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
    begin = _HEADER.size + _HEADER.unpack_from(content)[0]
    header = json.loads(content[_HEADER.size : begin])
    return {name: _view(content, begin, tensor) for name, tensor in header.items() if name != "__metadata__"}


def _view(content: mmap.mmap, begin: int, tensor: JSON) -> np.ndarray:
    shape = tensor["shape"]
    if not math.prod(shape):
        return np.zeros(shape, _DTYPES[tensor["dtype"]])
    flat = np.frombuffer(content, _DTYPES[tensor["dtype"]], math.prod(shape), begin + tensor["data_offsets"][0])
    return flat.reshape(shape)
