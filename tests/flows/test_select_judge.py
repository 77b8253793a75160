"""A scorer as the judge of labels that are being chosen: each window asked once, the headline by hand, losses told."""

from __future__ import annotations

import numpy as np
import pytest

from flows.stages.select_judge import SelectJudge
from labeling.types import CompletionFailure, Contexts, Label, Trial, Verdict
from tests.builders import Row, evidence_of, windows_of
from tests.contracts.reading_judge import JUDGE, completion, grades

PIECES = [["cats", f"w{n}"] for n in range(4)] + [["dogs", f"w{n}"] for n in range(4)]
ROWS: list[Row] = [
    *((n, f"q{n + 1}", {0: n + 1.0}) for n in range(4)),
    (4, "hard_token", {}),
    (5, "hard_text", {}),
    (6, "random", {}),
    (7, "random", {}),
]


def trial(rows: list[Row] = ROWS) -> Trial:
    evidence = evidence_of(windows_of(*PIECES, split="select"), rows)
    return Trial(evidence.feature, evidence.contexts, evidence.windows)


def verdict_on(text: str, on: Trial) -> Verdict:
    label = Label(text)
    return JUDGE.verdict(label, on, [grades(request) for request in JUDGE.requests(label, on)])


def test_grades_stand_beside_their_contexts_and_the_headline_is_that_of_reported_scores() -> None:
    verdict = verdict_on("cats", trial())
    assert verdict.probability.tolist() == pytest.approx([0.95] * 4 + [0.05] * 4)
    assert verdict.score == pytest.approx((0.95 + 1 - 0.05) / 2)
    assert verdict.reason is None


def test_the_worse_side_counts() -> None:
    # the label covers the firing windows and one of two hard ones: (0.95 + 1 - 0.5) / 2
    hard = [(4, "hard_token", {}), (0, "q1", {0: 1.0}), (6, "random", {}), (7, "random", {})]
    on = trial([*hard, (5, "hard_token", {})])
    pieces_with = verdict_on("cats w0", on)
    assert pieces_with.score == pytest.approx((0.95 + 1 - (0.95 + 0.05) / 2) / 2)


def test_requests_are_of_purpose_select_and_ask_about_each_window_once() -> None:
    twice = trial([*ROWS, (0, "q5", {0: 1.0})])
    requests = JUDGE.requests(Label("cats"), twice)
    assert {request.purpose for request in requests} == {"select"}
    lines = [line for r in requests for line in r.user.split("\n") if line[:1].isdigit()]
    assert len(lines) == len({line.partition(" ")[2] for line in lines}) == 8
    assert len(verdict_on("cats", twice).probability) == 9


def test_competing_labels_meet_the_same_windows_in_the_same_order() -> None:
    excerpts = [
        [line for line in request.user.split("\n") if line[:1].isdigit()]
        for label in ("cats", "dogs")
        for request in JUDGE.requests(Label(label), trial())
    ]
    assert excerpts[0] == excerpts[1]


def test_without_an_answer_there_is_no_score_but_the_reason() -> None:
    on = trial()
    verdict = JUDGE.verdict(Label("cats"), on, [CompletionFailure("timeout", retryable=True)])
    assert np.isnan(verdict.probability).all()
    assert (verdict.score, verdict.reason) == (None, "timeout")


def test_a_part_that_lacks_a_stratum_is_judged_on_what_it_has_and_one_that_lacks_a_side_is_not() -> None:
    on = trial()
    without = Trial(on.feature, on.contexts.take(on.contexts.stratum != "q2"), on.windows)
    assert verdict_on("cats", without).score == pytest.approx(0.95)
    no_random = Trial(on.feature, on.contexts.take(on.contexts.stratum != "random"), on.windows)
    assert verdict_on("cats", no_random).score is None
    assert "random" in (verdict_on("cats", no_random).reason or "")


def test_no_context_at_all_is_said() -> None:
    on = trial()
    empty: Contexts = on.contexts.take(np.zeros(0, np.int64))
    assert JUDGE.verdict(Label("cats"), Trial(on.feature, empty, on.windows), []).reason == "no context to judge"


def test_its_identity_changes_with_model_and_windows_in_a_request() -> None:
    from evals.scorers import detection

    others = [
        SelectJudge(detection.create(model="scripted/other"), "scripted/other"),
        SelectJudge(detection.create(model="scripted/judge", windows_per_request=5), "scripted/judge"),
    ]
    assert all(other.identity != JUDGE.identity for other in others)


def test_a_partial_answer_leaves_the_other_windows_unknown() -> None:
    on = trial()
    verdict = JUDGE.verdict(Label("cats"), on, [completion({"1": 100})])
    assert int(np.isnan(verdict.probability).sum()) == 7
