"""Items made in a thread ahead of their use: the same items, the same errors, and no thread left behind."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from labeling.sources._ahead import ahead
from tests.waiting import wait_until


def numbers(*, until: int, made: list[int] | None = None, fail_at: int | None = None) -> Iterator[int]:
    for number in range(until):
        if number == fail_at:
            raise ValueError(f"no {number}")
        if made is not None:
            made.append(number)
        yield number


def test_items_come_in_their_order() -> None:
    assert list(ahead(numbers(until=50))) == list(range(50))
    assert list(ahead(numbers(until=0))) == []


def test_some_are_made_before_they_are_asked_for_and_no_more() -> None:
    made: list[int] = []
    items = ahead(numbers(until=50, made=made), count=2)
    assert next(items) == 0
    wait_until(lambda: len(made) == 4)  # the first, two that wait, and one that finds no place
    assert made == [0, 1, 2, 3]
    items.close()  # type: ignore[attr-defined]  # a generator


def test_what_making_one_raises_is_raised_after_the_items_before_it() -> None:
    seen: list[int] = []
    with pytest.raises(ValueError, match="no 3"):
        seen.extend(ahead(numbers(until=50, fail_at=3)))
    items = ahead(numbers(until=50, fail_at=3))
    assert [next(items) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="no 3"):
        next(items)


def test_no_thread_is_left_when_the_reader_stops_early() -> None:
    before = threading.active_count()
    items = ahead(numbers(until=10**9))
    next(items)
    assert threading.active_count() == before + 1
    items.close()  # type: ignore[attr-defined]  # a generator
    assert threading.active_count() == before
