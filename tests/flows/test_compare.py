"""`featlas compare`: which scores stand for a side, what is refused and why, and what is printed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from flows.compare import compare, compare_features
from labeling.errors import UsageError
from labeling.store import Store
from labeling.workspace import Workspace
from tests.flows.mini import featlas
from tests.labeling.store_builders import explanation, run, score, small

FEATURES = 12


def scored(store: Store, explainer: str, values: Sequence[float | None], *, name: str = "", **columns: Any) -> None:
    """Labels of one explainer for features 0, 1, ..., with headline scores."""
    prompt = columns.pop("prompt_version", "1")
    sample = columns.get("sample_id", "s")
    for feature, value in enumerate(values):
        key = f"{sample}-{explainer}-{prompt}-{feature}"
        written = {"sample_id": sample, "prompt_version": prompt, "explainer_model": columns.get("explainer_model")}
        small(store, "explanations", explanation(key, feature, explainer, "label", **written))
        row = {"explanation_id": key, "explainer": explainer, "run_id": "r", **columns}
        small(store, "scores", score(f"{key}-{name}", feature, value, **row))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """Two feature sets on one corpus; explainers `new` and `old` on the first, `new` on the second."""
    with Store(Workspace(tmp_path / "w")) as opened:
        small(opened, "runs", run("r", started_at=datetime(2026, 1, 1)))
        small(opened, "feature_sets", {"feature_set": "main"}, {"feature_set": "wide"})
        for sample, name in (("s", "main"), ("t", "wide")):
            small(opened, "samples", {"sample_id": sample, "feature_set": name, "corpus_id": "c"})
        base = np.linspace(0.5, 0.9, FEATURES)
        scored(opened, "old", base.tolist())
        scored(opened, "new", (base + np.where(np.arange(FEATURES) % 3 == 0, 0.0, 0.06)).tolist())
        scored(opened, "new", [0.8, 0.9, 0.7], sample_id="t")
        yield opened


def compared(store: Store, a: str, b: str, **options: Any) -> pl.DataFrame:
    store.publish()
    return compare(store.workspace.root, a, b, **options)


def test_explainers_are_compared_on_the_features_both_have_scores_of(store: Store) -> None:
    row = compared(store, "explainer=new", "explainer=old", difference=0.01).row(0, named=True)
    assert (row["paired"], row["n_a"], row["n_b"], row["scorer"], row["feature_set"]) == (
        True, FEATURES, FEATURES, "pattern", "main",
    )  # fmt: skip
    assert row["difference"] == pytest.approx(0.04)
    assert row["low"] < 0.04 < row["high"]
    assert row["low"] > 0
    assert row["win_rate"] == (8 + 0.5 * 4) / 12
    assert row["p"] == row["p_holm"] == pytest.approx(2 / 2**8)  # ties move nothing: 16 of 4,096 flips
    deviation = np.tile([0.0, 0.06, 0.06], 4).std(ddof=1)
    assert row["features_needed"] == int(np.ceil((2.8 * deviation / 0.01) ** 2))


def test_what_was_scored_again_counts_once_and_with_its_newest_score(store: Store) -> None:
    small(store, "runs", run("later", started_at=datetime(2026, 2, 1)))
    scored(store, "new", [0.2] * FEATURES, name="again", run_id="later")
    assert compared(store, "explainer=new", "explainer=old")["mean_a"].to_list() == pytest.approx([0.2])


def test_further_labels_of_a_feature_are_no_part_of_the_comparison(store: Store) -> None:
    before = compared(store, "explainer=new", "explainer=old")
    for feature in range(FEATURES):
        small(
            store, "explanations", explanation(f"second-{feature}", feature, "new", "x", repeat=1, prompt_version="1")
        )
        row = score(f"second-{feature}", feature, 0.01, explanation_id=f"second-{feature}", explainer="new", run_id="r")
        small(store, "scores", row)
    assert compared(store, "explainer=new", "explainer=old").equals(before)


def test_features_that_only_one_side_has_are_counted_and_left_out(store: Store) -> None:
    scored(store, "few", [0.5, None, 0.6, 0.7], explainer_model="a/m")
    row = compared(store, "model=a/m", "explainer=old").row(0, named=True)
    assert (row["n_a"], row["only_a"], row["only_b"]) == (3, 0, FEATURES - 3)


def test_pairs_come_as_a_frame_for_notebooks(store: Store) -> None:
    store.publish()
    frame = compare_features(store.workspace.root, "explainer=new", "explainer=old")
    assert frame["feature"].to_list() == list(range(FEATURES))
    assert frame["difference"].sum() == pytest.approx(8 * 0.06)
    with pytest.raises(UsageError, match="different features"):
        compare_features(store.workspace.root, "feature_set=main,explainer=new", "feature_set=wide,explainer=new")


def test_dictionaries_are_compared_unpaired(store: Store) -> None:
    row = compared(store, "explainer=new,feature_set=main", "feature_set=wide").row(0, named=True)
    assert (row["paired"], row["n_a"], row["n_b"]) == (False, FEATURES, 3)
    assert row["mean_b"] == pytest.approx(0.8)


def test_several_judges_and_metrics_are_rows_and_holm_counts_them_all(store: Store) -> None:
    for explainer, shift in (("old", 0.0), ("new", 0.02)):
        values = (np.linspace(0.5, 0.7, FEATURES) + shift).tolist()
        scored(store, explainer, values, name="llm", scorer="detection", judge_model="a/judge")
        for scorer, judge in (("pattern", None), ("detection", "a/judge")):
            own = {"scorer": scorer, "judge_model": judge, "metric": "auroc_hard"}
            scored(store, explainer, values, name=f"{scorer}-auroc", **own)
    frame = compared(store, "explainer=new", "explainer=old", metrics=("headline", "auroc_hard"))
    assert frame.select("scorer", "metric").rows() == [
        ("detection", "headline"), ("detection", "auroc_hard"), ("pattern", "headline"), ("pattern", "auroc_hard"),
    ]  # fmt: skip
    assert min(frame["p_holm"].to_list()) == pytest.approx(4 * min(frame["p"].to_list()))


def test_a_side_that_is_several_things_says_what_to_name(store: Store) -> None:
    scored(store, "new", [0.5] * FEATURES, prompt_version="2")
    with pytest.raises(UsageError, match=r"several things at once, prompt: 1, 2\..*explainer=new,prompt="):
        compared(store, "explainer=new", "explainer=old")
    assert len(compared(store, "explainer=new,prompt=1", "explainer=new,prompt=2")) == 1


@pytest.mark.parametrize(
    ("columns", "b", "message"),
    [
        (
            {"scorer": "detection", "judge_model": "a/judge"},
            "explainer=other",
            "scorer is pattern .* detection .*judge is none",
        ),
        ({"epoch": 1}, "explainer=other,epoch=1", "epoch is 0 for explainer=new, and 1"),
        ({"scorer_parameters": "{'k': 2}"}, "explainer=other", "scorer_parameters is none"),
    ],
)
def test_another_judge_scorer_or_epoch_is_refused_and_named(
    store: Store, columns: dict[str, Any], b: str, message: str
) -> None:
    scored(store, "other", [0.5] * FEATURES, **columns)
    with pytest.raises(UsageError, match=message):
        compared(store, "explainer=new", b)


def test_other_windows_of_the_same_features_are_refused(store: Store) -> None:
    small(store, "samples", {"sample_id": "u", "feature_set": "main", "created_at": datetime(2025, 1, 1)})
    scored(store, "other", [0.5] * FEATURES, sample_id="u")
    with pytest.raises(UsageError, match=r"sample is s for .*sample=s.*, and u for"):
        compared(store, "explainer=old,sample=s", "explainer=other,sample=u")


def test_the_same_labels_are_refused(store: Store) -> None:
    with pytest.raises(UsageError, match="are the same labels"):
        compared(store, "explainer=new", "run=r,explainer=new,sample=s")


@pytest.mark.parametrize(
    ("side", "message"),
    [
        ("explainer", "names no side of a comparison; write key=value"),
        ("explainer=", "names no side"),
        ("explaner=new", "Did you mean 'explainer'"),
        ("explainer=newer", "no scores have explainer 'newer'. Known: new, old."),
        ("run=x", "no scores have run 'x'. Known: r."),
    ],
)
def test_a_side_that_is_not_known_lists_what_is(store: Store, side: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        compared(store, side, "explainer=old")


def test_an_unknown_metric_or_threshold_lists_the_known_ones(store: Store) -> None:
    with pytest.raises(UsageError, match="Known: headline"):
        compared(store, "explainer=new", "explainer=old", metrics=("nope",))
    with pytest.raises(UsageError, match=r"Known: 0\.01"):
        compared(store, "explainer=new", "explainer=old", tau=0.5)


def test_too_few_features_are_refused_with_their_number(store: Store) -> None:
    scored(store, "one", [0.5])
    with pytest.raises(UsageError, match="1 and 1 features have a score to compare; at least 2"):
        compared(store, "explainer=one", "explainer=old")


def test_the_command_prints_a_line_a_judge_and_json_for_programs(store: Store) -> None:
    store.publish()
    sides = ("compare", "explainer=new", "explainer=old", "--workspace", store.workspace.root)
    text = featlas(*sides)
    assert text.code == 0, text.err
    assert "+0.0400" in text.out
    assert "Paired: the same features" in text.out
    (row,) = json.loads(featlas(*sides, "--json", "--difference", "0.05").out)
    assert {"difference", "low", "high", "p", "p_holm", "win_rate", "features_needed"} <= row.keys()
    assert row["features_needed"] == 3
    wrong = featlas("compare", "explainer=new", "judge=x", "--workspace", store.workspace.root)
    assert (wrong.code, "Known:" in wrong.paragraph()) == (2, True)
