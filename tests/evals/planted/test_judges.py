"""Scripted judges answer the real prompts of `detection`, each with its own fault, and the same way every time."""

from __future__ import annotations

import asyncio
import json

import numpy as np
import pytest

from evals.planted.judges import fail, favor_early, make_judges, read_prompt
from evals.scorers.detection import Detection
from labeling.llm.scripted import Script, Scripted
from labeling.types import Grades, Label, LLMRequest, Windows
from tests.builders import task_of, windows_of
from tests.evals.planted.knowledge import CAPITALS, WINDOWS, known, many

SCORER = Detection("scripted/planted", 20)


def graded(script: Script, label: str | None, windows: Windows = WINDOWS) -> Grades:
    task = task_of(windows, None if label is None else Label(label))
    results = asyncio.run(Scripted(script).complete(SCORER.requests(task, windows)))
    return SCORER.parse(task, windows, results)


def request_about(label: str | None) -> LLMRequest:
    return SCORER.requests(task_of(WINDOWS, None if label is None else Label(label)), WINDOWS)[0]


def test_label_and_windows_are_read_out_of_a_real_prompt() -> None:
    label, texts = read_prompt(request_about('a "quoted" label').user)
    assert label == 'a "quoted" label'
    assert sorted(texts) == sorted(WINDOWS.text)
    assert read_prompt(request_about(None).user)[0] is None


def test_text_with_quotes_breaks_and_numbers_is_read_back_as_it_was() -> None:
    windows = windows_of(['7 "x"\n2', "a"], ["Description:", '"y"'])
    task = task_of(windows, Label("l"))
    label, texts = read_prompt(SCORER.requests(task, windows)[0].user)
    assert (label, sorted(texts)) == ("l", sorted(windows.text))


def test_the_exact_judge_says_where_the_label_holds() -> None:
    assert graded(make_judges(known())["exact"], CAPITALS).values.tolist() == [1, 0, 0, 1]


def test_the_related_aware_judge_gives_something_to_what_is_near() -> None:
    values = 100 * graded(make_judges(known())["related-aware"], CAPITALS).values
    assert (values[[0, 3]] >= 82).all()
    assert 5 <= values[1] <= 35
    assert 2 <= values[2] <= 6


@pytest.mark.parametrize(("name", "tpr", "fpr"), [("noisy .95/.05", 0.95, 0.05), ("noisy .80/.06", 0.80, 0.06)])
def test_a_noisy_judge_errs_as_often_as_its_name_says(name: str, tpr: float, fpr: float) -> None:
    windows = many(500)
    judge = make_judges(known(windows, copies=500))[name]
    yes = judge.grades(CAPITALS, np.arange(2000)) >= 50
    covered = np.tile([True, False, False, True], 500)
    assert yes[covered].mean() == pytest.approx(tpr, abs=0.03)
    assert yes[~covered].mean() == pytest.approx(fpr, abs=0.03)


def test_the_contrarian_says_the_opposite() -> None:
    values = graded(make_judges(known())["contrarian"], CAPITALS).values
    assert (values[[0, 3]] <= 0.2).all()
    assert (values[[1, 2]] >= 0.8).all()


def test_a_hedged_label_gets_grades_half_way_to_fifty() -> None:
    values = graded(make_judges(known())["exact"], "perhaps European capitals").values
    assert values.tolist() == [0.75, 0.25, 0.25, 0.75]


def test_the_position_biased_judge_favors_early_windows() -> None:
    assert favor_early(np.zeros(5)).tolist() == [40, 30, 20, 10, 0]
    values = graded(make_judges(known())["position-biased"], "any text").values
    assert values.tolist() == [1.0, 1.0, 1.0, 1.0]


def test_the_base_rate_copying_judge_says_yes_to_half_of_every_request() -> None:
    for label in (CAPITALS, "any text"):
        values = graded(make_judges(known())["base-rate-copying"], label).values
        assert sorted(np.rint(100 * values).tolist()) == [10, 10, 90, 90]


def test_the_failing_judge_loses_every_window_with_a_reason() -> None:
    grades = graded(fail, CAPITALS)
    assert np.isnan(grades.values).all()
    assert list(grades.reasons) == ["not_json"] * 4


def test_without_a_label_a_judge_guesses_and_each_guess_depends_on_the_window_alone() -> None:
    windows = many(500)
    judges = make_judges(known(windows, copies=500))
    guesses = judges["exact"].grades(None, np.arange(2000))
    assert guesses.mean() == pytest.approx(50, abs=3)
    assert guesses[:5].tolist() == judges["exact"].grades(None, np.arange(5)).tolist()


def test_the_same_prompt_gets_the_same_answer_and_another_seed_another_one() -> None:
    windows = many(5)
    prompt = SCORER.requests(task_of(windows, Label(CAPITALS)), windows)[0]
    answers = [make_judges(known(windows, copies=5), seed=seed)["noisy .80/.06"](prompt) for seed in (0, 0, 1)]
    assert answers[0] == answers[1] != answers[2]


@pytest.mark.parametrize("name", ["exact", "noisy .95/.05", "noisy .80/.06", "related-aware", "contrarian"])
def test_what_a_judge_says_in_a_prompt_is_what_it_thinks_of_the_window_alone(name: str) -> None:
    judge = make_judges(known())[name]
    alone = judge.grades(CAPITALS, np.arange(4)) / 100
    assert graded(judge, CAPITALS).values.tolist() == alone.astype(np.float32).tolist()


def test_a_label_or_a_window_that_nobody_knows_is_an_error_and_no_grade() -> None:
    judge = make_judges(known())["exact"]
    with pytest.raises(KeyError):
        judge(request_about("never heard of"))
    strangers = windows_of(["another", "text"])
    with pytest.raises(KeyError):
        judge(SCORER.requests(task_of(strangers, Label(CAPITALS)), strangers)[0])


def test_answers_are_json_with_a_whole_number_for_every_window() -> None:
    answer = json.loads(make_judges(known())["related-aware"](request_about(CAPITALS)))
    assert list(answer) == ["1", "2", "3", "4"]
    assert all(isinstance(grade, int) for grade in answer.values())
