"""The explainer `contrastive`: exact prompt, hard negatives by kind, what becomes of answers."""

from __future__ import annotations

import pytest

from labeling.explainers.contrastive import FORMAT, GROUPS, create
from labeling.types import Completion, Label, LLMResult, NoLabel
from tests.builders import Row, evidence_of, windows_of

EXPLAINER = create(model="scripted/x", prompt=None)


def completion(text: str) -> LLMResult:
    return Completion(text, "end_turn", 10, 0, 10, 0.1)


def test_the_prompt_shows_firing_windows_beside_silent_ones_by_what_makes_them_hard() -> None:
    windows = windows_of(
        ["the", "river", "bank"], ["bank", "of", "mud"], ["the", "bank", "paid"], ["a", "loan"], ["wet", "mud"], ["so"]
    )
    evidence = evidence_of(
        windows,
        [
            (1, "q1", {0: 1.5}),
            (0, "top", {1: 1, 2: 5}),
            (2, "hard_token", {}),
            (3, "hard_neighbor", {}),
            (4, "hard_text", {}),
            (5, "random", {}),
        ],
    )
    (request,) = EXPLAINER.requests(evidence)
    assert request.user == "\n".join(
        [
            "Firing:",
            '10 "the river <<bank>>"',
            '3 "<<bank>> of mud"',
            "",
            "Silent, though a word stands there on which the feature fires elsewhere:",
            '"the bank paid"',
            "",
            "Silent, though a closely related feature fires there:",
            '"a loan"',
            "",
            "Silent, though the text is similar:",
            '"wet mud"',
            "",
            "Silent, drawn at random:",
            '"so"',
        ]
    )
    assert request.system.endswith(FORMAT)
    assert EXPLAINER.evidence_windows(evidence).tolist() == [100, 101, 102, 103, 104, 105]


def test_a_kind_without_windows_has_no_heading() -> None:
    windows = windows_of(["cats"], ["dogs"])
    (request,) = EXPLAINER.requests(evidence_of(windows, [(0, "top", {0: 1.0}), (1, "hard_text", {})]))
    assert [line for line in request.user.split("\n") if line.startswith("Silent")] == [GROUPS["hard_text"]]


def test_hard_windows_outnumber_random_ones_and_each_is_shown_once() -> None:
    windows = windows_of(*([f"w{n}"] for n in range(200)))
    rows: list[Row] = [(n, "top", {0: 200.0 - n}) for n in range(20)]
    for s, stratum in enumerate(("q1", "q2", "q3", "q4", "q5", "hard_token", "hard_neighbor", "hard_text", "random")):
        rows += [(20 * s + n, stratum, {0: 1.0} if stratum[0] == "q" else {}) for n in range(20)]
    shown = EXPLAINER.evidence_windows(evidence_of(windows, rows)).tolist()
    assert len(shown) == len(set(shown)) == 8 + 10 + 3 * 5 + 3


@pytest.mark.parametrize(
    ("answer", "made"),
    [
        (
            '{"difference": "money, not water", "label": "river banks"}',
            Label("river banks", rationale="money, not water"),
        ),
        ('{"label": "river banks"}', Label("river banks")),
        ("river banks", NoLabel("not_json", raw="river banks")),
        ('{"difference": "d"}', NoLabel("wrong_shape", raw='{"difference": "d"}')),
    ],
)
def test_an_answer_becomes_a_label_with_the_difference_apart_or_no_label_with_a_reason(
    answer: str, made: Label | NoLabel
) -> None:
    evidence = evidence_of(windows_of(["cats"]), [(0, "top", {0: 1.0})])
    assert EXPLAINER.parse(evidence, [completion(answer)]) == made
    assert EXPLAINER.problem(EXPLAINER.requests(evidence)[0], answer) == (
        made.reason if isinstance(made, NoLabel) else None
    )


def test_without_firing_windows_nothing_is_asked() -> None:
    evidence = evidence_of(windows_of(["a"]), [(0, "hard_token", {})])
    assert EXPLAINER.requests(evidence) == ()
    assert EXPLAINER.parse(evidence, []) == NoLabel("no_evidence")
