from __future__ import annotations

import pytest

from evals.planted.predicates import anywhere, either, inside, joined, near, outside, pattern, words

TEXT = 'Paris is not "Paris" (or Parisian).'


def said(spans: list[tuple[int, int]], text: str = TEXT) -> list[str]:
    return [text[start:end] for start, end in spans]


def test_words_are_found_whole_and_not_as_parts_of_others() -> None:
    assert words("Paris")(TEXT) == [(0, 5), (14, 19)]
    assert words("paris")(TEXT) == []
    assert words("paris", any_case=True)(TEXT) == [(0, 5), (14, 19)]


def test_of_a_pattern_with_a_group_the_group_alone_holds() -> None:
    assert said(pattern(r"is (not)")(TEXT)) == ["not"]
    assert said(pattern(r"i\w")(TEXT)) == ["is", "is", "is", "is", "ia"]
    assert pattern("x*")(TEXT) == []


def test_a_line_has_a_start_of_its_own() -> None:
    assert pattern("^b")("a\nb b") == [(2, 3)]


def test_either_joins_what_overlaps() -> None:
    assert either(pattern("abc"), pattern("cd"), pattern("f"))("abcdef") == [(0, 4), (5, 6)]
    assert joined([(3, 5), (0, 1), (4, 9)]) == [(0, 1), (3, 9)]


def test_inside_and_outside_part_the_spans_between_them() -> None:
    quoted = pattern(r'"[^"]*"')
    assert inside(words("Paris"), quoted)(TEXT) == [(14, 19)]
    assert outside(words("Paris"), quoted)(TEXT) == [(0, 5)]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("debt one two three four paid", True),
        ("debt one two three four five paid", False),
        ("paid one two three four debt", True),
        ("debt\npaid", False),
    ],
)
def test_near_counts_words_on_both_sides_within_a_line(text: str, found: bool) -> None:
    assert bool(near(words("debt"), words("paid"), within_words=5)(text)) is found


def test_the_whole_text_is_anywhere() -> None:
    assert anywhere("abc") == [(0, 3)]
    assert anywhere("") == []
