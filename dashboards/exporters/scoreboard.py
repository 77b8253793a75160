"""The export `scoreboard`: one file, CSV, Parquet or a spreadsheet as its name ends."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from dashboards.export_queries import chosen_sample, described_tables, scoreboards
from dashboards.exporters._spreadsheet import write_xlsx
from dashboards.exporters._table_files import CsvFile, write_table
from dashboards.queries import open_reader
from dashboards.wording import CONTROLS, METRICS
from labeling.workspace import Workspace

ABOUT = "mean scores with intervals and controls, as .csv, .parquet or .xlsx"


class ScoreboardExporter:
    endings: tuple[str, ...] = (".csv", ".parquet", ".xlsx")

    def __init__(self, feature_set: str | None) -> None:
        self._feature_set = feature_set

    def write(self, workspace: Workspace, place: Path) -> str:
        table = next(table for table in described_tables() if table.name == "scoreboard")
        with open_reader(workspace) as reader:
            if self._feature_set is not None:
                chosen_sample(reader, self._feature_set)
            frame = scoreboards(reader, self._feature_set)
        if place.suffix == ".xlsx":
            write_xlsx(frame, place, sheet="scoreboard", meanings=meanings(table.columns))
        elif place.suffix == ".parquet":
            write_table([frame], place, table)
        else:
            with CsvFile(place) as file:
                file.write(frame)
        return f"{len(frame):,} rows of the scoreboard"


def meanings(columns: tuple[tuple[str, str, str], ...]) -> pl.DataFrame:
    """What the columns, metrics and controls of the scoreboard are: `kind, name, meaning`."""
    rows = [("column", name, meaning) for name, _, meaning in columns]
    rows += [("metric", name, f"{term.title}. {term.sentence}".rstrip(". ") + ".") for name, term in METRICS.items()]
    rows += [("control", name or "(empty)", f"{term.title}. {term.sentence}") for name, term in CONTROLS.items()]
    return pl.DataFrame(rows, schema=["kind", "name", "meaning"], orient="row")


def create(*, feature_set: str | None) -> ScoreboardExporter:
    """Export the scoreboard of one feature set, or of all."""
    return ScoreboardExporter(feature_set)
