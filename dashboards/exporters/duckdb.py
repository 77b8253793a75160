"""The export `duckdb`: everything in one DuckDB file, evidence included, with tables in the place of views."""

from __future__ import annotations

from pathlib import Path

from labeling.snapshot import export_single_file
from labeling.workspace import Workspace

ABOUT = "everything in one DuckDB file, evidence included"


class DuckdbExporter:
    endings: tuple[str, ...] = ("",)

    def write(self, workspace: Workspace, place: Path) -> str:
        export_single_file(workspace, place)
        return "all tables, evidence included, with their comments"


def create() -> DuckdbExporter:
    return DuckdbExporter()
