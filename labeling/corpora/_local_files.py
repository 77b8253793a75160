"""Files of a corpus on this machine: which ones, in which order, and a hash of what is in them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path

from labeling.errors import UsageError


@dataclass(frozen=True)
class LocalFiles:
    """A file, or the files of a folder with the right endings, in the order of their names."""

    path: Path
    files: tuple[Path, ...]

    def place(self, file: Path) -> str:
        """The file as people know it: its path below the folder. Bytes that are no UTF-8 are replaced: no table takes them."""
        name = file.relative_to(self.path).as_posix() if self.path.is_dir() else file.name
        return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")

    def content_hash(self) -> str:
        """Hash of the names and contents of the files."""
        stats = ((file, file.stat()) for file in self.files)
        return _content_hash(tuple((str(f), self.place(f), s.st_size, s.st_mtime_ns, s.st_ino) for f, s in stats))


def find_files(path: str | None, *, source: str, endings: Sequence[str], wanted: str) -> LocalFiles:
    """Find the files of a corpus. In a folder, hidden ones and those with other endings are passed over, and so is what
    is no file: links that lead nowhere, pipes.

    `wanted` says in messages what the path should be.

    Raise UsageError when the path is missing, or holds no file with anything in it.
    """
    if path is None:
        raise UsageError(f"The corpus {source!r} needs a path. Set it to {wanted}.")
    place = Path(path).expanduser()
    if not place.exists():
        raise UsageError(f"The corpus path {path!r} does not exist. Set it to {wanted}.")
    files = tuple(_files_below(place, endings)) if place.is_dir() else (place,)
    if not any(file.stat().st_size for file in files):
        ending = f" that ends in {', '.join(endings)}" if all(endings) else ""
        seen = f"{len(files)} files, all empty" if files else f"no file{ending}"
        raise UsageError(f"The corpus path {path!r} has no text: {seen}. Point [corpus] path at {wanted}.")
    return LocalFiles(place, files)


def _files_below(folder: Path, endings: Sequence[str]) -> Iterator[Path]:
    for here, subfolders, names in os.walk(folder):
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        kept = (name for name in sorted(names) if not name.startswith(".") and name.lower().endswith(tuple(endings)))
        yield from (file for name in kept if (file := Path(here, name)).is_file())


@lru_cache(maxsize=8)
def _content_hash(files: tuple[tuple[str, str, int, int, int], ...]) -> str:
    """Every stage of a run asks for it; files whose size, time and inode stay are not read again."""
    digest = blake2b(digest_size=8)
    for file, place, size, _, _ in files:
        digest.update(f"{place}\0{size}\0".encode("utf-8", "surrogatepass"))
        with Path(file).open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()
