"""The bench `prompts`: a judge whose flaws are known, features whose truth is known, and judges of a workspace."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from evals.planted.judges import read_prompt
from evals.scorers.detection import SYSTEM, Detection
from flows.benches import BenchOptions
from flows.benches._flawed_judge import NO_FLAWS, FlawedJudge, Flaws, flawed, slip
from flows.benches._placed import judgments_of_judges
from flows.benches._planted import contains, plant
from flows.benches.prompts import FiringFirst, PromptsBench, ask_twice, aurocs, balanced, create, judge_all
from labeling import evidence
from labeling.errors import FeatlasError, UsageError
from labeling.llm.anthropic import SHORTEST_CACHED_CHARACTERS, system_blocks
from labeling.store import Store
from labeling.types import Completion, CompletionFailure, JudgeTask, Label
from labeling.workspace import Workspace
from tests.builders import task_of, windows_of
from tests.labeling.store_builders import large, small

WINDOWS = windows_of(*([f"w{n}", "word" if n % 2 else "cats"] for n in range(40)), split="score")
"""Every second one has `cats`, as the builder's tasks say."""


def task(feature: int) -> JudgeTask:
    return task_of(WINDOWS, Label("cats"), feature=feature)


def only(**flaws: float) -> Flaws:
    return Flaws(**({"drift": 0, "fading": 0, "contrast": 0, "anchoring": 0, "slips": 0} | flaws))


@pytest.mark.parametrize(
    ("flaws", "own", "grades"),
    [
        (NO_FLAWS, [90, 10, 60], [90, 10, 60]),
        (only(drift=-2), [90, 10, 60], [90, 8, 56]),
        (only(fading=0.5), [90, 10, 90], [90, 30, 60]),
        (only(contrast=0.1), [90, 10, 60], [90, 6, 64]),
        (only(contrast=-0.1), [90, 10, 60], [90, 14, 56]),
        (only(anchoring=0.1), [90, 10, 60], [90, 14, 64]),
        (only(drift=-60), [90, 10], [90, 0]),
        (only(drift=5), [30], [30]),
    ],
)
def test_each_flaw_does_what_it_says(flaws: Flaws, own: Sequence[float], grades: Sequence[float]) -> None:
    assert flawed(np.array(own, float), flaws).tolist() == pytest.approx(grades)


def test_who_loses_count_skips_a_grade_or_shifts_those_behind_it() -> None:
    seen = {json.dumps(slip([10, 20, 30], np.random.default_rng(seed))) for seed in range(100)}
    assert seen == {
        json.dumps(answer)
        for answer in (
            {"2": 20, "3": 30},
            {"1": 10, "3": 30},
            {"1": 10, "2": 20},
            {"1": 20, "2": 30},
            {"1": 10, "2": 30},
            {"1": 20, "2": 30, "3": 30},
            {"1": 10, "2": 30, "3": 30},
            {"1": 10, "2": 20, "3": 30},  # at the last one, the shift is no shift
        )
    }


def test_slips_grow_with_the_number_of_windows() -> None:
    judge = FlawedJudge(contains, only(slips=0.05))
    share = {
        size: judge_all(Detection("scripted/x", size), [task(f) for f in range(25)], WINDOWS, judge)
        for size in (1, 10, 40)
    }
    twice = [outcome.n_asked_twice / outcome.n_requests for outcome in share.values()]
    assert twice[0] < 0.08 < twice[1] < twice[2]
    assert twice[2] == pytest.approx(1 - 0.95**40, abs=0.4)


def test_the_judge_reads_what_detection_writes_and_answers_the_same_again() -> None:
    hostile = windows_of(['"}', "2", '"cats"'], ["line\n3", "Description:"])
    (request,) = Detection("scripted/x").requests(task_of(hostile, Label('a "label"\nof two')), hostile)
    label, texts = read_prompt(request.user)
    assert label == 'a "label"\nof two'
    assert sorted(texts) == sorted(hostile.text)
    judge = FlawedJudge(contains)
    assert judge(request) == judge(request) != FlawedJudge(contains, seed=1)(request)


def test_without_flaws_company_makes_no_difference_and_the_truth_comes_through() -> None:
    judge = FlawedJudge(contains, NO_FLAWS)
    tasks = [task(feature) for feature in range(3)]
    alone, together = (judge_all(Detection("scripted/x", size), tasks, WINDOWS, judge) for size in (1, 20))
    assert alone.judgments.grade.tolist() == together.judgments.grade.tolist()
    assert 0.8 < aurocs(alone).mean() < 1
    assert (alone.n_requests, together.n_requests) == (120, 6)


def test_a_window_that_is_dealt_first_because_it_fires_gives_its_truth_away() -> None:
    judge = FlawedJudge(contains, only(drift=-2), separation=0.0)
    tasks = [task(feature) for feature in range(40)]
    dealt = judge_all(Detection("scripted/x", 40), tasks, WINDOWS, judge)
    sorted_ = judge_all(FiringFirst("scripted/x", 40), tasks, WINDOWS, judge)
    assert (sorted_.judgments.fires == (sorted_.judgments.place <= 20)).all()
    assert aurocs(sorted_).mean() - aurocs(dealt).mean() > 0.2
    assert aurocs(dealt).mean() == pytest.approx(0.5, abs=0.06)


def test_scores_of_a_small_panel_by_hand() -> None:
    outcome = judge_all(Detection("scripted/x"), [task(0)], WINDOWS, lambda _: '{"1": 1}')
    assert np.isnan(outcome.judgments.grade).all()
    assert np.isnan(aurocs(outcome)).all()
    assert np.isnan(balanced(outcome)).all()
    grades = np.where(outcome.judgments.fires, 80.0, 30.0)
    outcome.judgments.grade[:] = grades
    assert aurocs(outcome).tolist() == [1.0]
    assert balanced(outcome).tolist() == [0.75]


def test_a_bad_answer_is_asked_for_once_more_and_two_are_a_failure() -> None:
    windows = windows_of(["a"], ["b"])
    scorer = Detection("scripted/x")
    (request,) = scorer.requests(task_of(windows, Label("cats")), windows)
    good, bad = '{"1": 1, "2": 2}', '{"1": 1}'
    for answers, kind, twice in (([good], Completion, False), ([bad, good], Completion, True)):
        left = iter(answers)
        result, asked_twice = ask_twice(scorer, request, lambda _, left=left: next(left))  # type: ignore[misc]
        assert isinstance(result, kind)
        assert asked_twice is twice
    result, asked_twice = ask_twice(scorer, request, lambda _: bad)
    assert isinstance(result, CompletionFailure)
    assert (result.reason, asked_twice) == ("missing", True)


def test_all_requests_of_the_judge_begin_alike_and_too_short_to_be_marked_for_the_cache() -> None:
    windows = windows_of(["a"], ["b"], ["c"])
    requests = [
        request
        for label in (Label("cats"), Label("dogs"), None)
        for size in (1, 2, 3)
        for request in Detection("scripted/x", size).requests(task_of(windows, label), windows)
    ]
    assert {request.system for request in requests} == {SYSTEM}
    assert len(SYSTEM) < SHORTEST_CACHED_CHARACTERS
    assert "cache_control" not in system_blocks(SYSTEM)[0]
    assert "cache_control" in system_blocks("x" * SHORTEST_CACHED_CHARACTERS)[0]


@pytest.fixture
def text(tmp_path: Path) -> Path:
    """2,000 paragraphs, in each one of twelve words among others that stand everywhere."""
    file = tmp_path / "text.txt"
    rng = np.random.default_rng(0)
    kinds = ["cat", "dog", "fox", "hen", "cow", "pig", "ant", "bee", "owl", "rat", "ape", "elk"]
    file.write_text("\n\n".join(f"the {kinds[rng.integers(12)]} sat on " + "the mat and " * 9 for _ in range(2_000)))
    return file


def test_planted_features_fire_on_their_word_and_nowhere_else(text: Path) -> None:
    planted = plant(corpus=str(text), features=2, tokens=100_000, seed=0)
    for feature, word in enumerate(planted.words):
        judged = planted.task(feature)
        fires = judged.activations.max(axis=1) > 0
        assert (fires.sum(), (~fires).sum()) == (50, 50)
        assert [contains(word, planted.score.text[row]) for row in judged.rows] == fires.tolist()
        seen = planted.evidence(feature)
        assert ((seen.contexts.max_activation > 0) == (seen.contexts.stratum != "random")).all()
        assert planted.evidence(feature).contexts.row.tolist() == seen.contexts.row.tolist()


def test_a_text_with_too_few_words_is_refused_with_their_number(text: Path) -> None:
    with pytest.raises(UsageError, match=r"has \d+ words .* 99 are needed"):
        plant(corpus=str(text), features=99, tokens=100_000, seed=0)


def test_a_small_bench_has_all_rows_and_keeps_its_promises(text: Path) -> None:
    rows = {row.name: row for row in PromptsBench(str(text), features=3, tokens=100_000, sizes=(1, 20)).measure()}
    assert rows["20 a request: requests"].value == 6
    assert rows["1 a request: requests"].value == 101
    assert rows["20 a request: prompt tokens, label and 100 windows"].ok
    assert rows["different prefixes among the judge's requests"].value == 1
    assert rows["1 a request: AUROC, bias"].value == pytest.approx(0, abs=0.02)
    assert rows["1 a request: drift"].value is None
    assert rows["20 a request: drift"].value is not None
    together = "20 a request, {}: correlation of place and truth"
    assert abs(rows[together.format("dealt at random")].value or 1) < 0.2
    assert (rows[together.format("firing first")].value or 0) < -0.7


def test_a_workspace_and_a_corpus_are_not_both_measured(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--corpus"):
        create(options=BenchOptions(workspace=tmp_path, corpus="x"))


def judged_workspace(root: Path, *, place: bool = True) -> Path:
    """Features 0-3, windows 0-11 in two requests each; the even windows fire. Grades fall by 2 points a place."""
    workspace = Workspace(root).create()
    windows = [(feature, window) for feature in range(4) for window in range(12)]
    order = {f: np.random.default_rng(f).permutation(12).tolist() for f in range(4)}
    placed = [(f, w, *divmod(order[f].index(w), 6)) for f, w in windows]
    given = {"sample_id": "s", "split": "score", "scorer": "detection", "judge_model": "openai/x", "state": "answered"}
    evidence.write_shard(
        workspace,
        "judgments",
        "g",
        0,
        large(
            "judgments",
            *(
                given
                | {
                    "feature": f,
                    "window_id": w,
                    "request_key": f"{f}-{request}",
                    "place": at + 1 if place else None,
                    "grade": (80 - 60 * (w % 2) - 2 * at) / 100,
                }
                for f, w, request, at in placed
            ),
        ),
    )
    contexts = [
        {
            "sample_id": "s",
            "split": "score",
            "feature": f,
            "window_id": w,
            "stratum": "q1",
            "max_activation": 1.0 - w % 2,
        }
        for f, w in windows
    ]
    evidence.write_shard(workspace, "contexts", "s", 0, large("contexts", *contexts, contexts[0] | {"stratum": "top"}))
    with Store(workspace) as store:
        small(store, "features", *({"sample_id": "s", "feature": f, "tau": 0.5} for f in range(4)))
        store.publish()
    return root


def test_the_judges_of_a_workspace_are_measured_from_their_judgments(tmp_path: Path) -> None:
    rows = {row.name: row.value for row in create(options=BenchOptions(judged_workspace(tmp_path))).measure()}
    assert rows["openai/x: judgments"] == 48
    assert rows["openai/x: drift"] == pytest.approx(-2, abs=1e-4)
    assert rows["openai/x: contrast"] == pytest.approx(0, abs=1e-3)
    judged = judgments_of_judges(tmp_path)["openai/x"]
    assert sorted(set(judged.place.tolist())) == [1, 2, 3, 4, 5, 6]
    assert judged.fires.sum() == 24


def test_a_workspace_whose_judgments_have_no_place_says_so(tmp_path: Path) -> None:
    with pytest.raises(FeatlasError, match="no judgment"):
        create(options=BenchOptions(judged_workspace(tmp_path, place=False))).measure()
