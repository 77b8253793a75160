"""Selections of features: how they may be written and which features they mean."""

from __future__ import annotations

import pytest

from labeling.errors import UsageError
from labeling.selection import Selection, parse_selection, select_features


@pytest.mark.parametrize(
    ("written", "features"),
    [
        ("all", [0, 1, 2, 3, 4, 5, 6, 7]),
        ("2-4", [2, 3, 4]),
        ("5", [5]),
        ("6,1-2, 2-3", [1, 2, 3, 6]),
        ("[3, 5]", [3, 5]),
        ([5, 3, 3], [3, 5]),
    ],
)
def test_a_selection_means_these_features(written: object, features: list[int]) -> None:
    assert list(parse_selection(written).within(8)) == features


@pytest.mark.parametrize("written", ["all", "0-199", "3,17", "sql: select feature from labels where score > 0.8"])
def test_a_selection_reads_back_from_its_own_text(written: str) -> None:
    assert str(parse_selection(written)) == written
    assert parse_selection(str(parse_selection(written))) == parse_selection(written)


@pytest.mark.parametrize(
    "written", ["", "none", "4-2", "1,,2", "-3", [], [1.5], [True], ["3"], 7, None, "sql:", "1-2-3"]
)
def test_anything_else_is_refused_with_the_forms_allowed(written: object) -> None:
    with pytest.raises(UsageError, match=r"allowed: \"all\", \"0-199\""):
        parse_selection(written)


def test_a_feature_the_dictionary_does_not_have_is_refused() -> None:
    with pytest.raises(UsageError, match=r"no feature 8 .*0 to 7"):
        parse_selection("3,8").within(8)


def test_a_selection_by_sql_keeps_its_text_for_the_store() -> None:
    assert parse_selection("sql: select 1 ") == Selection(sql="select 1")
    with pytest.raises(ValueError, match="resolved by the store"):
        Selection(sql="select 1").within(8)
    assert list(select_features([1, 0]).within(8)) == [0, 1]


def test_a_selection_that_finds_nothing_does_not_become_all() -> None:
    with pytest.raises(UsageError, match="no feature"):
        select_features([])
