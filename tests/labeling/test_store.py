"""The store: one writer, rows by natural key, shards that are done when their row is committed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import duckdb
import polars as pl
import pytest

from labeling.doctor import doctor
from labeling.errors import FeatlasError, WorkspaceInUse
from labeling.store import MANY_ROWS, Store, data_dictionary, render_data_dictionary
from labeling.workspace import Workspace
from tests.labeling.store_builders import explanation, group, large, run, score, small


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path)


def test_saving_twice_changes_nothing(workspace: Workspace) -> None:
    with Store(workspace) as store:
        for _ in range(2):
            small(store, "scores", score("a", 1, 0.75), score("b", 2, None, reason="lost"))
        assert store.read("scores").select("score_id", "value").rows() == [("a", 0.75), ("b", None)]


def test_a_row_of_the_same_key_replaces_the_old_one(workspace: Workspace) -> None:
    with Store(workspace) as store:
        small(store, "tags", {"sample_id": "s", "feature": 1, "tag": "t", "tagger": "me", "evidence": [1, 2]})
        small(store, "tags", {"sample_id": "s", "feature": 1, "tag": "t", "tagger": "me", "evidence": [3]})
        assert store.read("tags")["evidence"].to_list() == [[3]]


def test_many_rows_replace_those_that_are_there_and_join_the_others(workspace: Workspace) -> None:
    with Store(workspace) as store:
        empty = store.read("token_counts")

        def save(numbers: range, occurrences: int) -> None:
            token = pl.Series([f"t{number}" for number in numbers])
            frame = pl.DataFrame({"corpus_id": "c", "split": "score", "token": token, "occurrences": occurrences})
            store.save("token_counts", frame.cast(empty.schema))

        save(range(MANY_ROWS), 1)
        save(range(MANY_ROWS - 1, 2 * MANY_ROWS), 2)
        counts = dict(store.read("token_counts").group_by("occurrences").len().iter_rows())
        assert counts == {1: MANY_ROWS - 1, 2: MANY_ROWS + 1}


def test_what_was_saved_is_there_in_the_next_process(workspace: Workspace) -> None:
    with Store(workspace) as store:
        small(store, "runs", run("a"))
    with Store(workspace) as store:
        assert store.read("runs")["run_id"].to_list() == ["a"]


def test_read_filters_by_equality_and_by_null(workspace: Workspace) -> None:
    with Store(workspace) as store:
        small(store, "scores", score("a", 1, 0.5), score("b", 1, 0.5, control="shuffled"), score("c", 2, 0.5))
        assert store.read("scores", feature=1, control=None)["score_id"].to_list() == ["a"]


def test_times_with_a_zone_are_stored_in_utc(workspace: Workspace) -> None:
    noon = datetime(2026, 1, 1, 12, tzinfo=UTC)
    with Store(workspace) as store:
        frame = pl.DataFrame({name: [None] for name in store.read("runs").columns})
        zoned = noon.astimezone(timezone(timedelta(hours=5)))
        store.save("runs", frame.with_columns(run_id=pl.lit("a"), started_at=pl.lit(zoned)))
        assert store.read("runs")["started_at"].to_list() == [noon.replace(tzinfo=None)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (pl.lit(1).alias("extra"), r"unknown \['extra'\]"),
        (pl.lit(float("nan")).alias("value"), r"NaN in \['value'\]"),
        (pl.lit("a").alias("score_id"), "two rows of one key"),
        (pl.lit(None).alias("metric"), "NOT NULL|two rows"),
        (pl.lit("high").alias("low"), "convert"),
    ],
)
def test_wrong_frames_are_programming_errors_and_save_nothing(
    workspace: Workspace, change: pl.Expr, message: str
) -> None:
    with Store(workspace) as store:
        empty = store.read("scores")
        rows = [{name: row.get(name) for name in empty.columns} for row in (score("a", 1, 0.5), score("b", 1, 0.5))]
        with pytest.raises(ValueError, match=message):
            store.save("scores", pl.DataFrame(rows, schema=empty.schema).with_columns(change))
        assert store.read("scores").height == 0


@pytest.mark.parametrize("table", ["labels", "scoreboard", "contexts", "schema_version", "nope"])
def test_only_small_tables_are_saved_to(workspace: Workspace, table: str) -> None:
    with Store(workspace) as store, pytest.raises(ValueError, match="to save to"):
        store.save(table, pl.DataFrame())


def test_a_shard_is_done_when_its_row_is_there(workspace: Workspace) -> None:
    frame = large("panel", {"sample_id": "s", "rank": 0, "window_id": 4})
    with Store(workspace, now=lambda: datetime(2026, 1, 1)) as store:
        assert not store.shard_done("panel", "s", 0)
        for _ in range(2):
            store.save_shard("panel", "s", 0, frame, seconds=1.5)
        assert store.shard_done("panel", "s", 0)
        assert not store.shard_done("panel", "s", 1)
        file = "evidence/panel/s-00000.parquet"
        assert store.read("shards").rows() == [("panel", "s", 0, 1, 1.5, file, datetime(2026, 1, 1))]
        assert store.evidence("panel", "s").collect()["window_id"].to_list() == [4]


def test_a_second_writer_in_the_same_process_is_refused(workspace: Workspace) -> None:
    with Store(workspace), pytest.raises(WorkspaceInUse, match=str(os.getpid())):
        Store(workspace)
    Store(workspace).close()


HOLD = """
import sys, time
from multiprocessing import get_context
from pathlib import Path
from labeling.store import Store
from labeling.workspace import Workspace
store = Store(Workspace(Path(sys.argv[1])))
worker = get_context("fork").Process(target=time.sleep, args=(60,), daemon=True)
worker.start()
sys.stdout.write(f"{worker.pid}\\n"); sys.stdout.flush()
time.sleep(60)
"""


def test_another_process_is_named_and_its_death_frees_the_workspace(workspace: Workspace) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLD, str(workspace.root)], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        worker = int(holder.stdout.readline())
        try:
            with pytest.raises(WorkspaceInUse, match=f"process {holder.pid} is writing"):
                Store(workspace)
            holder.kill()
            holder.wait()
            Store(workspace).close()  # although the worker it forked still lives
        finally:
            holder.kill()
            os.kill(worker, signal.SIGKILL)


def test_a_database_that_another_program_has_open_is_named(workspace: Workspace) -> None:
    Store(workspace).close()
    code = "import duckdb, sys, time; c = duckdb.connect(sys.argv[1]); print(1, flush=True); time.sleep(60)"
    command = [sys.executable, "-c", code, str(workspace.database)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        try:
            with pytest.raises(WorkspaceInUse, match=str(holder.pid)):
                Store(workspace)
        finally:
            holder.kill()


@pytest.mark.parametrize("content", [b"", b"not a database" * 1000])
def test_a_damaged_database_is_one_paragraph_and_stays_as_it_is(workspace: Workspace, content: bytes) -> None:
    workspace.create().database.write_bytes(content)
    with pytest.raises(FeatlasError, match=r"featlas.duckdb cannot be read: .*move it away"):
        Store(workspace)
    assert workspace.database.read_bytes() == content


def test_a_workspace_that_cannot_be_made_is_one_paragraph(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FeatlasError, match="cannot be made"):
        Store(Workspace(tmp_path / "file" / "workspace"))


FILL_THE_DISK = """
import resource, sys
from pathlib import Path
from labeling.errors import FeatlasError
from labeling.store import Store
from labeling.workspace import Workspace
from tests.labeling.store_builders import score, small
store = Store(Workspace(Path(sys.argv[1])))
small(store, "scores", score("before", 1, 0.5))
resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, 2**20))
try:
    small(store, "scores", *(score(f"{i * 7919:032x}", i, i / 7, reason=f"{i}" * 9) for i in range(60000)))
except FeatlasError as error:
    sys.stdout.write(str(error)); sys.stdout.flush()
import os
os._exit(0)
"""


def test_a_full_disk_is_one_paragraph_and_loses_nothing(workspace: Workspace) -> None:
    command = [sys.executable, "-c", FILL_THE_DISK, str(workspace.root)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "featlas.duckdb cannot be written" in done.stdout
    assert "still there" in done.stdout
    with Store(workspace) as store:
        assert store.read("scores")["score_id"].to_list() == ["before"]


def test_every_table_view_and_column_has_a_comment() -> None:
    dictionary = data_dictionary()
    assert {"labels", "scoreboard", "contexts", "scores"} <= set(dictionary["table"])
    bare = dictionary.filter(pl.col("comment").is_null() | pl.col("table_comment").is_null())
    assert bare.select("table", "column").rows() == []


def test_the_data_dictionary_in_the_docs_is_up_to_date() -> None:
    file = Path(__file__).parents[2] / "docs" / "data-dictionary.md"
    assert file.read_text(encoding="utf-8") == render_data_dictionary(), "write render_data_dictionary() to it again"


def sample(store: Store, **columns: object) -> None:
    given = {"sample_id": "s", "feature_set": "f", "corpus_id": "c", "tau_share": 0.01, "run_id": "r0"}
    small(store, "samples", {**given, **columns})


def label_rows(store: Store, *columns: str) -> list[tuple[object, ...]]:
    store.publish()
    return store.read("labels").sort("feature").select(columns).rows()


def test_labels_come_from_the_group_with_the_highest_mean(workspace: Workspace) -> None:
    with Store(workspace) as store:
        sample(store)
        small(store, "features", *({"sample_id": "s", "feature": f, "status": "ok"} for f in (1, 2)))
        small(store, "score_groups", group("good", 0.8), group("lucky", 0.6))
        small(store, "explanations", explanation("g1", 1, "good", "G1"), explanation("l1", 1, "lucky", "L1"))
        small(store, "explanations", explanation("g2", 2, "good", None), explanation("l2", 2, "lucky", "L2"))
        good = score("x", 1, 0.7, explanation_id="g1", explainer="good")
        lucky = score("y", 1, 0.9, explanation_id="l1", explainer="lucky")
        small(store, "scores", good, lucky, score("z", 2, 0.4, explanation_id="l2", explainer="lucky"))
        # Feature 1 does not take the label that was luckier on it; feature 2 has no label of the better explainer.
        assert label_rows(store, "label", "score") == [("G1", 0.7), ("L2", 0.4)]


def test_a_label_without_a_score_in_the_first_group_shows_the_next_group(workspace: Workspace) -> None:
    with Store(workspace) as store:
        sample(store)
        small(store, "features", {"sample_id": "s", "feature": 1, "status": "ok"})
        small(store, "explanations", explanation("e", 1, "good", "G", explainer_model="a/m"))
        groups = (group("good", 0.8, explainer_model="a/m", scorer=s, priority=i) for i, s in enumerate("ba"))
        small(store, "score_groups", *groups)
        own = {"explanation_id": "e", "explainer": "good", "explainer_model": "a/m"}
        lost = score("x", 1, None, scorer="b", **own)
        shuffled = score("w", 1, 0.1, scorer="b", control="shuffled", **own)
        small(store, "scores", lost, shuffled, score("y", 1, 0.3, scorer="a", low=0.2, high=0.4, **own))
        assert label_rows(store, "scorer", "score", "score_low", "score_high") == [("a", 0.3, 0.2, 0.4)]


def test_a_repeat_on_few_features_does_not_replace_the_group(workspace: Workspace) -> None:
    with Store(workspace) as store:
        sample(store)
        small(store, "features", {"sample_id": "s", "feature": 1, "status": "ok"})
        small(store, "explanations", explanation("x", 1, "e", "L"))
        small(store, "score_groups", group("e", 0.6, n_features=9), group("e", 0.9, n_features=1, epoch=1))
        own = {"explanation_id": "x", "explainer": "e"}
        small(store, "scores", score("q", 1, 0.5, **own), score("p", 1, 0.9, epoch=1, **own))
        assert store.read("scoreboard")["mean"].to_list() == [0.6]
        assert label_rows(store, "score") == [(0.5,)]


def test_of_two_scores_of_a_label_by_versions_of_a_scorer_the_newer_one_is_shown(workspace: Workspace) -> None:
    with Store(workspace) as store:
        sample(store)
        small(store, "features", {"sample_id": "s", "feature": 1, "status": "ok"})
        small(store, "explanations", explanation("x", 1, "e", "L"))
        small(store, "score_groups", group("e", 0.6))
        small(store, "runs", *(run(f"r{day}", started_at=datetime(2026, 1, day)) for day in (1, 2)))
        own = {"explanation_id": "x", "explainer": "e"}
        small(store, "scores", score("a", 1, 0.9, run_id="r1", **own), score("b", 1, 0.5, run_id="r2", **own))
        assert label_rows(store, "score") == [(0.5,)]


def test_a_further_label_of_the_same_explainer_is_never_shown_in_place_of_the_first(workspace: Workspace) -> None:
    with Store(workspace) as store:
        sample(store)
        small(store, "features", {"sample_id": "s", "feature": 1, "status": "ok"})
        first = explanation("x", 1, "e", "FIRST", repeat=0, created_at=datetime(2026, 1, 1))
        small(store, "explanations", first, explanation("a", 1, "e", "2", repeat=1, created_at=datetime(2026, 1, 2)))
        small(store, "score_groups", group("e", 0.6))
        scores = (
            score(f"s{name}", 1, value, explanation_id=name, explainer="e") for name, value in (("x", 0.5), ("a", 0.9))
        )
        small(store, "scores", *scores)
        assert label_rows(store, "label", "score") == [("FIRST", 0.5)]


def test_the_gap_of_a_chosen_label_is_between_select_and_score_and_says_whether_one_judge_gave_both(
    workspace: Workspace,
) -> None:
    with Store(workspace) as store:
        judge = '{"judge": {"scorer": "detection", "model": "a/m"}}'
        chosen = explanation("x", 1, "best_of_k", "L", select_score=0.75, parameters=judge)
        small(store, "explanations", chosen, explanation("y", 2, "top_and_random", "other"))
        own = {"explanation_id": "x", "explainer": "best_of_k"}
        same = score("p", 1, 0.5, scorer="detection", judge_model="a/m", **own)
        small(store, "scores", same, score("q", 1, 0.25, **own), score("r", 1, 0.1, control="shuffled", **own))
        gaps = store.select("SELECT scorer, select_score, score, gap, comparable FROM select_gaps ORDER BY scorer")
        assert [tuple(row[:4]) for row in gaps.rows()] == [("detection", 0.75, 0.5, 0.25), ("pattern", 0.75, 0.25, 0.5)]
        assert gaps["comparable"].fill_null(False).to_list() == [True, False]


def test_a_gap_says_which_label_it_is_of_and_how_often_the_judge_was_asked_before(workspace: Workspace) -> None:
    with Store(workspace) as store:
        first = explanation("x", 1, "best_of_k", "L", select_score=0.75, repeat=0)
        small(store, "explanations", first, explanation("y", 1, "best_of_k", "M", select_score=0.5, repeat=1))
        again = score("q", 1, 0.625, explanation_id="x", epoch=1)
        small(store, "scores", score("p", 1, 0.5, explanation_id="x"), again, score("r", 1, 0.25, explanation_id="y"))
        gaps = store.select("SELECT repeat, epoch, gap FROM select_gaps ORDER BY repeat, epoch")
        assert gaps.rows() == [(0, 0, 0.25), (0, 1, 0.125), (1, 0, 0.25)]


def test_features_without_a_label_have_a_row_with_their_status(workspace: Workspace) -> None:
    with Store(workspace) as store:
        sample(store)
        small(store, "features", {"sample_id": "s", "feature": 3, "status": "dead", "firing_rate": 0.0})
        shown = label_rows(store, "label", "status", "run_id", "score", "metric", "neighbor_labels")
        assert shown == [(None, "dead", "r0", None, None, [])]


def test_labels_know_their_cluster_and_their_neighbors(workspace: Workspace) -> None:
    with Store(workspace) as store:
        sample(store)
        small(store, "features", {"sample_id": "s", "feature": 1, "status": "ok"})
        small(store, "explanations", *(explanation(f"e{f}", f, "e", f"L{f}") for f in (1, 2, 3)))
        near = {"feature_set": "f", "method": "decoder_cosine", "feature": 1}
        small(store, "neighbors", *({**near, "rank": r, "neighbor": n} for r, n in ((0, 3), (1, 9), (2, 2))))
        for name, is_default in (("a", False), ("b", True)):
            small(store, "clusterings", {"clustering_id": name, "feature_set": "f", "is_default": is_default})
            small(store, "clusters", {"clustering_id": name, "cluster": 5, "name": f"cluster of {name}"})
            small(store, "cluster_members", {"clustering_id": name, "feature": 1, "cluster": 5})
        shown = label_rows(store, "cluster", "cluster_name", "neighbor_labels")
        assert shown == [(5, "cluster of b", ["L3", "L2"])]


def test_the_scoreboard_puts_random_weights_beside_the_real_feature_set(workspace: Workspace) -> None:
    with Store(workspace) as store:
        small(store, "feature_sets", {"feature_set": "f"}, {"feature_set": "f0", "control_for": "f"})
        sample(store)
        sample(store, sample_id="s0", feature_set="f0")
        small(store, "score_groups", group("e", 0.8), group("e", 0.5, control="shuffled"))
        small(
            store, "score_groups", group("e", 0.7, sample_id="s0"), group("e", 0.4, sample_id="s0", control="generic")
        )
        board = store.read("scoreboard").select("feature_set", "control", "mean", "judge_model").rows()
        assert sorted(board, key=str) == [
            ("f", "random_weights", 0.7, None),
            ("f", "shuffled", 0.5, None),
            ("f", None, 0.8, None),
        ]


def test_the_scoreboard_tells_random_directions_from_random_weights(workspace: Workspace) -> None:
    with Store(workspace) as store:
        controls = (("f0", "topk"), ("f1", "random_directions"))
        small(store, "feature_sets", *({"feature_set": n, "control_for": "f", "architecture": a} for n, a in controls))
        for name, _ in controls:
            sample(store, sample_id=name, feature_set=name)
            small(store, "score_groups", group("e", 0.5, sample_id=name))
        board = store.read("scoreboard").select("feature_set", "control").rows()
        assert sorted(board) == [("f", "random_directions"), ("f", "random_weights")]


def test_the_scoreboard_shows_what_true_labels_mean_beside_them_alone(workspace: Workspace) -> None:
    with Store(workspace) as store:
        sample(store)
        small(store, "score_groups", group("e", 0.6, low=0.5), group("e", 0.5, low=0.4, control="shuffled"))
        key = {name: value for name, value in group("e", 0.6).items() if name in store.read("group_statistics").columns}
        small(store, "group_statistics", {**key, "share_significant": 0.7, "reliability": 0.8, "n_null": 300})
        judged = {name: key[name] for name in key if name not in ("tau", "epoch")}
        small(store, "judge_reliability", {**judged, "flip_rate": 0.05, "icc": 0.9})
        columns = ("control", "share_significant", "n_null", "reliability", "flip_rate", "icc")
        assert store.read("scoreboard").select(columns).rows() == [
            (None, 0.7, 300, 0.8, 0.05, 0.9),
            ("shuffled", None, None, None, None, None),
        ]


def test_labels_carry_what_their_score_means(workspace: Workspace) -> None:
    with Store(workspace) as store:
        sample(store)
        small(store, "features", {"sample_id": "s", "feature": 1, "status": "ok"})
        small(store, "score_groups", group("e", 0.8, low=0.7))
        small(store, "explanations", explanation("x", 1, "e", "L"))
        small(store, "scores", score("q", 1, 0.9, explanation_id="x", explainer="e"))
        means = {"p": 0.01, "q": 0.04, "shrunk": 0.85, "shrunk_low": 0.8, "shrunk_high": 0.9}
        small(store, "score_statistics", {"score_id": "q", "metric": "headline", "tau": 0.01, **means})
        shown = label_rows(store, "score", "p", "q", "score_shrunk", "score_shrunk_low", "score_shrunk_high")
        assert shown == [(0.9, 0.01, 0.04, 0.85, 0.8, 0.9)]


def test_labels_come_from_the_group_with_the_highest_lower_end(workspace: Workspace) -> None:
    with Store(workspace) as store:
        sample(store)
        small(store, "features", {"sample_id": "s", "feature": 1, "status": "ok"})
        small(store, "score_groups", group("sure", 0.7, low=0.68), group("lucky", 0.8, low=0.5))
        small(store, "explanations", explanation("a", 1, "sure", "S"), explanation("b", 1, "lucky", "L"))
        small(
            store,
            "scores",
            *(score(e, 1, 0.7, explanation_id=x, explainer=e) for x, e in (("a", "sure"), ("b", "lucky"))),
        )
        assert label_rows(store, "label") == [("S",)]


def test_the_scoreboard_shows_the_newest_sample(workspace: Workspace) -> None:
    with Store(workspace) as store:
        for name, day in (("s", 2), ("t", 1)):
            sample(store, sample_id=name, created_at=datetime(2026, 1, day))
        older = (group(explainer, 0.6, sample_id="t") for explainer in ("e", "of the older one alone"))
        small(store, "score_groups", group("e", 0.8), *older)
        assert store.read("scoreboard").select("explainer", "mean", "sample_id").rows() == [("e", 0.8, "s")]


def sound_workspace(store: Store) -> None:
    """One document, two windows, one explained, one judged."""
    sample(store)
    windows = (
        {"corpus_id": "c", "window_id": i, "document_id": s, "split": s} for i, s in enumerate(("explain", "score"))
    )
    store.save_shard("windows", "c", 0, large("windows", *windows))
    contexts = (
        {"sample_id": "s", "window_id": i, "document_id": s, "split": s} for i, s in enumerate(("explain", "score"))
    )
    store.save_shard("contexts", "s", 0, large("contexts", *contexts))
    store.save_shard("panel", "s", 0, large("panel", {"sample_id": "s", "window_id": 1}))
    small(store, "explanations", explanation("e", 1, "x", "L", evidence=[0]))
    judged = {"sample_id": "s", "explanation_id": "e", "split": "score", "window_id": 1}
    store.save_shard("judgments", "s", 0, large("judgments", judged, {**judged, "explanation_id": None}))
    small(store, "scores", score("a", 1, 0.5, explanation_id="e"), score("b", 1, 0.5, control="no_label"))


def test_the_doctor_finds_nothing_in_a_sound_workspace(workspace: Workspace) -> None:
    with Store(workspace) as store:
        sound_workspace(store)
    assert doctor(workspace) == []


JUDGED = {"sample_id": "s", "explanation_id": "e", "split": "score", "window_id": 1}


@pytest.mark.parametrize(
    ("check", "table", "row"),
    [
        ("scores -> explanations", "scores", score("q", 1, 0.5, explanation_id="gone")),
        ("scores -> samples", "scores", score("q", 1, 0.5, sample_id="gone")),
        ("explanations -> samples", "explanations", explanation("q", 1, "x", "L", sample_id="gone")),
        (
            "contexts -> windows",
            "contexts",
            {"sample_id": "s", "window_id": 9, "document_id": "score", "split": "score"},
        ),
        ("panel -> windows", "panel", {"sample_id": "s", "window_id": 9}),
        ("judgments -> explanations", "judgments", {**JUDGED, "explanation_id": "gone"}),
        ("judgments -> windows", "judgments", {**JUDGED, "window_id": 9}),
        ("judgments -> windows", "judgments", {**JUDGED, "window_id": 0}),
        ("explain contexts are not judged", "judgments", {**JUDGED, "split": "explain", "window_id": 0}),
        ("shown evidence is of the explain split", "explanations", explanation("q", 1, "x", "L", evidence=[1])),
        ("splits are disjoint", "documents", {"corpus_id": "c", "document_id": "explain", "split": "score"}),
    ],
)
def test_the_doctor_finds_what_is_broken(workspace: Workspace, check: str, table: str, row: dict[str, object]) -> None:
    with Store(workspace) as store:
        sound_workspace(store)
        if table in ("contexts", "panel", "judgments"):
            store.save_shard(table, "s", 1, large(table, row))
        else:
            small(store, table, row)
    assert [(finding.check, finding.count) for finding in doctor(workspace)] == [(check, 1)]


def test_the_doctor_compares_shards_with_files(workspace: Workspace) -> None:
    with Store(workspace) as store:
        sound_workspace(store)
        folder = workspace.evidence("panel")
        (folder / "s-00000.parquet").rename(folder / "s-00007.parquet")
    lost, extra = doctor(workspace)
    assert (lost.check, extra.check) == ("shards -> files", "files -> shards")
    assert "s-00000" in lost.message
    assert "s-00007" in extra.message


def test_the_doctor_makes_no_workspace(workspace: Workspace) -> None:
    with pytest.raises(FeatlasError, match="no workspace"):
        doctor(workspace)
    assert not workspace.database.exists()


def test_duckdb_is_the_version_whose_files_we_write() -> None:
    assert duckdb.__version__.startswith("2.")
