"""Named questions to a published snapshot."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from dashboards import queries
from dashboards.queries import Reader, open_reader
from labeling.errors import FeatlasError, UsageError
from labeling.workspace import Workspace
from tests.dashboards.build import make, publish


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    with open_reader(publish(make(), Workspace(tmp_path_factory.mktemp("workspace")))) as reader:
        yield reader


def test_only_the_newest_sample_of_a_feature_set_is_shown_controls_last(reader: Reader) -> None:
    assert queries.samples(reader)["sample_id"].to_list() == ["s1", "s2"]


def test_everything_that_failed_is_counted_with_its_reason(reader: Reader) -> None:
    assert queries.losses(reader, "s1").select("who", "control", "what", "n", "reason").rows() == [
        ("token_pattern", None, "features without a label", 1, "no token stands out"),
        ("pattern", None, "judgments lost", 18, "window too long"),
        ("embedding", None, "features without a headline score", 1, "label has no words to embed"),
        ("embedding", "shuffled", "features without a headline score", 1, "label has no words to embed"),
    ]
    assert queries.failed_requests(reader)["n"].to_list() == [1]


def test_score_bins_of_a_series_add_up_to_one(reader: Reader) -> None:
    bins = queries.score_bins(reader, "s1", ["s2"], metric="headline", bins=10)
    sums = bins.group_by("scorer", "series").agg(pl.len(), pl.col("share").sum())
    assert sums["len"].to_list() == [10] * 6
    assert sums["share"].to_list() == pytest.approx([1.0] * 6)


def test_best_labels_are_sorted_by_the_lower_end_and_show_a_cluster_once(reader: Reader) -> None:
    best = queries.best_labels(reader, "s1", 8)
    assert best["score_low"].is_sorted(descending=True)
    assert best["cluster"].is_unique().all()
    everything = queries.all_labels(reader, "s1").filter(status="ok")
    assert best["score_low"][0] == everything["score_low"].max()


def test_worst_labels_are_sorted_by_the_upper_end(reader: Reader) -> None:
    worst = queries.worst_labels(reader, "s1", 8)
    assert worst["score_high"].is_sorted()
    assert worst["score_high"][0] == queries.all_labels(reader, "s1").filter(status="ok")["score_high"].min()


def test_where_the_first_labels_are_of_few_clusters_all_are_looked_at(
    reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    best, worst = queries.best_labels(reader, "s1", 8), queries.worst_labels(reader, "s1", 8)
    for most in (1, 3, 9):
        monkeypatch.setattr(queries, "FIRST_LABELS", most)
        assert queries.best_labels(reader, "s1", 8).equals(best)
        assert queries.worst_labels(reader, "s1", 8).equals(worst)


def test_fooled_labels_do_better_against_random_text(reader: Reader) -> None:
    fooled = queries.fooled_labels(reader, "s1", 4)
    assert fooled.height > 0
    assert (fooled["against_random"] > fooled["against_hard"]).all()


def test_contexts_are_held_out_and_no_more_than_asked_for(reader: Reader) -> None:
    found = queries.contexts(reader, "s1", [1, 2], {"top": 2, "hard_text": 1})
    counted = found.group_by("feature", "stratum").len()
    assert counted.filter(stratum="top")["len"].max() == 2
    assert set(found["stratum"]) == {"top", "hard_text"}
    assert found.filter(feature=1, stratum="top")["max_activation"].is_sorted(descending=True)
    splits = reader.query("SELECT split FROM documents WHERE list_contains($1, name)", [found["document"].to_list()])
    assert set(splits["split"]) == {"score"}


def test_the_map_is_bounded_and_says_how_many_there_are(reader: Reader) -> None:
    points = queries.map_points(reader, "s1", 5)
    assert points.height == 5
    assert points["total"].to_list() == [24] * 5


def test_a_reader_can_not_write(reader: Reader) -> None:
    with pytest.raises(UsageError):
        reader.query("DELETE FROM labels")


def test_a_workspace_without_a_snapshot_is_told_with_the_next_step(tmp_path: Path) -> None:
    with pytest.raises(FeatlasError, match="featlas"), open_reader(Workspace(tmp_path)):
        pass
