"""Patterns as programs: which rule counts at a position, against a search through all rules."""

from __future__ import annotations

import json

import numpy as np
import pytest

from labeling.patterns import ANYTHING, MAX_RATE, Pattern, Rule, log_odds, match_rates
from labeling.types import Windows
from tests.builders import windows_of


def rate_by_search(pattern: Pattern, tokens: list[str], position: int) -> float:
    """The last of the most specific rules that match, found by trying each."""
    at = {place - position: token for place, token in enumerate(tokens)}
    rate = pattern.base_rate
    for asks in (False, True):
        for rule in pattern.rules:
            wanted = {-1: rule.left, 1: rule.right, **dict(rule.around)}
            wanted = {distance: token for distance, token in wanted.items() if token is not None}
            if bool(wanted) == asks and rule.token == at[0] and wanted.items() <= at.items():
                rate = rule.rate
    return rate


def random_windows(generator: np.random.Generator) -> Windows:
    return windows_of(*([str(w) for w in generator.choice(list("abcd"), size=size)] for size in (6, 3, 5, 6)))


@pytest.mark.parametrize("seed", range(20))
def test_the_most_specific_and_then_the_last_rule_counts(seed: int) -> None:
    generator = np.random.default_rng(seed)
    windows = random_windows(generator)

    def word(absent: float) -> str | None:
        return None if generator.random() < absent else str(generator.choice(list("abcde")))  # no window has e

    def far() -> tuple[tuple[int, str], ...]:
        distances = generator.choice([-7, -3, -2, 2, 4], size=generator.integers(0, 3), replace=False)
        return tuple((int(distance), word(0) or "") for distance in distances)

    rules = (Rule(word(0) or "", float(generator.random()), word(0.6), word(0.6), far()) for _ in range(40))
    pattern = Pattern(tuple(rules), (), 0.25)
    rates = match_rates(pattern, windows, np.arange(len(windows)))
    for row in range(len(windows)):
        tokens = windows.token_strings(row)
        assert rates[row, : len(tokens)].tolist() == [rate_by_search(pattern, tokens, i) for i in range(len(tokens))]
        assert not rates[row, len(tokens) :].any()


def test_the_log_odds_are_those_of_any_position_firing_plus_each_context_word_once() -> None:
    windows = windows_of(["a", "b", "b"], ["b", "c"])
    pattern = Pattern((Rule("a", 0.5), Rule("b", 1.0)), (("b", 0.75), ("c", -2.0)), base_rate=0.1)
    silent = np.array([0.5 * (1 - MAX_RATE) ** 2, (1 - MAX_RATE) * 0.9])
    expected = np.log((1 - silent) / silent) + np.array([0.75, 0.75 - 2.0])
    assert log_odds(pattern, windows, np.array([0, 1])) == pytest.approx(expected)


def test_a_pattern_that_was_stored_as_json_is_the_same_pattern() -> None:
    pattern = Pattern((Rule("a", 0.5), Rule("b", 0.9, right="a", around=((-3, "d"),))), (("c", 1.5),), 0.01)
    assert Pattern.from_json(json.loads(json.dumps(pattern.as_json()))) == pattern


def test_a_rule_without_far_tokens_is_stored_as_before_there_were_any() -> None:
    assert Rule("a", 0.5, left="b").as_json() == {"token": "a", "rate": 0.5, "left": "b", "right": None}


def test_the_pattern_of_a_label_that_is_true_of_all_text_says_the_same_of_windows_of_one_length() -> None:
    windows = windows_of(["a", "b"], ["c", "d"])
    assert len(set(log_odds(ANYTHING, windows, np.array([0, 1])))) == 1
