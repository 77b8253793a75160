"""The scoreboard as CSV, Parquet and XLSX, and spreadsheets of text that tries to be more than text."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import openpyxl
import polars as pl
import pytest

from dashboards.exporters._spreadsheet import MOST_CHARACTERS, write_xlsx
from labeling.errors import UsageError
from labeling.snapshot import query
from labeling.workspace import Workspace
from tests.dashboards.exporters.conftest import Export

HOSTILE = ["=1+1", "+1", "-1", "@sum", "\t=x", "\r=x", "=HYPERLINK(\"http://x\")", "a\x00b\x1b[31m\ufffe", "_x0041_", "http://x.y",
           "mailto:a@b", "Z" * 40_000, "<b>&\"'", "مرحبا 中文 e\u0301", "", None]  # fmt: skip


@pytest.fixture
def board(workspace: Workspace) -> pl.DataFrame:
    return query(workspace, "SELECT * FROM scoreboard")


def opened(file: Path, sheet: str) -> Any:
    return openpyxl.load_workbook(file)[sheet]


def hostile(folder: Path) -> Path:
    frame = pl.DataFrame({"label": HOSTILE, "score": [-1.5] * len(HOSTILE)})
    write_xlsx(frame, folder / "hostile.xlsx", sheet="labels", meanings=pl.DataFrame({"name": ["x"]}))
    return folder / "hostile.xlsx"


def test_csv_and_parquet_hold_the_scoreboard(export: Export, board: pl.DataFrame) -> None:
    assert pl.read_parquet(export("scoreboard", "b.parquet")).equals(board)
    read = pl.read_csv(export("scoreboard", "b.csv"), infer_schema_length=None)
    assert read.select("scorer", "metric", "mean", "low").equals(board.select("scorer", "metric", "mean", "low"))


def test_a_spreadsheet_holds_numbers_as_numbers_and_nothing_as_nothing(export: Export, board: pl.DataFrame) -> None:
    rows = list(opened(export("scoreboard", "b.xlsx"), "scoreboard").iter_rows(values_only=True))
    assert list(rows[0]) == board.columns
    assert [row[rows[0].index("mean")] for row in rows[1:]] == pytest.approx(board["mean"].to_list())
    assert {row[rows[0].index("judge_model")] for row in rows[1:]} == {None}


def test_a_spreadsheet_has_a_frozen_header_and_says_what_every_column_means(
    export: Export, board: pl.DataFrame
) -> None:
    file = export("scoreboard", "b.xlsx")
    assert opened(file, "scoreboard").freeze_panes == "A2"
    meanings = list(opened(file, "meanings").iter_rows(min_row=2, values_only=True))
    assert set(board.columns) <= {name for kind, name, meaning in meanings if kind == "column" and meaning}
    assert {"headline", "shuffled"} <= {name for _, name, _ in meanings}


def test_no_text_of_a_spreadsheet_is_run_or_followed(tmp_path: Path) -> None:
    file = hostile(tmp_path)
    cells = [cell for (cell,) in opened(file, "labels").iter_rows(min_row=2, max_col=1)]
    assert {cell.data_type for cell in cells if cell.value is not None} == {"s"} | (
        {"inlineStr"} & {c.data_type for c in cells}
    )
    assert not [cell.value for cell in cells if str(cell.value or "")[:1] in ("=", "+", "-", "@", "\t", "\r")]
    assert not [cell.hyperlink for cell in cells if cell.hyperlink]
    with zipfile.ZipFile(file) as parts:
        sheets = [parts.read(name) for name in parts.namelist() if "worksheets/sheet" in name]
    assert not [sheet for sheet in sheets if b"<f>" in sheet or b"hyperlink" in sheet]


def test_text_that_a_spreadsheet_refuses_is_replaced_and_the_rest_is_as_it_was(tmp_path: Path) -> None:
    values = [row[0] for row in opened(hostile(tmp_path), "labels").iter_rows(min_row=2, max_col=1, values_only=True)]
    assert values[7] == "a\ufffdb\ufffd[31m\ufffd"
    assert values[12:14] == ["<b>&\"'", "مرحبا 中文 e\u0301"]
    assert len(values[11]) < MOST_CHARACTERS
    assert values[11].endswith("(cut: a cell holds no more)")


def test_numbers_that_are_none_are_text(tmp_path: Path) -> None:
    frame = pl.DataFrame({"x": [1.0, float("inf"), None], "yes": [True, None, False]})
    write_xlsx(frame, tmp_path / "n.xlsx", sheet="s", meanings=pl.DataFrame({"name": ["x"]}))
    rows = list(opened(tmp_path / "n.xlsx", "s").iter_rows(min_row=2, values_only=True))
    assert rows == [("1.0", True), ("inf", None), (None, False)]


def test_the_ending_says_which_file_to_write(export: Export) -> None:
    with pytest.raises(UsageError, match=r"\.csv, \.parquet, \.xlsx"):
        export("scoreboard", "board.txt")
