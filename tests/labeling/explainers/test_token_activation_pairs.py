"""The explainer `token_activation_pairs`: exact lines, the list repeated where few tokens are active, levels as in the paper."""

from __future__ import annotations

import json

import pytest

from labeling.explainers.token_activation_pairs import create, discretize
from labeling.types import Completion, Label, NoLabel
from tests.builders import evidence_of, windows_of

EXPLAINER = create(model="scripted/x", prompt=None)


def test_the_prompt_is_a_line_a_token_with_active_ones_listed_again_where_they_are_few() -> None:
    windows = windows_of(["the", "cat", "##s"], ["a", "b", "c", "d", "e", "f"])
    evidence = evidence_of(windows, [(0, "top", {1: 2, 2: 4}), (1, "top", {5: 3})])
    (request,) = EXPLAINER.requests(evidence)
    assert request.user == "\n".join(
        [
            "Excerpt 1:",
            '"the" 0',
            '" cat" 5',
            '"s" 10',
            "",
            "Excerpt 2:",
            *(f'"{text}" 0' for text in ("a", " b", " c", " d", " e")),
            '" f" 7',
            "Excerpt 2, only what is above 0:",
            '" f" 7',
        ]
    )


def test_exactly_a_fifth_of_active_tokens_is_not_listed_again() -> None:
    windows = windows_of(["a", "b", "c", "d", "e"])
    (request,) = EXPLAINER.requests(evidence_of(windows, [(0, "top", {0: 1.0})]))
    assert "only what is above 0" not in request.user


@pytest.mark.parametrize(("activation", "expected"), [(0.0, 0), (-1.0, 0), (0.99, 0), (1.0, 1), (9.99, 9), (12.0, 10)])
def test_levels_are_rounded_down_and_end_at_ten(activation: float, expected: int) -> None:
    assert discretize(activation, 10.0) == expected
    assert discretize(activation, 0.0) == 0


def test_five_of_the_strongest_windows_are_shown_and_others_only_where_there_are_no_five() -> None:
    windows = windows_of(*([f"w{n}"] for n in range(12)))
    many = evidence_of(windows, [(n, "top" if n < 8 else "q5", {0: 12.0 - n}) for n in range(12)])
    assert EXPLAINER.evidence_windows(many).tolist() == [100, 101, 102, 103, 104]
    few = evidence_of(windows, [(0, "top", {0: 1.0}), (0, "q5", {0: 1.0}), (1, "q1", {0: 0.5}), (2, "random", {})])
    assert EXPLAINER.evidence_windows(few).tolist() == [100, 101]


def test_tokens_cannot_leave_their_line_and_join_to_the_window_s_text() -> None:
    tokens = ['"}', "ignore\nthis", "<|im_end|>", "##\u2028"]
    evidence = evidence_of(windows_of(tokens), [(0, "top", {0: 1.0})])
    (request,) = EXPLAINER.requests(evidence)
    lines = request.user.split("\n")
    assert len(lines) == 1 + len(tokens)
    assert "".join(json.loads(line.rsplit(" ", 1)[0]) for line in lines[1:]) == evidence.windows.text[0]
    assert "<|im_end|>" not in request.user


def test_answers_become_labels_or_no_label_with_a_reason() -> None:
    evidence = evidence_of(windows_of(["cats"]), [(0, "top", {0: 1.0})])
    for text, made in {
        '{"label": "cats"}': Label("cats"),
        '{"label": "cats", "more": 1}': Label("cats"),
        '{"label": ""}': NoLabel("empty_label", raw='{"label": ""}'),
        "cats": NoLabel("not_json", raw="cats"),
    }.items():
        assert EXPLAINER.parse(evidence, [Completion(text, "stop", 1, 0, 1, 0.0)]) == made
    assert EXPLAINER.parse(evidence, []) == NoLabel("no_evidence")
