"""Rules that hold for every workspace, checked on the finished mini demo: see "Invariants" in ARCHITECTURE.md."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from flows.stages.choose_contexts import ContextShard, context_shard
from labeling import evidence
from labeling.types import HARD, SPLITS
from labeling.workspace import Workspace
from tests.flows.mini import FEATURE_SET, Mini, differing, first_difference, tables, write_config

SAMPLE = f"(SELECT sample_id FROM samples WHERE feature_set = '{FEATURE_SET}')"


def test_trap_10_no_document_stands_in_two_splits(mini: Mini) -> None:
    splits = mini.ask(
        "SELECT corpus_id, document_id, count(DISTINCT split) AS n FROM (SELECT corpus_id, document_id, split "
        "FROM windows UNION SELECT corpus_id, document_id, split FROM documents UNION SELECT corpus_id, document_id, "
        "split FROM contexts JOIN samples USING (sample_id)) GROUP BY ALL"
    )
    assert len(splits) > 30
    assert splits["n"].unique().to_list() == [1]
    assert set(mini.ask("SELECT DISTINCT split FROM windows").to_series()) == set(SPLITS)


def test_no_window_or_document_shown_to_an_explainer_is_judged(mini: Mini) -> None:
    shown = mini.ask("SELECT sample_id, feature, unnest(evidence) AS window_id FROM explanations")
    judged = mini.ask("SELECT DISTINCT sample_id, feature, window_id FROM judgments")
    assert len(shown) > 1000
    assert len(judged) > 1000
    assert shown.join(judged, on=["sample_id", "feature", "window_id"]).is_empty()
    place = mini.ask("SELECT sample_id, window_id, document_id FROM windows JOIN samples USING (corpus_id)")
    documents = [set(f.join(place, on=["sample_id", "window_id"])["document_id"]) for f in (shown, judged)]
    assert documents[0] & documents[1] == set()


def test_trap_2_silent_windows_are_silent_and_grey_ones_below_tau(mini: Mini) -> None:
    rows = mini.ask(
        "SELECT c.stratum, count(*) AS n, max(c.max_activation) AS most, bool_and(c.max_activation <= f.tau) AS below "
        "FROM contexts AS c JOIN features AS f USING (sample_id, feature) GROUP BY c.stratum"
    )
    found = {row["stratum"]: row for row in rows.iter_rows(named=True)}
    for stratum in (*HARD, "random"):
        assert found[stratum]["n"] > 100
        assert found[stratum]["most"] == 0
    assert found["grey"]["below"]


def test_a_missing_score_has_a_reason_and_a_score_has_none(mini: Mini) -> None:
    counts = mini.ask(
        "SELECT value IS NULL AS unscored, reason IS NULL AS unexplained, count(*) AS n FROM scores GROUP BY ALL"
    )
    assert {row[:2] for row in counts.iter_rows()} == {(True, False), (False, True)}
    assert mini.ask("SELECT * FROM judgments WHERE (state = 'lost') <> (grade IS NULL)").is_empty()
    assert mini.ask("SELECT * FROM scores WHERE NOT isfinite(value)").is_empty()
    counted = mini.ask(
        "SELECT g.feature_set, metric, tau, scorer, g.control, n_unscored, n FROM scoreboard AS g JOIN ("
        "SELECT feature_set, scorer, metric, tau, control, count(*) FILTER (value IS NULL) AS n FROM scores "
        "JOIN samples USING (sample_id) GROUP BY ALL) AS s USING (feature_set, scorer, metric, tau) "
        "WHERE g.control IS NOT DISTINCT FROM s.control"
    )
    assert len(counted) > 100
    assert counted["n_unscored"].to_list() == counted["n"].to_list()


def test_every_score_leads_to_its_judgments_and_they_to_contexts_or_panel(mini: Mini) -> None:
    assert scores_without_judgments(mini).is_empty()
    lost = mini.ask(
        "SELECT j.* FROM judgments AS j LEFT JOIN contexts AS c ON c.sample_id = j.sample_id AND c.feature = j.feature "
        "AND c.window_id = j.window_id AND c.split = 'score' LEFT JOIN panel AS p ON p.sample_id = j.sample_id "
        "AND p.window_id = j.window_id WHERE c.window_id IS NULL AND p.window_id IS NULL"
    )
    assert lost.is_empty()


def test_scores_keep_their_judgments_when_other_features_are_scored_later(mini_copy: Mini) -> None:
    few = mini_copy.ok_features(20).split(",")
    for part in (few[:10], few[10:]):
        ran = mini_copy.featlas("score", "--scorer", "pattern", "--features", ",".join(part))
        assert ran.code == 0, ran.err
    assert scores_without_judgments(mini_copy).is_empty()


def scores_without_judgments(mini: Mini) -> pl.DataFrame:
    return mini.ask(
        "SELECT s.feature, s.scorer, s.control, s.metric FROM scores AS s WHERE value IS NOT NULL AND NOT EXISTS ("
        "FROM judgments AS j WHERE j.sample_id = s.sample_id AND j.feature = s.feature AND j.scorer = s.scorer "
        "AND j.epoch = s.epoch AND j.control IS NOT DISTINCT FROM nullif(s.control, 'permuted') "
        "AND j.explanation_id IS NOT DISTINCT FROM s.explanation_id)"
    )


def test_every_label_leads_to_its_evidence_and_the_tokens_that_were_active(mini: Mini) -> None:
    labeled = mini.ask("SELECT sample_id, feature FROM labels WHERE label IS NOT NULL")
    found = mini.ask(
        "SELECT l.sample_id, l.feature, count(DISTINCT c.window_id) AS shown, any_value(w.text) AS text "
        "FROM labels AS l JOIN explanations AS e ON e.sample_id = l.sample_id AND e.feature = l.feature "
        "AND e.text = l.label AND e.explainer = l.explainer JOIN samples AS s ON s.sample_id = l.sample_id "
        "JOIN contexts AS c ON c.sample_id = l.sample_id AND c.feature = l.feature AND c.split = 'explain' "
        "AND list_contains(e.evidence, c.window_id) AND len(c.positions) > 0 "
        "JOIN windows AS w ON w.corpus_id = s.corpus_id AND w.window_id = c.window_id GROUP BY ALL"
    )
    assert len(labeled) > 60
    assert labeled.join(found, on=["sample_id", "feature"], how="anti").is_empty()
    assert min(found["shown"].to_list()) >= 5


HEADLINE = f"""
WITH own AS (  -- each judged window once, in the stratum it stands for; the strongest windows stand for none
    SELECT feature, window_id, stratum, population FROM contexts
    WHERE sample_id = {SAMPLE} AND split = 'score' AND stratum NOT IN ('top', 'grey')
), chosen AS (
    SELECT DISTINCT feature, window_id FROM contexts WHERE sample_id = {SAMPLE} AND split = 'score'
), panel_items AS (
    SELECT f.feature, p.window_id, coalesce(a.stratum, 'random') AS stratum
    FROM (SELECT DISTINCT feature FROM own) AS f CROSS JOIN panel AS p
    LEFT JOIN panel_activity AS a ON a.sample_id = p.sample_id AND a.feature = f.feature AND a.window_id = p.window_id
    ANTI JOIN chosen ON chosen.feature = f.feature AND chosen.window_id = p.window_id
    WHERE p.sample_id = {SAMPLE}
), sizes AS (
    SELECT feature, stratum, max(population) AS population FROM own GROUP BY ALL
), items AS (
    SELECT feature, window_id, stratum FROM own UNION ALL SELECT feature, window_id, stratum FROM panel_items
), means AS (
    SELECT i.feature, i.stratum, avg(j.probability) AS mean, any_value(s.population) AS size
    FROM items AS i JOIN judgments AS j ON j.feature = i.feature AND j.window_id = i.window_id
    JOIN sizes AS s ON s.feature = i.feature AND s.stratum = i.stratum
    WHERE j.sample_id = {SAMPLE} AND j.scorer = 'pattern' AND j.control IS NOT DISTINCT FROM $CONTROL GROUP BY ALL
), sides AS (
    SELECT feature, sum(mean * size) FILTER (stratum[1] = 'q') / sum(size) FILTER (stratum[1] = 'q') AS fires,
        avg(mean) FILTER (stratum LIKE 'hard%') AS hard,  -- sources count alike
        any_value(mean) FILTER (stratum = 'random') AS random
    FROM means GROUP BY feature
)
SELECT feature, least((fires + 1 - hard) / 2, (fires + 1 - random) / 2) AS headline FROM sides
"""


@pytest.mark.parametrize("control", [None, "shuffled"])
def test_the_headline_follows_from_judgments_contexts_and_panel_by_plain_sql(mini: Mini, control: str | None) -> None:
    text = "NULL" if control is None else f"'{control}'"
    again = dict(mini.ask(HEADLINE.replace("$CONTROL", text)).iter_rows())
    stored = mini.ask(
        f"SELECT feature, value FROM scores WHERE sample_id = {SAMPLE} AND scorer = 'pattern' AND metric = 'headline' "
        f"AND tau = 0.01 AND value IS NOT NULL AND control IS NOT DISTINCT FROM {text}"
    )
    assert len(stored) >= 30
    assert [f for f, value in stored.iter_rows() if not math.isclose(again[f], value, abs_tol=1e-6)] == []


def test_ranges_of_features_give_the_contexts_of_the_whole(mini: Mini, mini_copy: Mini) -> None:
    place = Workspace(mini_copy.workspace)
    (sample_id, corpus_id), seed = (
        mini.ask(f"SELECT sample_id, corpus_id FROM samples WHERE sample_id = {SAMPLE}").row(0),
        1,
    )
    whole = evidence.scan(place, "contexts", sample_id).collect()
    job = ContextShard(place.root, sample_id, corpus_id, n_shards=4, first=0, end=64, panel=100, seed=seed)
    parts = []
    for first, last in ((0, 10), (10, 64)):
        context_shard(replace(job, first=first, end=last))
        parts.append(evidence.scan(place, "contexts", sample_id).collect())
    assert [len(part) > 0 for part in parts] == [True, True]
    assert pl.concat(parts).equals(whole)


@pytest.mark.slow
def test_another_shard_size_gives_the_same_contexts(mini: Mini, tmp_path: Path) -> None:
    """Other shards mean other padded batches, and so other last digits: at least 99.9 % of the windows are the same.

    That the same shards give bit-equal tables is shown where runs are killed.
    """
    config = write_config(tmp_path, {"shard_tokens = 5000": "shard_tokens = 8000"}, control=False)
    other = Mini(config, tmp_path / "workspace")
    assert other.featlas("sample").code == 0
    sql = "SELECT feature, split, stratum, window_id FROM contexts WHERE sample_id = "
    chosen = [each.ask(sql + SAMPLE) for each in (mini, other)]
    assert len(chosen[0]) > 5000
    assert len(chosen[0].join(chosen[1], on=chosen[0].columns, how="semi")) >= 0.999 * max(map(len, chosen))
    assert other.ask("SELECT count(*) FROM shards WHERE stage = 'activations'").item() == 3


@pytest.mark.slow
def test_worker_processes_give_the_same_tables(
    mini: Mini, mini_tables: dict[str, pl.DataFrame], tmp_path: Path
) -> None:
    config = tmp_path / "spread.toml"
    config.write_text(mini.config.read_text().replace("threads = 1", "threads = 3"))
    spread = Mini(config, tmp_path / "workspace")
    assert spread.featlas("run").code == 0
    after = tables(spread.workspace)
    assert {name: first_difference(mini_tables[name], after[name]) for name in differing(mini_tables, after)} == {}
