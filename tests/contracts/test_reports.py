"""Every kind of report in every format: it says where its numbers come from, and nothing in it can do harm."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import unescape
from pathlib import Path
from typing import TypeAlias

import polars as pl
import pytest

from dashboards import formats, queries, reports
from dashboards.report import Wanted, render
from dashboards.reports.comparison import Compared, Labeler, Pairing
from labeling.errors import FeatlasError, UsageError
from labeling.workspace import Workspace
from tests.dashboards.build import NASTY, make, publish
from tests.dashboards.checked_page import Page

SIDE = Labeler("demo", "s1", "token_pattern", "", "1", "{}")
DIFFERENCE = {
    "scorer": "pattern", "judge": "", "metric": "headline", "paired": True, "n_a": 3, "n_b": 3, "only_a": 0, "only_b": 1,
    "mean_a": 0.7, "mean_b": 0.6, "difference": 0.1, "low": 0.05, "high": 0.15, "p": 0.01, "p_holm": 0.01,
    "win_rate": 0.9, "features_needed": 40,
}  # fmt: skip
SCORES = pl.DataFrame({"feature": [0, 1, 2], "score_a": [0.9, 0.5, 0.6], "score_b": [0.5, 0.6, 0.6]}).with_columns(
    difference=pl.col("score_a") - pl.col("score_b")
)
COMPARED = Compared(
    f"explainer={NASTY}", "explainer=ngram", (DIFFERENCE,), (Pairing("pattern", "", SIDE, SIDE, SCORES),), "headline",
    0.01, 0.02, 0,
)  # fmt: skip
SETTINGS = {"feature": 1, "compared": COMPARED}
Files: TypeAlias = Mapping[tuple[str, str], Mapping[str, bytes]]
KINDS, FORMATS = reports.names(), formats.names()
both = pytest.mark.parametrize(("kind", "form"), [(kind, form) for kind in KINDS for form in FORMATS])


def settings(kind: str) -> dict[str, object]:
    return {name: SETTINGS[name] for name in reports.settings_of(kind) if name in SETTINGS}


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[queries.Reader]:
    made = make()
    made.add(
        "tags", sample_id="s1", feature=1, tag=NASTY, tagger="somebody", stance="asserts", state="open", evidence=[1]
    )
    with queries.open_reader(publish(made, Workspace(tmp_path_factory.mktemp("workspace")))) as opened:
        yield opened


@pytest.fixture(scope="module")
def files(reader: queries.Reader) -> Files:
    """What every kind gives in every format."""
    documents = {
        kind: reports.create(kind, **settings(kind)).write(reader, command=f"featlas report {kind}") for kind in KINDS
    }
    return {(kind, form): formats.create(form).render(documents[kind]) for kind in KINDS for form in FORMATS}


def texts(files: Files, kind: str) -> dict[str, str]:
    """The words of a report in the formats that can be read as text."""
    html, markdown = (next(iter(files[kind, form].values())).decode() for form in ("html", "markdown"))
    return {"html": Page(html).text, "markdown": unescape(markdown).replace("\\", "")}


@both
def test_the_first_file_is_the_report(files: Files, kind: str, form: str) -> None:
    name, content = next(iter(files[kind, form].items()))
    assert name.endswith(formats.create(form).ending)
    assert len(content) > 2_000


@pytest.mark.parametrize("kind", KINDS)
def test_every_report_says_where_its_numbers_come_from(files: Files, kind: str) -> None:
    for form, text in texts(files, kind).items():
        for words in (
            "embedded/minilm", "encoder.layer.2", "300,000 tokens", "token_pattern", "sampling", "What failed or was lost",
            "What it cost", "0123456789abcdef", "Featlas 0.1.0", f"featlas report {kind}", "[sample]\nseed = 0",
        ):  # fmt: skip
            assert words in text, f"{form}: {words}"


@pytest.mark.parametrize("kind", KINDS)
def test_every_page_is_well_formed_and_loads_and_runs_nothing(files: Files, kind: str) -> None:
    html = files[kind, "html"][next(iter(files[kind, "html"]))].decode()
    Page(html).assert_harmless()
    assert "url(" not in html


@pytest.mark.parametrize("kind", KINDS)
def test_hostile_text_stays_text_in_markdown(files: Files, kind: str) -> None:
    markdown = next(iter(files[kind, "markdown"].values())).decode()
    assert "<script" not in markdown.replace("\\<", "")
    assert not set(markdown) & {"\x00", "\x1b", "\u202e"}
    assert not any(line.startswith("|") and line.count("|") < 3 for line in markdown.splitlines())


@pytest.mark.parametrize("kind", KINDS)
def test_the_figures_of_markdown_lie_beside_it(files: Files, kind: str) -> None:
    name, *figures = files[kind, "markdown"]
    for figure in figures:
        assert f"]({figure})" in files[kind, "markdown"][name].decode()
        assert b"var(--" not in files[kind, "markdown"][figure]
        assert b'xmlns="http://www.w3.org/2000/svg"' in files[kind, "markdown"][figure]


@pytest.mark.parametrize("kind", KINDS)
def test_a_pdf_is_one_file(files: Files, kind: str) -> None:
    (content,) = files[kind, "pdf"].values()
    assert content.startswith(b"%PDF-")
    assert content.rstrip().endswith(b"%%EOF")


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"run", "comparison"}))
def test_an_unknown_feature_set_is_refused(reader: queries.Reader, kind: str) -> None:
    report = reports.create(kind, **settings(kind), feature_set="demos")
    with pytest.raises(UsageError, match="Did you mean 'demo'"):
        report.write(reader, command="")


@pytest.mark.parametrize("kind", ["feature", "neighborhood"])
def test_an_unknown_feature_is_refused_with_those_there_are(reader: queries.Reader, kind: str) -> None:
    with pytest.raises(UsageError, match="no feature 24 in demo: its features are 0 to 23"):
        reports.create(kind, feature=24).write(reader, command="")


@pytest.mark.parametrize("kind", ["feature", "neighborhood", "comparison"])
def test_a_kind_that_lacks_its_subject_says_which_option_names_it(kind: str) -> None:
    with pytest.raises(UsageError, match=r"--feature NUMBER|--a and --b"):
        reports.create(kind)


@pytest.mark.parametrize(
    ("kind", "missing", "said"),
    [
        ("scoreboard", "score_groups", "featlas score"),
        ("neighborhood", "neighbors", "featlas cluster"),
        ("feature", "samples", "featlas sample"),
    ],
)
def test_a_stage_that_has_not_run_is_named(tmp_path: Path, kind: str, missing: str, said: str) -> None:
    part = make(6, 2, documents=3)
    del part.tables[missing]
    with (
        queries.open_reader(publish(part, Workspace(tmp_path))) as reader,
        pytest.raises(FeatlasError, match=said),
    ):
        reports.create(kind, **settings(kind)).write(reader, command="")


def test_a_tag_report_without_tags_says_what_fills_it(reader: queries.Reader) -> None:
    (page,) = render(reader, Wanted("tags", settings={"feature_set": "demo-random"})).values()
    assert "No feature has a tag." in Page(page.decode()).text
