"""What formats do with single blocks."""

from __future__ import annotations

import json

import pytest
import typst

from dashboards import formats
from dashboards.document import (
    Card,
    Code,
    Column,
    Document,
    Heading,
    Measured,
    Row,
    Table,
    Window,
    WindowBand,
    say,
)
from dashboards.formats.markdown import draw, escape
from dashboards.formats.pdf import TEMPLATE, Pdf, breakable, data_of, paged
from dashboards.heatmap import Piece, Word
from dashboards.palette import light, standalone
from dashboards.wording import Scale, close_scale, scale_of, stratum
from labeling.errors import FeatlasError, UsageError

SCORE = Measured(0.612, 0.607, 0.617, chance=0.5)
WORDS = (Word((Piece("silent "),)), Word((Piece("<b>*fires*", 9, 3.2),)))
CARD = Card("a | label", SCORE, ("feature 1",), (WindowBand("top", stratum("top"), (Window(WORDS, 0.5, "d"),)),))


@pytest.mark.parametrize(
    ("found", "written"),
    [
        ("a*b_c", r"a\*b\_c"),
        ("[x](y) | <i>", r"\[x\](y) \| \<i\>"),
        ("http://a.b www.a.b", r"http\://a.b www\.a.b"),
        ("- item", r"\- item"),
        ("1. item", r"1\. item"),
        ("−0.5 to 1.5", "−0.5 to 1.5"),
        ("a & b &lt;", "a &amp; b &amp;lt;"),
        ("two\nlines", "two↵lines"),
        (None, "–"),
    ],
)
def test_markdown_escapes_what_would_be_a_sign(found: str | None, written: str) -> None:
    assert escape(found) == written


def test_a_markdown_table_aligns_numbers_and_gives_intervals() -> None:
    table = Table((Column("What"), Column("Mean", True, "headline")), (Row(("all", SCORE)), Row((Code("a|b"), None))))
    assert draw(table).splitlines() == [
        "| What | Mean `headline` |",
        "|---|--:|",
        "| all | 0.612 (0.607–0.617) |",
        r"| <code>a\|b</code> | – |",
    ]


def test_markdown_marks_what_fires() -> None:
    assert r"- silent <b>\<b\>\*fires\*</b> _(judge says 50 %)_" in draw(CARD)


def test_a_metric_that_can_be_negative_has_room_below_zero() -> None:
    assert scale_of(0.0, [0.2]) == scale_of(None, [0.2, -0.1]) == Scale(-1.0, 1.0)
    assert scale_of(0.5, [0.2, None]) == Scale(0.0, 1.0)
    assert scale_of(1.0, [0.2, 7.3]) == Scale(0.0, 8.0)
    assert Measured(-0.5, -0.9, 0.5, 0.0, start=-1.0).places == {
        "mean": 0.25,
        "low": pytest.approx(0.05),
        "high": 0.75,
        "chance": 0.5,
    }


def test_every_known_format_is_listed_for_an_unknown_one() -> None:
    with pytest.raises(UsageError, match="Known: html, markdown, pdf"):
        formats.create("docx")


def test_long_runs_get_places_to_break_and_hidden_characters_are_shown() -> None:
    assert breakable("Z" * 60).split("\u200b") == ["Z" * 24, "Z" * 24, "Z" * 12]
    assert "\u202e" not in breakable("a\u202eb")


def test_wide_tables_are_printed_in_parts_that_each_name_their_lines() -> None:
    table = Table((Column(""), *(Column(str(n), True) for n in range(12))), (Row(("line", *[SCORE] * 12)),), "grid")
    parts = list(paged(table))
    assert [column.title for part in parts for column in part.columns[1:]] == [str(n) for n in range(12)]
    assert all(part.rows[0].cells[0] == "line" for part in parts)


def test_text_of_every_script_is_set_and_what_no_font_has_is_named() -> None:
    odd = say("עברית عربي e\u0301 \U00010600 {x} #[y] $z$ \\")  # the last letter is of Linear A
    document = Document("odd", "Odd", (Heading("Odd", 1), odd, CARD))
    (content,) = formats.create("pdf").render(document).values()
    assert content.startswith(b"%PDF")
    (missing,) = json.loads(
        typst.query(TEMPLATE.read_bytes(), "<missing>", field="value", sys_inputs={"data": data_of(document)})
    )
    assert "\U00010600" in missing
    assert not set("\u0301–") & set(missing)


def test_pdf_without_its_package_says_what_to_install() -> None:
    with pytest.raises(FeatlasError, match=r"pip install 'featlas\[pdf\]'"):
        Pdf(package="typst_is_not_here").render(Document("x", "x", ()))


def test_a_drawing_that_leaves_the_page_takes_the_light_colors_along() -> None:
    drawn = standalone('<svg class="chart" width="1"><path fill="var(--accent)"/></svg>')
    assert light()["accent"] in drawn
    assert "var(" not in drawn


def test_axes_hold_all_values_and_chance_between_round_numbers() -> None:
    assert close_scale(0.5, [0.68, 0.81]) == Scale(0.5, 0.85)
    assert close_scale(1.0, [2.4, 7.3]).ticks == (1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0)
    assert close_scale(0.0, [-0.31, 0.12]).ticks[0] == -0.35
    assert close_scale(None, []).ticks == (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
