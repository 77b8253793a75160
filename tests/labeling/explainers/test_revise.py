"""The explainer `revise`: it learns on one half of `select`, chooses on the other, and shows exactly its own mistakes."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest

from labeling.explainers import steps_of
from labeling.explainers.revise import Revise, create, halves
from labeling.types import Candidate, CompletionFailure, Label, LLMRequest, LLMResult, NoLabel, Trial
from tests.contracts.reading_judge import JUDGE, completion, grades
from tests.contracts.small_feature import feature_evidence, feature_trial

EXPLAINER: Revise = create(model="scripted/x", prompt=None, judge=JUDGE)


def run(labels: Sequence[str | LLMResult]) -> tuple[Label | NoLabel, list[list[LLMRequest]]]:
    steps, rounds = steps_of(EXPLAINER, feature_evidence(), feature_trial()), list[list[LLMRequest]]()
    answers = iter([completion({"rationale": "r", "label": s}) if isinstance(s, str) else s for s in labels])
    try:
        asks = next(steps)
        while True:
            rounds.append(list(asks))
            asks = steps.send([next(answers) if r.purpose == "label" else grades(r) for r in asks])
    except StopIteration as end:
        return end.value, rounds


def texts_of(trial: Trial) -> set[str]:
    return {trial.windows.text[row] for row in trial.contexts.row.tolist()}


def texts_in(requests: Sequence[LLMRequest]) -> set[str]:
    lines = (line for request in requests for line in request.user.split("\n") if line[:1].isdigit())
    return {json.loads(line.partition(" ")[2]) for line in lines}


def test_a_wrong_label_is_revised_and_the_better_one_kept() -> None:
    made, rounds = run(["dogs", "cats"])
    assert isinstance(made, Label)
    assert (made.text, made.rationale) == ("cats", "r")
    assert made.select_score == pytest.approx(0.95)
    assert [one.text for one in made.candidates] == ["dogs", "cats"]
    assert [one.select_score for one in made.candidates] == pytest.approx([0.05, 0.95])
    assert [asked[0].purpose for asked in rounds] == ["label", "select", "label", "select"]


def test_a_revision_that_judges_worse_is_not_kept() -> None:
    made, _ = run(["any animal", "dogs"])
    assert isinstance(made, Label)
    assert made.text == "any animal"


def test_the_question_shows_what_was_missed_and_what_was_wrongly_expected_of_the_first_half() -> None:
    _, rounds = run(["dogs", "cats"])
    (question,) = rounds[2]
    learn, _ = halves(feature_trial())
    head, missed, expected = question.user.partition("The label:")[2].split("\n\n")
    assert head == ' "dogs"'
    assert missed.split("\n")[0] == "Missed:"
    assert expected.split("\n")[0] == "Wrongly expected:"
    shown_missed = [line.partition(" ")[2].replace("<<", "").replace(">>", "") for line in missed.split("\n")[1:]]
    shown_expected = expected.split("\n")[1:]
    assert len(shown_missed) == len(shown_expected) == 6
    assert {json.loads(text) for text in (*shown_missed, *shown_expected)} <= texts_of(learn)
    assert all("cats" in text for text in shown_missed)
    assert all("dogs" in text for text in shown_expected)
    assert question.system == EXPLAINER.revising_system


def test_what_is_learned_from_and_what_is_chosen_on_share_no_document() -> None:
    learn, choose = halves(feature_trial())
    documents = [set(part.windows.document_id[part.contexts.row].tolist()) for part in (learn, choose)]
    assert documents[0]
    assert documents[1]
    assert not documents[0] & documents[1]
    assert len(learn.contexts) + len(choose.contexts) == len(feature_trial().contexts)
    _, rounds = run(["dogs", "cats"])
    assert texts_in(rounds[1]) == texts_of(learn)
    assert texts_in(rounds[3]) == texts_of(choose)


def test_a_label_without_mistakes_is_not_asked_about_again() -> None:
    made, rounds = run(["cats"])
    assert isinstance(made, Label)
    assert made.text == "cats"
    assert made.select_score == pytest.approx(0.95)
    assert [asked[0].purpose for asked in rounds] == ["label", "select", "select"]


def test_the_same_words_again_are_judged_once() -> None:
    made, rounds = run(["any animal", "Any animal"])
    assert isinstance(made, Label)
    assert len(made.candidates) == 1
    assert len(rounds[3]) == len(JUDGE.requests(Label("x"), halves(feature_trial())[1]))


@pytest.mark.parametrize("bad", [CompletionFailure("timeout", retryable=True), completion("{}")])
def test_a_round_that_fails_leaves_no_label_with_its_reason_and_the_first_label_beside_it(bad: LLMResult) -> None:
    made, _ = run(["dogs", bad])
    reason = bad.reason if isinstance(bad, CompletionFailure) else "wrong_shape"
    assert isinstance(made, NoLabel)
    assert made.reason == reason
    assert made.candidates == (Candidate("dogs", None, None), Candidate(None, None, reason))


def test_windows_that_the_judge_lost_are_no_mistakes() -> None:
    steps = steps_of(EXPLAINER, feature_evidence(), feature_trial())
    next(steps)
    asks = steps.send([completion({"label": "no word of any excerpt"})])
    firsts = [line for r in asks for line in r.user.split("\n") if line.startswith("1 ")]
    (question,) = steps.send([completion({"1": 5}) for _ in asks])  # all other excerpts have no grade
    missed, expected = question.user.partition("Missed:\n")[2].split("\n\n")
    fire = [line for line in firsts if "cats" in line]
    assert 0 < len(fire) == len(missed.split("\n"))
    assert expected == "Wrongly expected:\nnone"
