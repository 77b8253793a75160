"""The exports of whole tables: Parquet with its data dictionary, and a Hugging Face data set with its card."""

from __future__ import annotations

import re

import polars as pl
import pyarrow.parquet as pq
import pytest
from huggingface_hub import DatasetCard

from dashboards import export_queries
from dashboards.export_queries import described_tables
from dashboards.queries import open_reader
from labeling.errors import UsageError
from labeling.workspace import Workspace
from tests.dashboards.build import Made
from tests.dashboards.exporters.conftest import Export


def test_every_table_is_a_file_with_all_its_rows(export: Export, workspace: Workspace) -> None:
    place = export("parquet")
    with open_reader(workspace) as reader:
        for table in described_tables():
            rows = pq.read_metadata(place / f"{table.name}.parquet").num_rows
            assert rows == reader.query(f"SELECT count(*) FROM {table.name}").item(), table.name


def test_pieces_join_to_the_table(export: Export, workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export_queries, "AT_ONCE", 50)
    place = export("parquet", tables=("neighbors", "scores", "contexts"))
    with open_reader(workspace) as reader:
        for table in ("neighbors", "scores", "contexts"):
            assert pl.read_parquet(place / f"{table}.parquet").equals(reader.query(f"SELECT * FROM {table}")), table


def test_files_say_what_their_columns_mean_and_the_data_dictionary_does_too(export: Export) -> None:
    place = export("parquet", tables=("labels",))
    meaning = pq.read_schema(place / "labels.parquet").field("score").metadata[b"comment"].decode()
    assert meaning.startswith("Headline score")
    assert f"| `score` | DOUBLE | {meaning} |" in (place / "data-dictionary.md").read_text(encoding="utf-8")


def test_an_unknown_table_is_told_with_the_nearest_one(export: Export) -> None:
    with pytest.raises(UsageError, match="Did you mean 'labels'"):
        export("parquet", tables=("lables",))


def test_the_card_names_every_file_and_leaves_the_license_open(export: Export) -> None:
    place = export("huggingface")
    card = DatasetCard.load(place / "README.md").data.to_dict()
    files = {config["data_files"] for config in card["configs"]}
    assert files == {f"data/{file.name}" for file in (place / "data").iterdir()}
    assert [config["config_name"] for config in card["configs"] if config.get("default")] == ["labels"]
    assert "license" not in card


def test_the_card_says_how_it_was_made_and_what_was_lost(export: Export) -> None:
    text = (export("huggingface") / "README.md").read_text(encoding="utf-8")
    for said in (
        "`featlas demo --seed 0`",
        "| seed | 0 |",
        "18 ok, 2 weak",
        "`no token stands out`",
        "Shuffled labels",
    ):
        assert said in text, said
    assert "`embedded/demo`, `topk`, 24 features" in text
    assert "| `score` | DOUBLE |" in text


def test_tables_without_rows_are_no_part_of_a_data_set(export: Export, made: Made) -> None:
    place = export("huggingface", tables=("labels", "planted_labels"))
    assert "planted_labels" not in made.tables
    assert [file.name for file in (place / "data").iterdir()] == ["labels.parquet"]


def test_nothing_in_a_card_is_markup(export: Export) -> None:
    text = (export("huggingface") / "README.md").read_text(encoding="utf-8")
    assert not re.search(r"^[^`]*<script", text, re.MULTILINE)
    assert "\x00" not in text
    assert "\x1b" not in text
