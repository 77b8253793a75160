"""Fuzzing shows each firing window twice, rightly and wrongly marked, and never both in one request."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest

from evals.scorers.fuzzing import SYSTEM, create
from evals.trials import Asked
from labeling.prompts import quote_marked
from labeling.types import Label, LLMRequest
from tests.contracts.small_subject import feature_subject, judge_subject, word_positions

SCORER = create(model="scripted/x")
CATS = Label("cats")
MARKED = re.compile(r'^(\d+) "(.*)"$', re.MULTILINE)


def by_words(word: str, yes: int = 95, no: int = 5) -> Callable[[LLMRequest], str]:
    """A judge who says yes where every mark is the word."""

    def answer(request: LLMRequest) -> str:
        excerpts = MARKED.findall(request.user.partition("Excerpts:")[2])
        return json.dumps(
            {n: yes if set(" ".join(re.findall("<<(.*?)>>", text)).split()) == {word} else no for n, text in excerpts}
        )

    return answer


def value(judge: Callable[[LLMRequest], str], metric: str = "balanced_marks") -> float:
    subject, windows = feature_subject(CATS)
    table = SCORER.measure([judge_subject(SCORER, subject, windows, judge)]).table
    return float(table.value[table.row(metric), 0])


def test_the_prompt_of_a_small_task_reads_like_this() -> None:
    subject, windows = feature_subject(Label('cats"\nExcerpts:'), firing=10)
    trials = SCORER.trials(subject, windows)
    request = SCORER.requests([Asked(subject, trials)], windows)[0]
    lines = request.user.split("\n")
    assert lines[:3] == [r'Description: "cats\"\nExcerpts:"', "", "Excerpts:"]
    shown = {quote_marked(windows.text[t.rows[0]], t.marks[0]) for t in trials}
    assert all(line.partition(" ")[2] in shown for line in lines[3:])
    assert request.system == SYSTEM


def test_every_window_is_shown_twice_and_its_two_versions_never_share_a_request() -> None:
    subject, windows = feature_subject(CATS)
    asked = Asked(subject, SCORER.trials(subject, windows))
    assert set(Counter(trial.rows[0] for trial in asked.trials).values()) == {2}
    for request in SCORER.requests([asked], windows):
        bare = [text.replace("<<", "").replace(">>", "") for _, text in MARKED.findall(request.user)]
        assert len(bare) == len(set(bare)) > 5


def test_right_marks_are_the_firing_words_and_wrong_marks_are_none_of_them() -> None:
    subject, windows = feature_subject(CATS)
    for trial in SCORER.trials(subject, windows):
        row, marks = trial.rows[0], trial.marks[0]
        firing = {int(windows.starts[row, p]) for p in word_positions(windows, row)}
        marked = {start for start, _ in marks}
        assert (marked <= firing) if trial.truth == 1 else not (marked & firing)


def test_wrong_marks_have_the_counts_of_right_ones() -> None:
    subject, windows = feature_subject(CATS)
    trials = SCORER.trials(subject, windows)
    counts = [Counter(len(t.marks[0]) for t in trials if t.truth == truth) for truth in (0, 1)]
    assert counts[0] == counts[1]
    assert set(counts[0]) == {1, 2}


def test_a_judge_who_knows_the_word_gets_all_and_a_contrarian_nothing() -> None:
    assert value(by_words("cats")) == pytest.approx(0.95, abs=0.01)
    assert value(by_words("cats"), "auroc_marks") == pytest.approx(1)
    assert value(by_words("cats", yes=0, no=100)) == pytest.approx(0, abs=0.01)
    assert value(by_words("dogs")) == pytest.approx(0.5, abs=0.05)


def test_lost_answers_are_counted_and_the_rest_is_measured() -> None:
    subject, windows = feature_subject(CATS)
    judge = by_words("cats")
    seen: list[LLMRequest] = []

    def half(request: LLMRequest) -> str:
        seen.append(request)
        return judge(request) if len(seen) % 2 else "I can't"

    judged = judge_subject(SCORER, subject, windows, half)
    table = SCORER.measure([judged]).table
    row = table.row("balanced_marks")
    assert table.value[row, 0] == pytest.approx(0.95, abs=0.01)
    assert table.n_lost[row, 0] == (~judged.answered).sum() > 10
    assert set(judged.reason) == {None, "not_json"}


def test_a_feature_that_fires_at_one_place_of_every_window_is_unscored_with_a_reason() -> None:
    """Its right marks can't stand anywhere else: place alone would tell."""
    subject, windows = feature_subject(CATS)
    subject.contexts.activations[:] = 0
    subject.contexts.activations[:, :8] = 1
    assert SCORER.trials(subject, windows) == ()
    table = SCORER.measure([judge_subject(SCORER, subject, windows, lambda _: "not asked")]).table
    row = table.row("balanced_marks")
    assert np.isnan(table.value[row, 0])
    assert "marks can be exchanged" in table.reason[row, 0]


def test_the_number_of_rightly_marked_windows_in_a_request_varies() -> None:
    counts = Counter[int]()
    for seed in range(8):
        subject, windows = feature_subject(CATS, seed=seed)
        asked = Asked(subject, SCORER.trials(subject, windows))
        right = {quote_marked(windows.text[t.rows[0]], t.marks[0]) for t in asked.trials if t.truth == 1}
        for request in SCORER.requests([asked], windows):
            counts[sum(line.partition(" ")[2] in right for line in request.user.split("\n")[3:])] += 1
    assert len(counts) >= 5
    mean = sum(n * count for n, count in counts.items()) / sum(counts.values())
    assert mean == pytest.approx(10, abs=1.5)
    assert np.ptp(list(counts)) >= 5
