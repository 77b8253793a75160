"""Write tensors to a safetensors file, whole or not at all. It knows nothing of what they mean."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from labeling.evidence import disk_error


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
