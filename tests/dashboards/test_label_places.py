from __future__ import annotations

from dashboards.label_places import Name, place_names, text_width

FIGURE = {"width": 300.0, "height": 100.0, "size": 10.0}


def test_a_name_with_room_stands_where_it_should() -> None:
    assert place_names([Name("a", 150, 50)], **FIGURE) == (Name("a", 150, 50),)


def test_a_name_that_would_cover_another_is_moved_up_or_down() -> None:
    first, second = place_names([Name("first", 150, 50), Name("second", 150, 52)], **FIGURE)
    assert first == Name("first", 150, 50)
    assert abs(second.y - first.y) >= 10


def test_a_name_without_a_place_is_left_out_and_the_first_ones_stay() -> None:
    names = [Name(f"name {n}", 150, 50) for n in range(20)]
    placed = place_names(names, **FIGURE)
    assert 1 < len(placed) < 8
    assert [name.text for name in placed] == [name.text for name in names[: len(placed)]]


def test_a_name_at_the_edge_is_written_within_the_figure() -> None:
    (placed,) = place_names([Name("at the edge", 0, 50)], **FIGURE)
    assert placed.x >= text_width("at the edge", 10) / 2


def test_a_name_wider_than_the_figure_is_left_out() -> None:
    assert place_names([Name("x" * 200, 150, 50)], **FIGURE) == ()


def test_east_asian_characters_are_wide_and_combining_ones_have_no_width() -> None:
    assert text_width("漢", 10) > text_width("a", 10)
    assert text_width("e\u0301", 10) == text_width("e", 10)
