"""Discrimination shows the label among those of similar features, in another order each time."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from evals.rivals import choose_rivals, same_text
from evals.scorers.discrimination import create
from evals.trials import Asked
from labeling.llm.scripted import Script
from labeling.types import Label, LLMRequest
from tests.contracts.small_subject import RIVALS, feature_subject, judge_subject

SCORER = create(model="scripted/x")
CATS = Label("cats, the animals")


def picking(text: str) -> Script:
    """A judge that picks the description with this text, the first where there is none."""

    def answer(request: LLMRequest) -> str:
        shown = re.findall(r'^(\d) "(.*)"$', request.user.partition("Excerpts:")[0], re.MULTILINE)
        return json.dumps({"best": next((int(n) for n, label in shown if label == text), 1)})

    return answer


def measure(judge: Script, *, sharing: int = 0) -> dict[str, tuple[float, float]]:
    subject, windows = feature_subject(CATS)
    measured = SCORER.measure([judge_subject(SCORER, subject, windows, judge, sharing=sharing)])
    table = measured.table
    return {m: (float(table.value[i, 0]), float(measured.chance[i, 0])) for i, m in enumerate(table.metric)}


def test_a_trial_shows_a_window_of_each_quantile_and_every_label_once() -> None:
    subject, windows = feature_subject(CATS)
    trials = SCORER.trials(subject, windows)
    assert len(trials) == 5
    assert len({row for trial in trials for row in trial.rows}) == 25
    for trial in trials:
        assert sorted(trial.choices) == sorted((CATS.text, *RIVALS[:4]))
        assert trial.choices[int(trial.truth or 0) - 1] == CATS.text
        assert (trial.options, len(trial.rows)) == (5, 5)


def test_the_right_label_gets_all_and_a_rivals_nothing() -> None:
    assert measure(picking(CATS.text))["accuracy_labels"] == pytest.approx((1, 0.2))
    assert measure(picking(RIVALS[0]))["accuracy_labels"] == pytest.approx((0, 0.2))


def test_trap_11_of_methods_2_4_a_label_that_other_features_have_too_is_worth_less() -> None:
    found = measure(picking(CATS.text), sharing=3)
    assert found["accuracy_labels"][0] == 1
    assert found["accuracy_adjusted"] == pytest.approx((1 / 4, 0.2 / 4))
    assert found["unshared"][0] == pytest.approx(1 / 4)


def test_the_place_of_the_right_label_tells_nothing() -> None:
    places: Counter[float | None] = Counter()
    for seed in range(60):
        subject, windows = feature_subject(CATS)
        places.update(trial.truth for trial in SCORER.trials(replace(subject, seed=seed), windows))
    assert set(places) == {1, 2, 3, 4, 5}
    assert max(places.values()) < 2 * min(places.values())


def test_without_a_label_no_description_is_shown() -> None:
    subject, windows = feature_subject(None)
    request = SCORER.requests([Asked(subject, SCORER.trials(subject, windows))], windows)[0]
    assert request.user.split("\n")[:6] == ["Descriptions:", *(f"{n} none is available" for n in range(1, 6))]


def test_without_another_label_it_is_unscored_and_says_why() -> None:
    subject, windows = feature_subject(CATS, rivals=())
    table = SCORER.measure([judge_subject(SCORER, subject, windows, picking("x"))]).table
    assert np.isnan(table.value).all()
    assert "another feature's label" in table.reason[0, 0]


def test_rivals_are_the_nearest_labels_that_say_something_else() -> None:
    texts = {1: "cats", 2: "Cats.", 3: "dogs", 4: "  DOGS ", 5: "rivers", 6: "colors", 9: "numbers"}
    neighbors = np.array([3, 2, 4, 8, 5, -1])
    found = choose_rivals(1, "cats", texts=texts, neighbors=neighbors, wanted=3, generator=np.random.default_rng(0))
    assert found[:2] == ["dogs", "rivers"]
    assert found[2] in ("colors", "numbers")
    assert same_text("Cats. ") == same_text("cats")


def test_the_features_own_label_is_no_rival_of_a_control() -> None:
    texts = {1: "cats", 3: "dogs", 5: "rivers"}
    found = choose_rivals(
        1, "dogs", texts=texts, neighbors=np.array([3, 5]), wanted=4, generator=np.random.default_rng(0)
    )
    assert found == ["rivers"]
