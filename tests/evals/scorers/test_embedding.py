"""The embedding scorer ranks windows by likeness to the label, offline."""

from __future__ import annotations

import numpy as np
import pytest

from evals.scorers.embedding import create
from labeling.types import Label
from tests.builders import task_of, windows_of

SCORER = create(model="scripted/ignored")
WINDOWS = windows_of(
    ["the", "kitten", "purred"], ["stock", "markets", "fell"], ["a", "cat", "sleeps", "on", "the", "sofa"]
)


def test_windows_like_the_label_get_the_higher_number() -> None:
    task = task_of(WINDOWS, Label("cats"))
    cats, stocks, cat = SCORER.parse(task, WINDOWS, []).values
    assert min(cats, cat) > stocks + 0.2


def test_without_a_label_the_empty_text_is_compared() -> None:
    blind = SCORER.parse(task_of(WINDOWS, None), WINDOWS, [])
    assert np.isfinite(blind.values).all()
    assert not np.allclose(blind.values, SCORER.parse(task_of(WINDOWS, Label("cats")), WINDOWS, []).values)


def test_numbers_do_not_depend_on_what_was_judged_before() -> None:
    task = task_of(WINDOWS, Label("cats"))
    again = create().parse(task, WINDOWS, [])
    assert again.values.tolist() == SCORER.parse(task, WINDOWS, []).values.tolist()
    assert again.reasons == [None, None, None]


def test_it_is_offline_uncalibrated_and_judges_the_panel() -> None:
    assert SCORER.model is None
    assert SCORER.requests(task_of(WINDOWS, None), WINDOWS) == ()
    assert (SCORER.calibrated, SCORER.uses_panel) == (False, True)


@pytest.mark.parametrize(
    "text", ["Katzen, die Tiere", "猫", "x" * 2000, "cats " * 400], ids=["German", "Chinese", "long", "words"]
)
def test_labels_in_other_languages_and_long_ones_get_numbers(text: str) -> None:
    found = SCORER.parse(task_of(WINDOWS, Label(text)), WINDOWS, [])
    assert np.isfinite(found.values).all()
    assert len(set(found.values.tolist())) == 3
    assert found.reasons == [None, None, None]


@pytest.mark.parametrize(("label", "reason"), [(Label(""), "empty_label"), (Label("cats"), None), (None, None)])
def test_empty_labels_are_refused(label: Label | None, reason: str | None) -> None:
    assert SCORER.accepts(label) == reason
