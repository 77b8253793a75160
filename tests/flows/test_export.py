"""The command `export` on the mini demo, and labels that leave and come back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import dashboards.exporters
from labeling.registry import names
from tests.flows.mini import FEATURE_SET, Mini, featlas

SHOWN = f"SELECT feature, label FROM labels WHERE feature_set = '{FEATURE_SET}' AND label IS NOT NULL ORDER BY feature"
IMPORTED = "SELECT feature, text FROM explanations WHERE explainer = 'import' AND text IS NOT NULL ORDER BY feature"


def test_labels_that_were_exported_come_back_word_for_word(mini_copy: Mini, tmp_path: Path) -> None:
    place = tmp_path / "out"
    assert featlas("export", "delphi", place, "--workspace", mini_copy.workspace).code == 0
    ran = mini_copy.featlas("label", "--explainer", "import", "--labels", place)
    assert ran.code in (0, 3), ran.err
    assert mini_copy.ask(IMPORTED).rows() == mini_copy.ask(SHOWN).rows()


def test_naming_the_explainer_exports_its_labels_with_its_scores(mini: Mini, tmp_path: Path) -> None:
    workspace = ("--workspace", mini.workspace)
    featlas("export", "delphi", tmp_path / "shown", *workspace)
    featlas("export", "delphi", tmp_path / "named", "--explainer", "token_pattern", *workspace)
    for file in ("scores.csv", "failures.csv"):
        assert (tmp_path / "shown" / file).read_text() == (tmp_path / "named" / file).read_text()


def test_help_lists_every_format_with_half_a_line() -> None:
    said = featlas("export", "--help").out
    assert [name for name in names(dashboards.exporters) if f"\n  {name} " not in said] == []


def test_where_the_export_went_is_printed_and_what_it_holds_is_said(mini: Mini, tmp_path: Path) -> None:
    ran = featlas("export", "scoreboard", tmp_path / "b.xlsx", "--workspace", mini.workspace)
    assert (ran.code, ran.out) == (0, f"{tmp_path / 'b.xlsx'}\n")
    assert "rows of the scoreboard" in ran.err
    featlas("export", "parquet", tmp_path / "p", "--tables", "labels, scores", "--workspace", mini.workspace)
    assert json.loads((tmp_path / "p" / "export.json").read_text())["format"] == "parquet"
    assert sorted(file.stem for file in (tmp_path / "p").glob("*.parquet")) == ["labels", "scores"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "Formats: delphi,"),
        (("delphi",), "export delphi PLACE"),
        (("delhi", "out"), "Did you mean 'delphi'? Known: delphi,"),
        (("delphi", "out", "--tables", "labels"), "--tables says nothing to the format delphi"),
        (("delphi", "out", "--explainer", "ngram"), "There are: --explainer token_pattern"),
        (("delphi", "out", "--feature-set", "mimi"), "Did you mean 'mini'?"),
        (("delphi", "out", "--features", "0-99999"), "no feature 99999"),
        (("scoreboard", "out.doc"), ".xlsx"),
        (("parquet", "out", "--single-file", "x"), "Leave FORMAT and PLACE out"),
    ],
)
def test_what_cannot_be_exported_is_told_in_one_paragraph(
    arguments: tuple[str, ...], said: str, mini: Mini, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ran = featlas("export", *arguments, "--workspace", mini.workspace)
    assert ran.code == 2
    assert said in ran.paragraph()
    assert list(tmp_path.iterdir()) == []
