"""saebench, intruder, specificity and panel: what each shows, and what known judges get."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

import evals.scorers
from evals.scorers import TrialScorer, intruder, panel, saebench, specificity
from evals.trials import Asked, Subject, deal_labels
from labeling import registry
from labeling.llm.scripted import Script
from labeling.types import QUANTILES, Completion, Label, LLMRequest, Windows
from tests.contracts.small_subject import feature_subject, judge_subject, judged_from

CATS = Label("cats")
EXCERPT = re.compile(r'^(\d+) "(.*)"$', re.MULTILINE)


def excerpts(request: LLMRequest) -> dict[int, str]:
    return {int(n): text for n, text in EXCERPT.findall(request.user.partition("Excerpts:")[2])}


def values(scorer: TrialScorer, judge: Script, subject: Subject, windows: Windows) -> dict[str, float]:
    table = scorer.measure([judge_subject(scorer, subject, windows, judge)]).table
    return dict(zip(table.metric, table.value[:, 0].tolist(), strict=True))


def listing(word: str | None) -> Script:
    def answer(request: LLMRequest) -> str:
        return json.dumps({"active": [n for n, text in excerpts(request).items() if word is not None and word in text]})

    return answer


SAEBENCH = saebench.create(model="scripted/x")


def test_saebench_shows_two_strong_two_drawn_and_ten_random_windows_in_one_prompt() -> None:
    subject, windows = feature_subject(CATS)
    trials = SAEBENCH.trials(subject, windows)
    assert Counter(trial.variant for trial in trials) == {"top": 2, "importance": 2, "random": 10}
    assert len({trial.rows for trial in trials}) == 14
    assert len(SAEBENCH.requests([Asked(subject, trials)], windows)) == 1


def test_trap_2_of_methods_2_4_random_windows_of_saebench_are_checked_against_real_activations() -> None:
    seen = set()
    for seed in range(6):
        subject, windows = feature_subject(CATS)
        for trial in SAEBENCH.trials(replace(subject, seed=seed), windows):
            fires = "cats" in windows.text[trial.rows[0]]
            assert trial.truth == float(fires)
            seen.add((trial.variant, fires))
    assert ("random", True) in seen  # 60 of the panel's 140 windows fire
    assert ("random", False) in seen


def test_saebench_gives_a_judge_who_always_answers_none_the_chance_level() -> None:
    subject, windows = feature_subject(CATS)
    measured = SAEBENCH.measure([judge_subject(SAEBENCH, subject, windows, listing(None))])
    row = measured.table.row("accuracy_saebench")
    assert measured.table.value[row, 0] == pytest.approx(measured.chance[row, 0])
    assert values(SAEBENCH, listing(None), subject, windows)["balanced_saebench"] == 0.5
    assert values(SAEBENCH, listing("cats"), subject, windows) == {"accuracy_saebench": 1, "balanced_saebench": 1}


def test_an_answer_of_saebench_that_lists_what_is_not_there_is_lost_whole() -> None:
    subject, windows = feature_subject(CATS)
    judged = judge_subject(SAEBENCH, subject, windows, lambda _: '{"active": [3, 15]}')
    assert set(judged.reason) == {"not_an_option"}
    assert np.isnan(SAEBENCH.measure([judged]).table.value).all()


INTRUDER = intruder.create(model="scripted/x")


def groups(request: LLMRequest) -> list[list[str]]:
    return [[text for _, text in EXCERPT.findall(part)] for part in request.user.split("Group ")[1:]]


def finding(word: str) -> Script:
    """A judge who picks the first excerpt of a group in which another word is marked."""

    def answer(request: LLMRequest) -> str:
        found = {}
        for number, group in enumerate(groups(request), start=1):
            other = [n for n, text in enumerate(group, start=1) if set(re.findall("<<(.*?)>>", text)) != {word}]
            found[str(number)] = other[0] if other else 1
        return json.dumps(found)

    return answer


def test_an_intruder_is_silent_and_its_company_of_one_quantile() -> None:
    subject, windows = feature_subject(None)
    trials = INTRUDER.trials(subject, windows)
    quantile = dict(zip(subject.contexts.row.tolist(), subject.contexts.stratum.tolist(), strict=True))
    top = set(subject.contexts.row[subject.contexts.stratum == "top"].tolist())
    assert Counter(trial.variant for trial in trials) == dict.fromkeys(("q1", "q2", "q3", "q4", "q5"), 2)
    for trial in trials:
        at = int(trial.truth or 0) - 1
        assert "cats" not in windows.text[trial.rows[at]]
        others = [row for place, row in enumerate(trial.rows) if place != at]
        assert all(quantile[row] == trial.variant or row in top for row in others)
    assert len({trial.rows[int(trial.truth or 0) - 1] for trial in trials}) == 10


def test_a_judge_who_sees_what_windows_have_in_common_finds_every_intruder() -> None:
    subject, windows = feature_subject(None)
    found = values(INTRUDER, finding("cats"), subject, windows)
    assert set(found.values()) == {1.0}
    assert "cats" not in INTRUDER.requests([Asked(subject, INTRUDER.trials(subject, windows))], windows)[0].system


SPECIFICITY = specificity.create(model="scripted/x")


def test_the_rubric_is_averaged_by_quantile_as_a_share_of_three() -> None:
    subject, windows = feature_subject(CATS)
    found = values(SPECIFICITY, lambda r: json.dumps({str(n): 2 for n in excerpts(r)}), subject, windows)
    assert set(found) == {"specificity", *(f"specificity_q{n}" for n in range(1, 6))}
    assert all(value == pytest.approx(2 / 3) for value in found.values())


def test_specificity_weighs_a_quantile_by_its_windows() -> None:
    subject, windows = feature_subject(CATS)
    subject.contexts.population[subject.contexts.stratum == "q5"] = 60
    trials = SPECIFICITY.trials(subject, windows)
    answers = judge_subject(SPECIFICITY, subject, windows, lambda r: json.dumps({str(n): 0 for n in excerpts(r)}))
    strong = replace(answers, grade=np.array([3.0 * (trial.variant == "q5") for trial in trials]))
    table = SPECIFICITY.measure([strong]).table
    assert table.value[table.row("specificity"), 0] == pytest.approx(60 / 100)


@pytest.mark.parametrize("bad", [4, -1, 1.5, "3", None])
def test_a_grade_outside_the_rubric_is_lost(bad: object) -> None:
    subject, windows = feature_subject(CATS)
    judged = judge_subject(
        SPECIFICITY, subject, windows, lambda r: json.dumps({str(n): bad if n == 1 else 3 for n in excerpts(r)})
    )
    assert (~judged.answered).sum() == 1


PANEL = panel.create(model="scripted/x")


def applying(request: LLMRequest) -> str:
    """A judge to whom a description applies where its first word stands."""
    labels = EXCERPT.findall(request.user.partition("Excerpts:")[0])
    return json.dumps(
        {str(n): [int(k) for k, label in labels if label in text] for n, text in excerpts(request).items()}
    )


def test_labels_of_a_block_share_the_requests_and_each_gets_its_own_answers() -> None:
    subject, windows = feature_subject(CATS)
    every = [subject, *(replace(subject, label=Label(word)) for word in ("dogs", "upon", "zebra", "cats"))]
    asked = [Asked(of, PANEL.trials(of, windows)) for of in every]
    requests = PANEL.requests(asked, windows)
    assert len(requests) == 14
    assert len(EXCERPT.findall(requests[0].user.partition("Excerpts:")[0])) == 4  # the same text is asked about once
    results = [Completion(applying(request), "stop", 1, 0, 1, 0.0) for request in requests]
    answers = PANEL.parse(asked, windows, results)
    for of, given in zip(asked, answers, strict=True):
        word = of.subject.label.text if of.subject.label else ""
        assert [one.grade for one in given] == [float(word in windows.text[t.rows[0]]) for t in of.trials]
    table = PANEL.measure(
        [judged_from(of.subject, of.trials, given) for of, given in zip(asked, answers, strict=True)]
    ).table
    correlation = table.value[table.row("correlation_panel")]
    assert correlation[0] == correlation[4] == pytest.approx(1)
    assert abs(correlation[1]) < 0.4
    overlap = table.value[table.row("overlap_panel")]
    assert overlap[0] == overlap[4] == 1  # two features with one label
    assert 0 < overlap[1] < 0.6
    assert "yes to 0 of" in table.reason[table.row("overlap_panel"), 3]


def test_blocks_hold_different_texts_of_features_and_controls_alike() -> None:
    subject, _ = feature_subject(CATS)
    every = [replace(subject, label=Label(f"label {n % 50}")) for n in range(120)] + [replace(subject, label=None)]
    blocks = deal_labels(every, together=30, seed=1)
    assert sorted(place for block in blocks for place in block) == list(range(121))
    texts = [{every[place].label for place in block} for block in blocks]
    assert [len(some) for some in texts] == [26, 25]
    assert not texts[0] & texts[1]
    assert deal_labels(every, together=30, seed=1) == blocks != deal_labels(every, together=30, seed=2)
    assert deal_labels(every[:3], together=1, seed=1) == [[0], [1], [2]]


def test_a_window_whose_list_is_missing_is_lost_for_every_label_and_no_other_is() -> None:
    subject, windows = feature_subject(CATS)

    def forgetful(request: LLMRequest) -> str:
        answer = json.loads(applying(request))
        return json.dumps(answer | {"3": "all"})

    judged = judge_subject(PANEL, subject, windows, forgetful)
    assert Counter(judged.reason) == {None: 126, "not_a_list": 14}


def test_rare_features_have_a_reason_and_the_count() -> None:
    subject, windows = feature_subject(CATS)
    silent = replace(subject, panel=replace(subject.panel, stratum=np.full(140, "random")))
    judged = replace(judge_subject(PANEL, silent, windows, applying), firing_windows=7, silent_windows=9000)
    table = PANEL.measure([judged]).table
    row = table.row("correlation_panel")
    assert np.isnan(table.value[row, 0])
    assert "7" in table.reason[row, 0]


@pytest.mark.parametrize("name", ["simulation", "discrimination", "intruder", "specificity", "fuzzing"])
def test_a_feature_that_fires_with_one_strength_gets_as_many_trials_as_any(name: str) -> None:
    scorer: TrialScorer = registry.create(evals.scorers, name, kind="scorer", model="scripted/x")
    subject, windows = feature_subject(CATS)
    firing = np.isin(subject.contexts.stratum, QUANTILES)
    tied = replace(subject.contexts, stratum=np.where(firing, "q3", subject.contexts.stratum))
    usual, those = scorer.trials(subject, windows), scorer.trials(replace(subject, contexts=tied), windows)
    assert len(those) >= len(usual) > 4
    assert sum(len(trial.rows) for trial in those) >= sum(len(trial.rows) for trial in usual)
