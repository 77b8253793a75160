"""Exporters: a published workspace to a file or folder that other programs read. One file each; the name is what users write.

A file defines `ABOUT`, half a line for `featlas export --help`, and `create`, which takes by name what it needs of

    feature_set, explainer, model, features    which labels
    tables                                     which tables
    model_id, source_id, author_id             what Neuronpedia calls model, dictionary and author

and nothing else. An exporter reads the snapshot and the evidence, in pieces, so that memory does not grow with the number of
features. It writes to the place it is given, where nothing is: `_places.py` checks what was there, and renames when all is written.
Labels that do not exist are counted and listed, never written as text.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from labeling.workspace import Workspace


class Exporter(Protocol):
    @property
    def endings(self) -> tuple[str, ...]:
        """Endings of the file it writes, such as `.csv`, empty for any; none at all when it writes a folder."""

    def write(self, workspace: Workspace, place: Path) -> str:
        """Write the file, or into the folder, that `place` is; return in one sentence what was written.

        Raise FeatlasError when there is no snapshot, UsageError for a choice that the snapshot does not have.
        """
