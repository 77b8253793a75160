"""The explainer `ngram`: concepts that hang on surroundings, found exactly, told in words, and applied to new windows."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from evals.scorers.pattern import create as pattern_scorer
from labeling.explainers import ngram, token_pattern
from labeling.patterns import Pattern, log_odds
from labeling.types import Evidence, Label, Windows
from tests.builders import Row, evidence_of, task_of, windows_of

Fires = Callable[[list[str], int], bool]
FILLERS = ("red", "old", "wet", "big", "new", "sad")


def text(generator: np.random.Generator, n: int) -> list[list[str]]:
    """Windows of 12 tokens: fillers with `not`, `stop` and `go` among them."""
    words = [*FILLERS, "not", "stop", "go"]
    return [[str(word) for word in generator.choice(words, size=12)] for _ in range(n)]


def evidence_for(fires: Fires, *, n: int = 400, seed: int = 0) -> Evidence:
    """The windows in which the concept holds as contexts, and as many silent ones; every window is counted in."""
    pieces = text(np.random.default_rng(seed), n)
    rows: list[Row] = []
    for row, tokens in enumerate(pieces):
        active = {position: 5.0 for position in range(len(tokens)) if fires(tokens, position)}
        rows.append((row, f"q{row % 5 + 1}", active) if active else (row, "random", {}))
    evidence = evidence_of(windows_of(*pieces), rows)
    evidence.contexts.population[:] = 100  # every firing window is at hand
    evidence.contexts.sampled[:] = 100
    return evidence


def label_of(evidence: Evidence) -> tuple[Label, Pattern]:
    label = ngram.create().parse(evidence, ())
    assert isinstance(label, Label)
    return label, Pattern.from_json(label.pattern)


def auroc(pattern: Pattern, windows: Windows, truth: np.ndarray) -> float:
    grades = log_odds(pattern, windows, np.arange(len(windows)))
    return float(np.mean(grades[truth][:, None] > grades[~truth][None, :]))


def new_windows(fires: Fires) -> tuple[Windows, np.ndarray]:
    pieces = text(np.random.default_rng(99), 300)
    truth = np.array([any(fires(tokens, i) for i in range(len(tokens))) for tokens in pieces])
    return windows_of(*pieces), truth


def two_before(tokens: list[str], i: int) -> bool:
    """`stop` with `not` two tokens before it, whatever stands between."""
    return i >= 2 and tokens[i] == "stop" and tokens[i - 2] == "not"


def after_and_before(tokens: list[str], i: int) -> bool:
    return 0 < i < len(tokens) - 1 and tokens[i] == "go" and tokens[i - 1] == "not" and tokens[i + 1] == "stop"


def unless(tokens: list[str], i: int) -> bool:
    return tokens[i] == "stop" and not (i and tokens[i - 1] == "not")


@pytest.mark.parametrize("fires", [two_before, after_and_before, unless])
def test_a_concept_that_hangs_on_surroundings_is_found_and_holds_in_new_text(fires: Fires) -> None:
    _, pattern = label_of(evidence_for(fires))
    windows, truth = new_windows(fires)
    assert auroc(pattern, windows, truth) > 0.97


def test_a_gap_is_a_wildcard_that_neighbors_alone_cannot_say() -> None:
    label, pattern = label_of(evidence_for(two_before))
    assert label.text == '"not … stop"'
    assert any(rule.token == "stop" and rule.around == ((-2, "not"),) for rule in pattern.rules)
    beside_only = token_pattern.create().parse(evidence_for(two_before), ())
    assert isinstance(beside_only, Label)
    windows, truth = new_windows(two_before)
    assert auroc(Pattern.from_json(beside_only.pattern), windows, truth) < 0.9


def test_what_stands_on_both_sides_is_spelled_as_in_the_text() -> None:
    label, _ = label_of(evidence_for(after_and_before))
    assert label.text == '"not go stop"'


def test_a_token_that_always_fires_needs_no_surroundings_and_the_trie_is_pruned_to_it() -> None:
    label, pattern = label_of(evidence_for(lambda tokens, i: tokens[i] == "stop"))
    assert label.text == '"stop"'
    assert [(rule.token, rule.asks) for rule in pattern.rules] == [("stop", ())]


def test_chance_alone_grows_no_surroundings() -> None:
    generator = np.random.default_rng(3)
    label, pattern = label_of(evidence_for(lambda tokens, i: tokens[i] == "stop" and generator.random() < 0.5))
    assert label.text == '"stop"'
    assert sum(bool(rule.asks) for rule in pattern.rules) <= 2


def test_pieces_of_words_are_shown_in_their_word() -> None:
    pieces = [["the", "run", "##ning", "dog"], ["a", "cat", "sat", "down"]] * 10
    evidence = evidence_of(windows_of(*pieces), [(row, "q1", {2: 1.0}) for row in range(0, 20, 2)])
    assert label_of(evidence)[0].text == '"…ning" as in "running"'


def test_the_scorer_pattern_judges_its_labels() -> None:
    label, _ = label_of(evidence_for(two_before))
    windows, truth = new_windows(two_before)
    scorer, task = pattern_scorer(), task_of(windows, label)
    assert scorer.accepts(label) is None
    grades = scorer.parse(task, windows, ()).values
    assert grades[truth].min() > grades[~truth].mean()
