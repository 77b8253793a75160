"""Write a file where a user wants it, or say in one paragraph why not."""

from __future__ import annotations

from pathlib import Path

from labeling.errors import UsageError


def write_file(path: Path, content: bytes) -> None:
    """Raise UsageError where the place can't hold a file. A full disk is told by the command line itself."""
    try:
        path.write_bytes(content)
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
        raise UsageError(
            f"{path} can't be written: {(error.strerror or 'no such place').lower()}. Name a file in a folder that exists."
        ) from None
