"""Steps of many features together: rounds through one ledger, courses that wait, requests that are counted once."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import replace
from pathlib import Path

from flows.stages.rehearsal import nothing_known, rehearse, stand_in
from flows.stages.rounds import run_rounds
from labeling.config import LLMConfig
from labeling.explainers import SAMPLE_STRIDE, Steps
from labeling.ledger import Ledger
from labeling.prompts import read_object, strict_object
from labeling.types import Completion, Label, LLMRequest, LLMResult, NoLabel
from labeling.workspace import Workspace

SCHEMA = strict_object({"label": {"type": "string"}})


def question(user: str, *, model: str = "scripted/example", repeat: int = 0) -> LLMRequest:
    return LLMRequest(model, "system", user, SCHEMA, 100, "label", repeat)


def chain(name: str, length: int) -> Steps:
    """Asks `length` times, each question made from the answer before it."""
    said = ""
    for number in range(length):
        (answer,) = yield [question(f"{name} {number} {said}")]
        assert isinstance(answer, Completion)
        said = answer.text
    return Label(f"{name} after {length}")


def no_problem(_: LLMRequest, __: str) -> None:
    return None


def test_courses_of_different_lengths_end_each_in_its_own_round(tmp_path: Path) -> None:
    Workspace(tmp_path).create()
    rounds = run_rounds(tmp_path, [chain("a", 3), chain("b", 0), chain("c", 1)], LLMConfig(), no_problem, repeat=0)
    assert [course.said for course in rounds.courses] == [Label("a after 3"), Label("b after 0"), Label("c after 1")]
    assert [len(course.keys) for course in rounds.courses] == [3, 0, 1]
    assert rounds.usage.requests == 4
    assert rounds.n_pending == 0


def test_the_same_again_takes_every_answer_from_the_ledger(tmp_path: Path) -> None:
    Workspace(tmp_path).create()
    first = run_rounds(tmp_path, [chain("a", 3)], LLMConfig(), no_problem, repeat=0)
    again = run_rounds(tmp_path, [chain("a", 3)], LLMConfig(), no_problem, repeat=0)
    assert (first.n_reused, again.n_reused) == (0, 3)
    assert first.courses[0].keys == again.courses[0].keys


def both_models() -> Steps:
    answers = yield [question("one"), question("two", model="scripted/echo"), question("three")]
    return Label(" ".join(a.text for a in answers if isinstance(a, Completion)))


def test_requests_of_one_round_may_ask_different_models_and_come_back_in_order(tmp_path: Path) -> None:
    Workspace(tmp_path).create()
    rounds = run_rounds(tmp_path, [both_models()], LLMConfig(), no_problem, repeat=0)
    assert rounds.courses[0].said == Label('{"label": "example"} two {"label": "example"}')


def twice_the_same() -> Steps:
    yield [question("same"), question("same")]
    return NoLabel("done")


def test_a_question_that_two_ask_is_counted_once_in_each_and_once_in_all(tmp_path: Path) -> None:
    Workspace(tmp_path).create()
    rounds = run_rounds(tmp_path, [twice_the_same(), twice_the_same()], LLMConfig(), no_problem, repeat=0)
    assert [course.usage.requests for course in rounds.courses] == [1, 1]
    assert rounds.usage.requests == 1


def samples() -> Steps:
    yield [question("x"), question("x", repeat=SAMPLE_STRIDE), replace(question("x"), purpose="select")]
    return NoLabel("done")


def test_repeats_ask_again_for_labels_and_not_of_judges(tmp_path: Path) -> None:
    Workspace(tmp_path).create()
    for repeat in (0, 1):
        run_rounds(tmp_path, [samples()], LLMConfig(), no_problem, repeat=repeat)
    with Ledger(Workspace(tmp_path).ledger) as ledger:
        asked = ledger.export().select("purpose", "repeat").sort("purpose", "repeat").rows()
    assert asked == [("label", 0), ("label", 1), ("label", 1000), ("label", 1001), ("select", 0)]


def test_a_rehearsal_goes_through_all_rounds_with_known_answers_where_there_are_some() -> None:
    def known(requests: Sequence[LLMRequest]) -> list[LLMResult | None]:
        return [Completion("KNOWN", "stop", 1, 0, 1, 0.0) if r.user.startswith("a 0") else None for r in requests]

    rounds = rehearse(chain("a", 3), known)
    assert [len(asked) for asked in rounds] == [1, 1, 1]
    assert rounds[1][0].user == "a 1 KNOWN"
    assert "stand-in for the label" in rounds[2][0].user


def nothing() -> Generator[Sequence[LLMRequest], Sequence[LLMResult], Label | NoLabel]:
    yield from ()
    return NoLabel("no_evidence")


def test_a_rehearsal_of_what_asks_nothing_is_empty() -> None:
    assert rehearse(nothing(), nothing_known) == []


def test_stand_ins_are_readable_and_no_two_labels_are_alike() -> None:
    answers = [read_object(stand_in(question("x"), number).text) for number in (1, 2)]
    assert answers[0] is not None
    assert answers[1] is not None
    assert answers[0]["label"] != answers[1]["label"]
    grades = read_object(
        stand_in(
            replace(question("x"), schema=strict_object({"1": {"type": "integer"}, "2": {"type": "integer"}})), 1
        ).text
    )
    assert grades == {"1": 20, "2": 80}
