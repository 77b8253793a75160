"""A folder that delphi reads: a JSON string a latent, and nothing where there is no label."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from dashboards.exporters.delphi import module_name
from labeling.label_files import read_label_file
from labeling.selection import parse_selection
from tests.dashboards.build import NASTY, Made
from tests.dashboards.exporters.conftest import Export


def labels_made(made: Made) -> dict[int, str]:
    rows = made.tables["explanations"]
    return {row["feature"]: row["text"] for row in rows if row["sample_id"] == "s1" and row["text"] is not None}


def rows_of(file: Path) -> list[dict[str, str]]:
    with file.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def load_explanation(folder: Path, module: str, latent: int) -> str | None:
    """As delphi does: by the name of the latent, a text file in any encoding that has ASCII, one JSON value."""
    file = folder / f"{module}_latent{latent}.txt"
    return str(json.loads(file.read_text(encoding="ascii"))) if file.exists() else None


def test_every_label_is_found_by_the_name_of_its_latent_word_for_word(export: Export, made: Made) -> None:
    folder = export("delphi") / "explanations"
    found = {n: load_explanation(folder, "encoder.layer.2", n) for n in range(24)}
    assert {n: text for n, text in found.items() if text is not None} == labels_made(made)
    assert found[0] == NASTY


def test_features_without_a_label_are_listed_with_the_reason_and_have_no_file(export: Export) -> None:
    place = export("delphi")
    reasons = {int(row["feature"]): row["reason"] for row in rows_of(place / "failures.csv")}
    assert reasons[3] == "no token stands out"
    assert reasons[5] == "not asked: weak"
    assert len(reasons) + len(list((place / "explanations").iterdir())) == 24
    assert "7 without one" in (place / "README.md").read_text(encoding="utf-8")


def test_importing_the_folder_gives_the_same_labels(export: Export, made: Made) -> None:
    read = read_label_file(export("delphi"))
    expected = {n: text for n, text in labels_made(made).items() if text != NASTY}  # its null byte is refused as damage
    assert {label.feature: label.text for label in read.labels} == expected
    assert [out.problem for out in read.left_out] == ["damaged"]


def test_scores_stand_beside_with_their_intervals(export: Export) -> None:
    rows = rows_of(export("delphi") / "scores.csv")
    scored = [row for row in rows if row["score"]]
    assert len(rows) == len(scored) == 17
    assert all(float(row["score_low"]) <= float(row["score"]) <= float(row["score_high"]) for row in scored)


def test_a_selection_of_features_exports_these_alone(export: Export) -> None:
    place = export("delphi", features=parse_selection("sql: select feature from labels where feature in (1, 2, 3)"))
    assert sorted(file.name for file in (place / "explanations").iterdir()) == [
        "encoder.layer.2_latent1.txt",
        "encoder.layer.2_latent2.txt",
    ]
    assert [row["feature"] for row in rows_of(place / "failures.csv")] == ["3"]


@pytest.mark.parametrize(("hook", "name"), [("a/b", "a--b"), ("../x", "--x"), ("..", "module"), ("h.0.mlp", "h.0.mlp")])
def test_a_modules_name_never_leads_out_of_the_folder(hook: str, name: str) -> None:
    assert module_name(hook) == name
