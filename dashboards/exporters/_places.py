"""Where an export goes: written aside under another name, then renamed, so that nobody ever finds half of one.

Nothing is overwritten unasked. When asked, a folder is replaced only if an export made it (it has `export.json`) or it is
empty: a mistyped name costs nobody their files.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from labeling.errors import UsageError
from labeling.workspace import Workspace

if TYPE_CHECKING:
    from dashboards.exporters import Exporter

MARK = "export.json"
"""File that says which export made a folder."""


def export_to(place: Path, exporter: Exporter, workspace: Workspace, *, force: bool) -> str:
    """Let an exporter write; return in a sentence what it wrote. Raise as it does, and UsageError when `place` can't be used."""
    if exporter.endings and not place.name.endswith(exporter.endings):
        raise UsageError(
            f"{place} should end in one of {', '.join(exporter.endings)}: the ending says which file to write."
        )
    with written_aside(place, force=force) as aside:
        return exporter.write(workspace, aside)


@contextmanager
def written_aside(place: Path, *, force: bool) -> Iterator[Path]:
    """A path to write to, which becomes `place` when all went well. Raise UsageError when `place` can't be used."""
    place = place.absolute()
    check_free(place, force=force)
    aside = place.with_name(f".{place.stem}.new{place.suffix}")
    _remove(aside)  # what a killed process left
    try:
        yield aside
        _put(aside, place)
    except BaseException as error:
        _remove(aside)
        if isinstance(error, OSError) and error.filename and Path(error.filename).is_relative_to(aside):
            raise UsageError(f"{place} can't be written: {error.strerror}. Name another place.") from error
        raise


def check_free(place: Path, *, force: bool) -> None:
    if not place.parent.is_dir():
        raise UsageError(f"{place} can't be written: there is no folder {place.parent}. Make it or name another place.")
    if not place.exists():
        return
    if not force:
        raise UsageError(
            f"{place} exists already; nothing was overwritten. Name another place, or replace it with --force."
        )
    if place.is_dir() and any(place.iterdir()) and not (place / MARK).is_file():
        raise UsageError(
            f"{place} is a folder that no export made: it has no {MARK}. Not even --force replaces it. Name another place."
        )


def mark(folder: Path, form: str) -> None:
    """Say in the folder which export made it."""
    said = {"format": form, "featlas": version("featlas")}
    (folder / MARK).write_text(f"{json.dumps(said)}\n", encoding="utf-8")


def _put(aside: Path, place: Path) -> None:
    """Rename; what was there goes away only when the new one is complete."""
    old = place.with_name(f".{place.stem}.old{place.suffix}")
    _remove(old)
    if place.is_dir() or (place.exists() and aside.is_dir()):
        place.rename(old)
    aside.replace(place)
    _remove(old)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
