"""Files that Neuronpedia imports: the columns of its tables, the same ones in every line, and ids that stay."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from dashboards.exporters import neuronpedia
from dashboards.exporters.neuronpedia import Batches, worth
from labeling.label_files import read_label_file
from tests.dashboards.build import NASTY, Made
from tests.dashboards.exporters.conftest import Export
from tests.dashboards.exporters.test_delphi import labels_made

NEEDED = {"id", "modelId", "layer", "index", "authorId", "description", "typeName", "explanationModelName", "notes"}
"""Columns of Neuronpedia's table Explanation that have no default or say what the label is."""
SCORED = {"explainer": "ngram", "scorer": "detection", "judge_model": "openai/judge", "metric": "headline"}


def lines(folder: Path) -> list[dict[str, Any]]:
    files = sorted(folder.glob("batch-*.jsonl.gz"))
    return [json.loads(line) for file in files for line in gzip.open(file, "rt", encoding="utf-8")]


def names_in(file: Path) -> set[str]:
    return {json.loads(line)["name"] for line in file.read_text(encoding="utf-8").splitlines()}


def test_every_label_is_a_row_with_the_same_columns(export: Export, made: Made) -> None:
    rows = lines(export("neuronpedia", model_id="gpt2-small", source_id="6-res-jb", author_id="me") / "explanations")
    assert all(set(row) == NEEDED for row in rows)
    assert {int(row["index"]): row["description"] for row in rows} == labels_made(made)
    assert {(row["modelId"], row["layer"], row["authorId"]) for row in rows} == {("gpt2-small", "6-res-jb", "me")}


def test_a_score_is_a_row_of_its_own_and_stands_with_its_interval_beside_the_label(export: Export) -> None:
    place = export("neuronpedia")
    scores = {row["explanationId"]: row for row in lines(place / "scores")}
    label = lines(place / "explanations")[1]
    low = json.loads(scores[label["id"]]["jsonDetails"])["score_low"]
    assert f"headline {scores[label['id']]['value']:.3f}, 95 % interval {low:.3f} to" in label["notes"]


def test_what_rows_name_is_described_first(export: Export) -> None:
    place = export("neuronpedia")
    known = {file.stem: names_in(file) for file in (place / "config").iterdir()}
    assert {row["typeName"] for row in lines(place / "explanations")} == known["explanation_type"]
    scores = lines(place / "scores")
    assert {row["explanationScoreTypeName"] for row in scores} == known["explanation_score_type"]
    assert {row["explanationScoreModelName"] for row in scores} == known["explanation_score_model"]


def test_the_same_labels_give_the_same_files(export: Export) -> None:
    first, second = export("neuronpedia", "a"), export("neuronpedia", "b")
    for file in first.rglob("*.gz"):
        assert file.read_bytes() == (second / file.relative_to(first)).read_bytes()


def test_importing_the_folder_gives_the_same_labels_under_the_explainers_name(export: Export, made: Made) -> None:
    read = read_label_file(export("neuronpedia"))
    assert {label.feature: label.text for label in read.labels} == {
        n: text for n, text in labels_made(made).items() if text != NASTY
    }
    assert read.authors == ["featlas_token_pattern"]


def test_batches_are_cut_at_the_same_length_everywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neuronpedia, "LINES", 2)
    with Batches(tmp_path / "b") as batches:
        for number in range(5):
            batches.add({"n": number})
    assert sorted(file.name for file in (tmp_path / "b").iterdir()) == [f"batch-{n}.jsonl.gz" for n in range(3)]
    assert [row["n"] for row in lines(tmp_path / "b")] == [0, 1, 2, 3, 4]


def test_a_label_without_a_score_says_so() -> None:
    assert worth({**SCORED, "score": None}) == "Not scored."
    scored = {**SCORED, "score": 0.5, "score_low": 0.4, "score_high": 0.6, "q": 0.01234}
    assert worth(scored) == (
        "headline 0.500, 95 % interval 0.400 to 0.600, judged by detection with openai/judge; q against wrong labels 0.012."
    )
