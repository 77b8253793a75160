"""The export `delphi`: a folder of explanations as EleutherAI's delphi writes and reads them.

`explanations/<module>_latent<feature>.txt` holds one JSON string, the label. delphi looks a latent's file up by that name
and has no place for anything else, so scores and failures lie beside the folder. Only labels that exist have a file: delphi
would take any text there for an explanation.
"""

from __future__ import annotations

import json
from pathlib import Path

from dashboards.export_queries import Choice
from dashboards.exporters._labels import LabelFolder
from dashboards.exporters._places import mark
from dashboards.queries import open_reader
from labeling.selection import Selection
from labeling.workspace import Workspace

ABOUT = "labels as a folder of explanations that EleutherAI's delphi reads"


class DelphiExporter:
    endings: tuple[str, ...] = ()

    def __init__(self, choice: Choice) -> None:
        self._choice = choice

    def write(self, workspace: Workspace, place: Path) -> str:
        inside = place / "explanations"
        inside.mkdir(parents=True)
        with open_reader(workspace) as reader:
            folder = LabelFolder(reader, self._choice, place)
            module = module_name(folder.sample["hook"] or folder.sample["feature_set"])
            for row in folder.labels():
                file = inside / f"{module}_latent{row['feature']}.txt"
                file.write_text(
                    json.dumps(row["label"]), encoding="ascii"
                )  # delphi reads it in the encoding of its machine
            folder.write_readme(
                "Explanations for delphi", f"`explanations/{module}_latent17.txt` is the label of feature 17, as JSON."
            )
        mark(place, "delphi")
        return folder.counts.said()


def module_name(hook: str) -> str:
    """A module's name as part of a file name; delphi writes `--` for a slash."""
    name = hook.replace("/", "--").replace("\\", "--").replace("\0", "")
    return name.lstrip(".") or "module"


def create(*, feature_set: str | None, explainer: str | None, model: str | None, features: Selection) -> DelphiExporter:
    """Export the labels chosen."""
    return DelphiExporter(Choice(feature_set, explainer, model, features))
