"""Lists of features page by page, and what changed since the run before."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import polars as pl
import pytest

from dashboards.list_queries import After, Filters, Order, Sort, feature_list, feature_page
from dashboards.queries import Reader, open_reader
from dashboards.run_queries import changes
from labeling.store import Store
from labeling.workspace import Workspace
from tests.dashboards.build import make, publish
from tests.labeling.store_builders import explanation, run, score, small


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    with open_reader(publish(make(), Workspace(tmp_path_factory.mktemp("workspace")))) as reader:
        yield reader


@pytest.mark.parametrize("direction", ["asc", "desc"])
def test_pages_one_after_the_other_are_the_whole_list(reader: Reader, direction: str) -> None:
    filters, order = Filters(status="ok"), Order("score", "asc" if direction == "asc" else "desc")
    whole = pl.concat(feature_list(reader, "s1", filters, order))
    seen: list[int] = []
    after = None
    while len(seen) < whole.height:
        page = feature_page(reader, "s1", filters, order, after=after, n=5)
        assert page.total == whole.height
        seen += page.rows["feature"].to_list()
        after = After(page.rows["score"][-1], page.rows["feature"][-1])
    assert seen == whole["feature"].to_list()


@pytest.mark.parametrize("sort", ["score", "feature"])
def test_a_whole_list_comes_in_pieces_in_its_order(reader: Reader, sort: Sort) -> None:
    (whole,) = feature_list(reader, "s1", Filters(), Order(sort))
    pieces = list(feature_list(reader, "s1", Filters(), Order(sort), at_once=7))
    assert {piece.height for piece in pieces[:-1]} == {7}
    assert pl.concat(pieces).equals(whole)


def test_a_list_of_nothing_is_one_piece_without_rows(reader: Reader) -> None:
    (none,) = feature_list(reader, "s1", Filters(tag="nobody's"), Order())
    assert (none.height, "label" in none.columns) == (0, True)


def test_a_page_after_the_last_is_empty_and_still_counts_the_list(reader: Reader) -> None:
    page = feature_page(reader, "s1", Filters(), Order("feature", "asc"), after=After(10**6, 10**6), n=5)
    assert (page.rows.height, page.total) == (0, pl.concat(feature_list(reader, "s1", Filters(), Order())).height)


def test_a_label_that_reads_differently_the_second_time_is_a_change(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    first, second = datetime(2026, 1, 1), datetime(2026, 1, 2)
    with Store(workspace) as store:
        small(
            store, "explanations",
            *(explanation(name, feature, "x", text, created_at=when, run_id=run) for name, feature, text, when, run in (
                ("a", 1, "dogs", first, "r1"), ("b", 1, "cats", second, "r2"),
                ("c", 2, "same", first, "r1"), ("d", 2, "same", second, "r2"), ("e", 3, "only", second, "r2"),
            )),
        )  # fmt: skip
        store.publish()
    with open_reader(workspace) as reader:
        found = changes(reader, "s", most=9)
    assert found.n_labels == 1
    assert [(row["feature"], row["before"], row["now"]) for row in found.labels] == [(1, "dogs", "cats")]


def test_a_score_beyond_the_interval_of_the_one_before_is_a_change(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    scored = (
        ("a", 1, 0.60, "r1"), ("b", 1, 0.90, "r2"),
        ("c", 2, 0.60, "r1"), ("d", 2, 0.62, "r2"),
        ("e", 3, 0.60, "r1"), ("f", 4, 0.70, "r2"),
    )  # fmt: skip
    with Store(workspace) as store:
        small(store, "runs", run("r1", started_at=datetime(2026, 1, 1)), run("r2", started_at=datetime(2026, 1, 2)))
        small(
            store, "scores",
            *(score(name, feature, value, explainer="x", low=value - 0.05, high=value + 0.05, run_id=by)
              for name, feature, value, by in scored),
        )  # fmt: skip
        store.publish()
    with open_reader(workspace) as reader:
        found = changes(reader, "s", most=9)
    assert found.n_scores == 1
    assert [(row["feature"], row["value_before"], row["value"]) for row in found.scores] == [(1, 0.60, 0.90)]
