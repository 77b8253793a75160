"""Values as people read them."""

from __future__ import annotations

import pytest

from dashboards.text import count, dollars, interval, number, percent, plural, seconds, shorten, visible, visible_lines


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain text, ünïcode ✓", "plain text, ünïcode ✓"),
        ("a\x00b\x1b[31m\x7f", "a␀b␛[31m␡"),
        ("line\nbreak\ttab", "line↵break tab"),
        ("abc\u202egnirts\u200b\ufeff", "abc�gnirts��"),
        ("می\u200cخواهم 👩\u200d💻", "می\u200cخواهم 👩\u200d💻"),
        ("a\u200db \u200c", "a�b �"),
        ("lone \ud800 surrogate\u2028", "lone � surrogate�"),
    ],
)
def test_nothing_in_a_text_stays_invisible(text: str, shown: str) -> None:
    assert visible(text) == shown
    assert len(visible(text)) == len(text)


def test_a_text_of_several_lines_keeps_its_lines_and_tabs_and_nothing_else() -> None:
    assert visible_lines("a\n\tb\r\nc\rd\u202e\x1b") == "a\n\tb\nc␍d�␛"


def test_a_long_text_is_cut_and_says_how_much_is_missing() -> None:
    assert shorten("abcdef", 6) == "abcdef"
    assert shorten("a" * 1240, 240) == "a" * 240 + "… (+1,000 characters)"
    assert shorten("ab cdef", 3, told=False) == "ab…"


def test_numbers_are_shown_with_units_and_missing_ones_as_a_dash() -> None:
    assert (number(0.74321), number(-0.5, 1), number(None), number(float("nan"))) == ("0.743", "−0.5", "–", "–")
    assert (interval(0.7, 0.8), interval(None, 0.8)) == ("0.70–0.80", "–")
    assert (count(1234567), count(None)) == ("1,234,567", "–")
    assert [percent(share) for share in (0, 0.5, 0.05, 0.004, 0.00012, None)] == [
        "0 %",
        "50 %",
        "5.0 %",
        "0.40 %",
        "0.012 %",
        "–",
    ]
    assert (dollars(0), dollars(0.0042), dollars(1234.5), dollars(None)) == ("$0.00", "$0.0042", "$1,234.50", "–")
    assert (seconds(41.04), seconds(600), seconds(7200)) == ("41.0 s", "10.0 min", "2.0 h")
    assert (plural(1, "feature"), plural(2000, "feature")) == ("1 feature", "2,000 features")
