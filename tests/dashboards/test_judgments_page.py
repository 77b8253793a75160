"""The page of a label's judgments tells trials from graded windows and hits from misses, and keeps to the first epoch."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from dashboards import run_queries
from dashboards.queries import open_reader
from labeling.workspace import Workspace
from tests.dashboards.build import Made, make, publish
from tests.dashboards.serving import Served, serving

TRIALS: tuple[dict[str, Any], ...] = (
    {"truth": 1.0, "grade": 0.875, "variant": "true marks"},
    {"truth": 1.0, "grade": 0.125, "variant": "true marks"},
    {"truth": 0.0, "grade": 0.75, "variant": "moved marks"},
    {"truth": None, "grade": 3.0, "variant": "q5"},
    {"truth": 1.0, "grade": None, "variant": "lost marks", "state": "lost", "reason": "not_json"},
)
"""A hit, two misses, one with no right answer, and one that is lost."""
FEATURE = 1


def with_trials_and_epochs() -> Made:
    """The made-up workspace with trials of one feature, and a judge that said and scored something else when asked again."""
    made = make(n_features=12)
    graded = next(row for row in made.tables["judgments"] if row["feature"] == FEATURE)
    for number, trial in enumerate(TRIALS):
        same = {
            "scorer": "fuzzing",
            "judge_model": "openai/judge",
            "probability": None,
            "state": "answered",
            "reason": None,
        }
        made.add("judgments", **{**graded, **same, **trial, "trial": number})
        made.add("judgments", **{**graded, **same, **trial, "trial": number, "judge_model": "openai/other"})
    again = [row for row in made.tables["judgments"] if row["feature"] == FEATURE and row["scorer"] == "pattern"]
    for row in again:
        made.add("judgments", **{**row, "epoch": 1})
    for row in [row for row in made.tables["scores"] if row["feature"] == FEATURE and row["scorer"] == "pattern"]:
        asked_again = {"value": 0.0625, "low": 0.03125, "high": 0.09375, "epoch": 1}
        made.add("scores", **{**row, **asked_again, "score_id": f"{row['score_id']}-again"})
    return made


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return publish(with_trials_and_epochs(), Workspace(tmp_path_factory.mktemp("judgments") / "workspace"))


@pytest.fixture(scope="module")
def served(workspace: Workspace) -> Iterator[Served]:
    with serving(workspace) as server:
        yield server


def page(served: Served, **view: str) -> str:
    answer = served.get(f"/feature/{FEATURE}/judgments", **view)
    assert answer.status == 200, answer.text
    return answer.text


def counts(text: str) -> dict[str, int]:
    found = re.findall(r">(all windows|misses|without an answer) \((\d+)\)<", text)
    return {name: int(count) for name, count in found}


def verdicts(text: str) -> list[str]:
    return re.findall(r'<span class="verdict">([^<]*)</span>', text)


def test_trials_are_hits_and_misses_by_their_own_truth(served: Served) -> None:
    text = page(served, scorer="fuzzing", judge="openai/judge")
    assert counts(text) == {"all windows": 5, "misses": 2, "without an answer": 1}
    assert sorted(verdicts(text)) == ["", "hit", "miss", "miss", "no answer"]
    assert re.search(r"0\.88 of 1\.00<br><small>true marks", text)
    assert re.search(r"3\.00<br><small>q5", text)
    assert "not_json" in text


@pytest.mark.parametrize(("show", "kept"), [("misses", ["miss", "miss"]), ("lost", ["no answer"])])
def test_a_view_keeps_the_trials_it_names(served: Served, show: str, kept: list[str]) -> None:
    assert verdicts(page(served, scorer="fuzzing", judge="openai/judge", show=show)) == kept


def test_judges_are_kept_apart_where_one_is_named(served: Served) -> None:
    assert counts(page(served, scorer="fuzzing"))["all windows"] == 2 * len(TRIALS)


def test_graded_windows_are_those_of_the_first_epoch(served: Served) -> None:
    made = with_trials_and_epochs().tables["judgments"]
    first = [row for row in made if (row["feature"], row["scorer"], row["epoch"]) == (FEATURE, "pattern", 0)]
    assert counts(page(served, scorer="pattern"))["all windows"] == len(first) > 0


def test_the_page_of_a_feature_shows_the_scores_of_the_first_epoch(served: Served) -> None:
    text = served.get(f"/feature/{FEATURE}").text
    assert "every window it judged" in text
    assert "0.06" not in text


def test_a_judge_asked_again_is_no_change_of_a_score(workspace: Workspace) -> None:
    with open_reader(workspace) as reader:
        assert run_queries.changes(reader, "s1", most=9).n_scores == 0
