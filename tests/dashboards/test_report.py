"""The report: what it shows, and that nothing in it can do harm."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest

from dashboards import queries
from dashboards.report import tables, write_report
from dashboards.reports._origin import lost
from labeling.store import Store
from labeling.workspace import Workspace
from tests.dashboards.build import Made, make, publish
from tests.dashboards.checked_page import Page


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    workspace = publish(make(), Workspace(tmp_path_factory.mktemp("workspace")))
    return write_report(workspace, tmp_path_factory.mktemp("report")).parent


@pytest.fixture(scope="module")
def html(folder: Path) -> str:
    return (folder / "report.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(html: str) -> Page:
    return Page(html)


def test_the_page_says_what_was_labeled_and_how_to_repeat_it(page: Page) -> None:
    for words in (
        "embedded/minilm",
        "encoder.layer.2",
        "300,000 tokens",
        "left out or mended: not JSON 1,234",
        "featlas demo --seed 0",
        "token_pattern",
        "0123456789abcdef",
    ):
        assert words in page.text


def test_every_control_stands_beside_the_true_score(page: Page) -> None:
    for words in (
        "True labels",
        "Shuffled labels",
        "Another feature's",
        "Nearest neighbor's",
        "A generic label",
        "No label",
        "Random weights",
    ):
        assert words in page.text
    assert "0.690" in page.text
    assert "0.678–0.702" in page.text
    assert "Chance is 0.5." in page.text


def test_what_failed_is_counted_with_its_reason(page: Page) -> None:
    for words in ("no token stands out", "label has no words to embed", "window too long", "timeout"):
        assert words in page.text


def test_markup_of_labels_tokens_and_names_is_shown_as_text(page: Page) -> None:
    assert "<script>alert('x')</script>" in page.text
    assert "{{ 7*7 }}" in page.text
    assert not any(tag == "script" for tag, _ in page.tags)
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)


def test_no_invisible_character_reaches_the_page(html: str) -> None:
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f\u200b-\u200f\u202a-\u202e\u2066-\u2069\ufeff]", html)


def test_a_token_of_thousands_of_characters_is_cut(html: str) -> None:
    assert "Z" * 100 in html
    assert "Z" * 200 not in html


def test_the_page_needs_nothing_from_anywhere_and_runs_no_script(page: Page, html: str) -> None:
    page.assert_harmless()
    assert "url(" not in html
    assert "@import" not in html


def test_activation_is_shown_by_shade_with_its_value(page: Page) -> None:
    shades = [attributes for tag, attributes in page.tags if tag == "mark"]
    assert shades
    assert all(
        re.fullmatch(r"a([1-9]|10)", a["class"] or "") and re.fullmatch(r"\d\.\d\d", a["title"] or "") for a in shades
    )


def test_windows_run_in_the_direction_of_their_text(html: str) -> None:
    windows = re.findall(r'<div class="window">\s*<p([^>]*)>', html)
    assert windows
    assert set(windows) == {' dir="auto"'}


def test_the_page_stays_small(folder: Path) -> None:
    assert (folder / "report.html").stat().st_size < 3_000_000


def test_the_tables_lie_beside_the_page_and_no_cell_is_a_formula(folder: Path) -> None:
    assert {file.name for file in folder.iterdir()} == {
        "report.html", "labels.csv", "scoreboard.csv", "clusters.csv", "status.csv", "losses.csv", "requests.csv",
        "times.csv",
    }  # fmt: skip
    for file in folder.glob("*.csv"):
        with file.open(newline="", encoding="utf-8") as stream:
            for row in list(csv.reader(stream))[1:]:
                assert not [cell for cell in row if re.match(r"[=+@\t\r]|-(?![\d.])", cell)]


def test_a_file_with_all_losses_is_named_only_where_there_is_one() -> None:
    row = {"stage": "score", "who": "pattern", "control": None, "n": 1, "what": "label", "reason": "none"}
    alone, beside = (str(lost([row] * 41, file=file)) for file in (None, "losses.csv"))
    assert "The first 40 of 41 lines." in alone
    assert "losses.csv" not in alone
    assert "The first 40 of 41 lines; all are in " in beside
    assert "losses.csv" in beside


def test_a_label_that_looks_like_a_formula_is_neutralized(tmp_path: Path) -> None:
    made = make(4, 2, documents=3)
    made.tables["explanations"][1]["text"] = "=HYPERLINK(1)"
    target = write_report(publish(made, Workspace(tmp_path / "workspace")), tmp_path / "report").parent
    assert ",'=HYPERLINK(1)," in (target / "labels.csv").read_text(encoding="utf-8")


def test_the_labels_file_holds_every_feature_once(folder: Path) -> None:
    with (folder / "labels.csv").open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["feature_set"], int(row["feature"])) for row in rows] == [
        *(("demo", feature) for feature in range(24)),
        *(("demo-random", feature) for feature in range(8)),
    ]


@pytest.mark.parametrize(
    ("kept", "said"),
    [
        (set(), "Nothing is sampled yet"),
        ({"feature_sets", "samples", "features", "documents"}, "No feature has a label yet"),
        ({"feature_sets", "samples", "features", "explanations"}, "No label has a grade yet"),
        ({"feature_sets", "samples", "features", "explanations", "scores", "score_groups"}, "No map yet"),
    ],
)
def test_a_workspace_that_is_not_finished_says_what_comes_next(tmp_path: Path, kept: set[str], said: str) -> None:
    made = make(6, 2, documents=3)
    part = Made({table: rows for table, rows in made.tables.items() if table in kept})
    written = write_report(publish(part, Workspace(tmp_path / "workspace")), tmp_path / "report")
    assert said in " ".join(Page(written.read_text(encoding="utf-8")).text.split())


def test_writing_again_gives_the_same_page(tmp_path: Path) -> None:
    workspace = publish(make(6, 2, documents=3), Workspace(tmp_path / "workspace"))
    first = write_report(workspace, tmp_path / "report").read_bytes()
    with Store(workspace) as store:
        store.publish()
    assert write_report(workspace, tmp_path / "report").read_bytes() == first


def test_a_table_of_the_page_keeps_its_columns_when_it_is_empty(tmp_path: Path) -> None:
    with queries.open_reader(publish(Made(), Workspace(tmp_path))) as reader:
        columns = {name: frame.columns for name, frame in tables(reader)}
    assert columns["requests"][:2] == ["purpose", "model"]
    assert columns["losses"] == ["feature_set", "stage", "who", "control", "what", "n", "reason"]
    assert columns["labels"][0] == "feature_set"
