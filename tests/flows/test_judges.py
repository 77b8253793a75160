"""`featlas compare judge=A judge=B`: how far two judges agree on the labels and windows that both judged."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from flows.judges import compare_judges
from labeling.errors import UsageError
from labeling.store import Store
from labeling.workspace import Workspace
from tests.flows.mini import featlas
from tests.labeling.store_builders import explanation, large, run, score, small

A, B = "openai/judge", "anthropic/judge"
SIDES = (f"judge={A}", f"judge={B}")
HEADLINES = {A: (0.5, 0.625, 0.75, 0.875), B: (0.625, 0.5, 0.75, 1.0)}
SAID = {A: (0.9, 0.8, 0.1, 0.2), B: (0.9, 0.3, 0.1, None)}
"""Probabilities that each judge gives the four windows of every feature; the last one is lost by B."""


def judged(judge: str, feature: int, **columns: object) -> list[dict[str, object]]:
    same = {
        "sample_id": "s",
        "feature": feature,
        "explanation_id": f"e{feature}",
        "explainer": "old",
        "scorer": "detection",
    }
    return [
        {
            **same, "judge_model": judge, "epoch": 0, "split": "score", "window_id": window, "grade": said,
            "probability": said, "state": "lost" if said is None else "answered", **columns,
        }
        for window, said in enumerate(SAID[judge])
    ]  # fmt: skip


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(Workspace(tmp_path / "w")) as opened:
        small(opened, "runs", run("r"))
        small(opened, "samples", {"sample_id": "s", "feature_set": "main", "corpus_id": "c"})
        small(
            opened,
            "explanations",
            *(explanation(f"e{f}", f, "old", "x", prompt_version="1", repeat=0) for f in range(4)),
        )
        rows = []
        for judge, values in HEADLINES.items():
            for feature, value in enumerate(values):
                by = {"scorer": "detection", "judge_model": judge, "explainer": "old", "run_id": "r"}
                small(opened, "scores", score(f"{judge}{feature}", feature, value, explanation_id=f"e{feature}", **by))
                rows += [*judged(judge, feature), *judged(judge, feature, epoch=1, probability=0.0)]
        opened.save_shard("judgments", "made", 0, large("judgments", *rows))
        opened.publish()
        yield opened


def test_answers_and_headlines_of_two_judges_are_compared_on_what_both_judged(store: Store) -> None:
    row = compare_judges(store.workspace.root, *SIDES).row(0, named=True)
    assert (row["scorer"], row["explainer"], row["judge_a"], row["judge_b"]) == ("detection", "old", A, B)
    assert (row["n_features"], row["n_windows"]) == (4, 12)  # a window that one of them lost counts for neither
    assert row["flip_rate"] == pytest.approx(1 / 3)
    assert row["pabak"] == pytest.approx(1 / 3)
    assert row["kappa"] == pytest.approx((2 / 3 - 4 / 9) / (1 - 4 / 9))
    assert row["flip_rate_low"] < row["flip_rate"] < row["flip_rate_high"]
    a, b = (pl.Series(HEADLINES[judge]) for judge in (A, B))
    assert row["correlation"] == pytest.approx(pl.DataFrame({"a": a, "b": b}).select(pl.corr("a", "b")).item())
    assert (row["mean_a"], row["mean_b"]) == (a.mean(), b.mean())
    assert row["disattenuated"] is None  # neither was asked again


def test_a_correlation_is_freed_of_noise_where_both_judges_have_repeats(store: Store) -> None:
    group = {"sample_id": "s", "explainer": "old", "explainer_model": "", "scorer": "detection", "metric": "headline"}
    small(store, "judge_reliability", *({**group, "judge_model": judge, "icc": 0.64} for judge in (A, B)))
    store.publish()
    row = compare_judges(store.workspace.root, *SIDES).row(0, named=True)
    assert row["disattenuated"] == pytest.approx(row["correlation"] / 0.64)


def test_the_command_prints_it_and_the_order_of_sides_is_that_of_the_judges(store: Store) -> None:
    ran = featlas("compare", *reversed(SIDES), "--workspace", store.workspace.root)
    assert ran.code == 0, ran.err
    assert "A: anthropic/judge" in ran.out
    assert "of 12 windows: answers that differ 0.333" in ran.out
    assert "without the judges' own noise not known" in ran.out
    told = json.loads(featlas("compare", *SIDES, "--json", "--workspace", store.workspace.root).out)
    assert [row["judge_a"] for row in told] == [A]


def test_judges_that_share_no_label_and_sides_without_one_are_told(store: Store) -> None:
    small(store, "scores", score("z", 0, 0.5, explanation_id="e0", scorer="detection", judge_model="a/z", epoch=3))
    store.publish()
    with pytest.raises(UsageError, match="no label in common"):
        compare_judges(store.workspace.root, SIDES[0], "judge=a/z")
    with pytest.raises(UsageError, match="names no judge"):
        compare_judges(store.workspace.root, SIDES[0], "explainer=old")
