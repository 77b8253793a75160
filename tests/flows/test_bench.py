"""`featlas bench`: what it prints, how it exits, and what the numbers of a workspace are. No times: those depend on the day."""

from __future__ import annotations

import json
import math
import os
import sys
from datetime import datetime
from pathlib import Path

import polars as pl
import pytest
import torch
from safetensors.torch import load_file

from flows.benches import BenchOptions, Row, at_least, at_most, between, plain
from flows.benches._processes import Finished, run_child
from flows.benches._whole_stage import Stage
from flows.benches.contexts import ContextsBench
from flows.benches.delphi import OURS, WIDTH, write_dictionary, write_model
from flows.benches.delphi import create as create_delphi
from flows.benches.demo import cost, quality
from flows.benches.forward import Forward
from flows.benches.sampler import MillionBench, SamplerBench
from flows.benches.start import Start
from flows.commands.bench import as_text
from labeling import evidence
from labeling.errors import UsageError
from labeling.store import Store
from labeling.workspace import Workspace
from tests.flows.mini import featlas
from tests.labeling.store_builders import group, large, score, small

FIELDS = ["name", "value", "unit", "target", "ok"]
TARGETED = [
    "auroc_random",
    "auroc_hard",
    "auroc_random, shuffled labels",
    "auroc_hard, shuffled labels",
    "balanced_random, shuffled labels",
    "auroc_random above shuffled",
    "headline minus shuffled",
    "hard negatives: >= 20 % same token",
    "hard negatives: >= 20 % neighbor",
    "hard negatives: >= 20 % similar text",
    "ok features",
]


@pytest.mark.parametrize(
    ("row", "ok"),
    [
        (at_least("a", 0.74, 0.74, ""), True),
        (at_least("a", 0.739, 0.74, ""), False),
        (at_most("a", 120.0, 120, "s"), True),
        (at_most("a", 120.1, 120, "s"), False),
        (between("a", 0.45, 0.45, 0.55, ""), True),
        (between("a", 0.551, 0.45, 0.55, ""), False),
        (plain("a", 1e9, "s"), True),
    ],
)
def test_a_target_is_met_up_to_and_with_its_limit(row: Row, ok: bool) -> None:
    assert row.ok is ok


@pytest.mark.parametrize("value", [None, math.nan])
def test_a_number_that_is_missing_misses_its_target(value: float | None) -> None:
    rows = [at_least("a", value, 0, ""), at_most("a", value, 0, ""), between("a", value, 0, 1, "")]
    assert [(row.ok, row.value) for row in rows] == [(False, None)] * 3


def test_the_table_marks_the_targets_that_are_missed() -> None:
    lines = as_text(
        [plain("tokens", 60_000, "tokens"), at_most("time", 3.2, 5, "s"), at_most("memory", None, 2048, "MiB")]
    )
    assert [line.split() for line in lines.splitlines()] == [
        ["tokens", "60,000", "tokens"],
        ["time", "3.200", "s", "<=", "5", "ok"],
        ["memory", "-", "MiB", "<=", "2048", "MISSED"],
    ]


def test_a_child_process_is_waited_for_and_measured() -> None:
    done = run_child(
        [sys.executable, "-c", "import sys; print('out', end=''); sys.exit(3)"], environment=dict(os.environ)
    )
    assert (done.exit_code, done.stdout) == (3, "out")
    assert done.cpu_seconds > 0
    assert done.peak_mib > 1


def test_start_runs_the_installed_command() -> None:
    rows = Start(repeats=1).measure()
    assert [(row.unit, row.target) for row in rows] == [("s", "<= 0.2"), ("s", None), ("MiB", None)]
    assert all(row.value for row in rows)


@pytest.mark.slow
def test_the_stage_sample_is_taken_apart_and_the_fullest_feature_is_weighed() -> None:
    stage = Stage(n_features=512, k=8, tokens=8_000, context_features=100)
    rows = {row.name: row for row in SamplerBench(stages=(stage,)).measure()}
    targeted = [
        "512 features: the stage over forward + encode",
        "sampler state a feature, all lists and histograms full",
    ]
    assert [name for name, row in rows.items() if row.target] == targeted
    value = {name: row.value or 0 for name, row in rows.items()}
    parts = [value[name] for name, row in rows.items() if "of that" in name]
    assert len(parts) == 3
    assert value[targeted[0]] == pytest.approx(1 + sum(parts) / 100)
    assert value["512 features: tokens read"] > 7_000
    assert 4_000 < value[targeted[1]] <= 4_096


@pytest.mark.slow
def test_the_largest_dictionary_is_measured_on_its_own() -> None:
    rows = MillionBench(tokens=1_000, n_features=40_000).measure()
    assert [row.unit for row in rows if row.target] == ["min", "GiB", "bytes"]
    assert all(row.value for row in rows)
    assert rows[1].target == f"<= {30 * rows[0].value / 50_000:g}"  # type: ignore[operator]  # it is a number


@pytest.mark.slow
def test_the_bench_of_contexts_measures_all_and_mining_beside_the_forward_pass() -> None:
    rows = {row.name: row for row in ContextsBench(tokens=6_000, features=256).measure()}
    assert [name for name, row in rows.items() if row.target] == ["contexts over forward", "mining over forward"]
    assert all(row.value is not None and row.value > 0 for row in rows.values())
    mining, every = (
        rows[f"{name}, CPU"].value for name in ("mining of all hard negatives", "contexts of all 256 features")
    )
    assert mining is not None
    assert every is not None
    assert mining < every


@pytest.mark.slow
def test_the_bench_of_the_forward_pass_puts_a_bare_loop_beside_ours() -> None:
    rows = Forward(tokens=600, repeats=1).measure()
    assert [row.name.partition(": ")[2] for row in rows if row.target] == ["ours / bare"] * 2
    assert all(row.value is not None and row.value > 0 for row in rows)


def test_a_missing_delphi_is_told_and_is_no_miss() -> None:
    rows = create_delphi(options=BenchOptions()).measure()
    assert [("not installed" in row.name, row.value, row.ok) for row in rows] == [(True, None, True)]
    with pytest.raises(UsageError, match="--python is /no/such/python"):
        create_delphi(options=BenchOptions(python="/no/such/python"))


@pytest.mark.slow
def test_our_side_of_the_comparison_with_delphi_reads_the_tokens_that_delphi_gets(tmp_path: Path) -> None:
    write_model(tmp_path, corpus=None)
    write_dictionary(tmp_path, features=512, center=torch.zeros(WIDTH))
    (tmp_path / "job.json").write_text(json.dumps({"corpus": None, "max_tokens": 24_576}))
    ran = run_child([sys.executable, "-c", OURS, str(tmp_path)], environment={**os.environ, "PYTHONPATH": "."})
    said = json.loads(ran.stdout)
    assert said["cpu_seconds"] > said["reading"] > 0
    tokens = load_file(tmp_path / "tokens.safetensors")["tokens"]
    assert 24_576 <= tokens.numel() <= said["tokens"] < 24_576 + 8_192 * 4
    contexts = pl.read_parquet(tmp_path / "workspace" / "evidence" / "contexts" / "*.parquet")
    assert set(contexts["feature"]) <= set(range(100))


def test_the_cost_of_the_demo_is_read_from_its_summary_and_its_process() -> None:
    summary = json.dumps({"seconds": {"sample": 40.0, "label": 2.5}})
    rows = cost(Finished(0, summary, wall_seconds=121.0, cpu_seconds=150.0, peak_mib=2048.0))
    assert [(row.value, row.target, row.ok) for row in rows] == [
        (121.0, "<= 120", False),
        (150.0, None, True),
        (40.0, None, True),
        (2.5, None, True),
        (2048.0, "<= 2048", True),
    ]


def measured(root: Path) -> Path:
    """Two `ok` features, one weak, one dead. Feature 1 has hard negatives of one source only."""
    workspace = Workspace(root).create()
    made = {"created_at": datetime(2026, 1, 1)}
    with Store(workspace) as store:
        small(store, "feature_sets", {"feature_set": "f", "n_features": 4}, {"feature_set": "r", "control_for": "f"})
        small(
            store,
            "samples",
            {"sample_id": "s", "feature_set": "f", **made},
            {"sample_id": "t", "feature_set": "r", **made},
        )
        statuses = ["ok", "ok", "weak", "dead"]
        small(store, "features", *({"sample_id": "s", "feature": i, "status": s} for i, s in enumerate(statuses)))
        means = {
            "auroc_random": (0.8, 0.5),
            "auroc_hard": (0.6, 0.56),
            "balanced_random": (0.7, 0.52),
            "headline": (0.6, 0.5),
        }
        for metric, (true, shuffled) in means.items():
            small(store, "score_groups", group("token_pattern", true, metric=metric))
            small(store, "score_groups", group("token_pattern", shuffled, metric=metric, control="shuffled"))
        random = {"metric": "auroc_random", "explainer": "token_pattern"}
        for feature, (true, shuffled) in enumerate([(0.9, 0.5), (0.5, 0.5)]):
            small(store, "scores", score(f"t{feature}", feature, true, **random))
            small(store, "scores", score(f"c{feature}", feature, shuffled, **random, control="shuffled"))
        strata = [
            (0, "hard_token"),
            (0, "hard_neighbor"),
            (0, "hard_text"),
            (1, "hard_text"),
            (0, "random"),
            (2, "hard_token"),
        ]
        contexts = large(
            "contexts",
            *(
                {"sample_id": "s", "feature": feature, "split": "score", "stratum": stratum, "window_id": window}
                for window, (feature, stratum) in enumerate(strata)
            ),
        )
        evidence.write_shard(workspace, "contexts", "s", 0, contexts)
        store.publish()
    return root


def test_the_quality_of_a_workspace_is_read_from_its_scores_and_contexts(tmp_path: Path) -> None:
    rows = {row.name: row for row in quality(measured(tmp_path))}
    assert [name for name, row in rows.items() if row.target] == TARGETED
    assert {name: row.value for name, row in rows.items()} == {
        "auroc_random": 0.8,
        "auroc_hard": 0.6,
        "auroc_random, shuffled labels": 0.5,
        "auroc_hard, shuffled labels": 0.56,
        "balanced_random, shuffled labels": 0.52,
        "auroc_random above shuffled": 50.0,  # a tie is not above
        "headline": 0.6,
        "headline minus shuffled": pytest.approx(0.1),
        "hard negatives: >= 20 % same token": 50.0,
        "hard negatives: >= 20 % neighbor": 50.0,
        "hard negatives: >= 20 % similar text": 100.0,
        "hard negatives: >= 20 % of each": 50.0,
        "ok features": pytest.approx(200 / 3),
    }
    assert [name for name in TARGETED if rows[name].ok] == [
        "auroc_random",
        "auroc_random, shuffled labels",
        "balanced_random, shuffled labels",
        "headline minus shuffled",
        "hard negatives: >= 20 % similar text",
    ]


def test_a_missed_target_is_exit_code_1_and_json_has_the_promised_names(tmp_path: Path) -> None:
    ran = featlas("bench", "demo", "--workspace", measured(tmp_path), "--json")
    assert ran.code == 1
    assert [list(row) for row in json.loads(ran.out)] == [FIELDS] * 13


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["strat"], "Did you mean 'start'? Known: "),
        (["start", "--workspace", "w"], "takes no --workspace, but it is w"),
        (["start", "--seed", "3"], "takes no --seed, but it is 3"),
        (["start", "--corpus", "c"], "takes no --corpus, but it is c"),
        (["demo", "--kills", "2"], "takes no --kills, but it is 2"),
        (["kills", "--workspace", "w"], "takes no --workspace, but it is w"),
    ],
)
def test_a_bench_that_does_not_exist_or_an_option_that_it_does_not_take_is_exit_code_2(
    arguments: list[str], said: str
) -> None:
    ran = featlas("bench", *arguments)
    assert ran.code == 2
    assert said in ran.paragraph()
