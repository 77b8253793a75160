"""The command `report`: kinds, formats, places and what it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.flows.mini import Mini, featlas

SIDES = ("--a", "feature_set=mini,scorer=pattern", "--b", "feature_set=mini-random,scorer=pattern")


def test_a_report_is_written_where_it_is_wanted_in_the_format_its_name_says(mini: Mini, tmp_path: Path) -> None:
    target = tmp_path / "new" / "board.md"
    ran = featlas("report", "scoreboard", "--workspace", mini.workspace, "--to", target)
    assert (ran.code, ran.out) == (0, f"{target}\n")
    assert "featlas report scoreboard" in target.read_text(encoding="utf-8")


def test_the_report_of_a_run_brings_its_tables_in_every_format(mini: Mini, tmp_path: Path) -> None:
    ran = featlas("report", "--workspace", mini.workspace, "--format", "markdown", "--to", tmp_path)
    assert ran.code == 0
    assert {"report.md", "labels.csv", "scoreboard.csv"} <= {file.name for file in tmp_path.iterdir()}


def test_two_dictionaries_are_compared_without_pairs(mini: Mini, tmp_path: Path) -> None:
    ran = featlas("report", "comparison", *SIDES, "--workspace", mini.workspace, "--to", tmp_path)
    assert ran.code == 0, ran.err
    page = (tmp_path / "comparison.html").read_text(encoding="utf-8")
    assert "unpaired" in page
    assert "no feature in common" in page


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["scorebord"], "Did you mean 'scoreboard'? Known: comparison, feature, neighborhood, run, scoreboard, tags."),
        (["--format", "docx"], "Known: html, markdown, pdf."),
        (["--to", "x.docx"], "Endings: .html, .md, .pdf."),
        (["--to", "x.md", "--format", "pdf"], "does not end as --format pdf does"),
        (["tags", "--feature", "1"], "has no use for --feature; use it with feature or neighborhood."),
        (["feature"], "--feature NUMBER"),
        (["feature", "--feature", "64"], "features are 0 to 63"),
        (["feature", "--feature", "1", "--set", "min"], "Did you mean 'mini'"),
        (["comparison", "--a", "scorer=pattern"], "A comparison has two sides"),
        (["comparison", "--a", "scorer=x", "--b", "scorer=pattern"], "no scores have scorer 'x'"),
    ],
)
def test_what_cannot_be_reported_is_refused_in_one_paragraph(mini: Mini, arguments: list[str], said: str) -> None:
    ran = featlas("report", *arguments, "--workspace", mini.workspace)
    assert ran.code == 2
    assert said in ran.paragraph()


@pytest.mark.parametrize("kind", ["run", "scoreboard", "tags"])
def test_a_workspace_without_a_snapshot_is_a_failure(tmp_path: Path, kind: str) -> None:
    ran = featlas("report", kind, "--workspace", tmp_path / "nothing")
    assert ran.code == 1
    assert "There is no snapshot" in ran.paragraph()
