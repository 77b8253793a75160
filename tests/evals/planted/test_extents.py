from __future__ import annotations

import numpy as np

from evals.planted.extents import in_windows, mark
from evals.planted.predicates import pattern, words
from tests.evals.planted.texts import planted_text

TEXT = planted_text("a red sea", "the red door is red", "")


def test_tokens_are_numbered_through_all_documents() -> None:
    assert TEXT.n_tokens == 8
    found = TEXT.occurrences(words("red"))
    assert (found.first.tolist(), found.end.tolist()) == ([1, 4, 7], [2, 5, 8])


def test_a_span_covers_every_token_that_it_touches() -> None:
    found = TEXT.occurrences(pattern("ed do"))
    assert (found.first.tolist(), found.end.tolist()) == ([4], [6])


def test_white_space_alone_is_no_occurrence() -> None:
    assert len(TEXT.occurrences(pattern(r" "))) == 0


def test_a_window_holds_a_claim_when_one_of_its_tokens_is_part_of_it() -> None:
    first, end = np.array([0, 2, 3, 6]), np.array([2, 3, 6, 8])
    found = TEXT.occurrences(words("red"))
    assert mark(found, 8).tolist() == [False, True, False, False, True, False, False, True]
    assert in_windows(found, n_tokens=8, first=first, end=end).tolist() == [True, False, True, True]
