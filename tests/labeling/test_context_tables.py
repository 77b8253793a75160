"""Contexts against brute force: silence is real, populations are exact, strata are what they say."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

import numpy as np
import polars as pl
import pytest
import torch

from labeling.codes import CodePart, Codes, read_codes, save_codes
from labeling.context_tables import (
    ContextTables,
    Pool,
    build_tables,
    feature_tables,
    firing_windows,
    panel_table,
    prepare_pool,
)
from labeling.contexts import QUOTAS, STRATUM_CODE, stratify_silent
from labeling.feature_table import FeatureTable, describe_features
from labeling.hard_negatives import first_sets, window_sets
from labeling.sampler import SamplerState, Sizes, merge
from labeling.shares import share_out
from labeling.types import SPLITS, IntArray, Windows
from tests.labeling.sampler_builders import sorted_events, state_of

N_FEATURES, N_WINDOWS, WIDTH, VOCABULARY = 12, 900, 8, 60
NEIGHBORS = np.stack([(np.arange(N_FEATURES) + 1) % N_FEATURES, (np.arange(N_FEATURES) + 2) % N_FEATURES], 1)


@dataclass(frozen=True)
class World:
    """Features that fire on two tokens each, most of the time; document d is windows 10d to 10d+9."""

    windows: Windows
    codes: Codes
    state: SamplerState
    table: FeatureTable

    def tables(self, features: IntArray, pool: Pool | None = None, cells_at_once: int = 1 << 20) -> ContextTables:
        pool = pool or self.pool()
        return build_tables(
            self.state,
            self.table,
            pool=pool,
            codes=self.read,
            features=features,
            neighbors=NEIGHBORS[features],
            fires=firing_windows(self.read, self.table, pool),
            sample_id="s",
            seed=1,
            cells_at_once=cells_at_once,
        )

    def pool(self, size: int = 10_000) -> Pool:
        return prepare_pool(self.parts, pool_size=size, panel_size=100, seed=1)

    def parts(self, cuts: tuple[int, ...] = (0, 300, 640, N_WINDOWS)) -> Iterator[pl.DataFrame]:
        words = np.array(self.windows.vocabulary)
        for first, end in pairwise(cuts):
            yield pl.DataFrame(
                {
                    "window_id": self.windows.window[first:end],
                    "document_id": self.windows.document_id[first:end].tolist(),
                    "split": self.windows.split[first:end].tolist(),
                    "tokens": words[self.windows.tokens[first:end]].tolist(),
                }
            )

    def read(self, features: IntArray, cut: int = 450) -> Iterator[CodePart]:
        for here in (self.codes.window < cut, self.codes.window >= cut):
            codes = self.codes.take(here & np.isin(self.codes.feature, features))
            place = np.searchsorted(features, codes.feature)
            yield CodePart(place, codes.window, codes.position.astype(np.int16), codes.value)

    @property
    def largest(self) -> np.ndarray:
        dense = np.zeros((N_FEATURES, N_WINDOWS), np.float32)
        np.maximum.at(dense, (self.codes.feature, self.codes.window), self.codes.value)
        return dense


@cache
def world() -> World:
    rng = np.random.default_rng(0)
    tokens = rng.zipf(1.4, (N_WINDOWS, WIDTH)).clip(max=VOCABULARY) - 1
    document = np.arange(N_WINDOWS) // 10
    split = np.array(SPLITS)[document % 3]
    windows = Windows(
        window=np.arange(N_WINDOWS),
        document_id=document.astype(str),
        split=split,
        text=tuple("x" * 40 for _ in range(N_WINDOWS)),
        n_tokens=np.full(N_WINDOWS, WIDTH),
        tokens=tokens.astype(np.int32),
        starts=np.zeros((N_WINDOWS, WIDTH), np.int32),
        ends=np.ones((N_WINDOWS, WIDTH), np.int32),
        vocabulary=tuple(f"t{i}" for i in range(VOCABULARY)),
    )
    events = []
    for feature in range(N_FEATURES):
        fires = (np.isin(tokens, [feature + 3, feature + 4]) & (rng.random(tokens.shape) < 0.8)) | (
            rng.random(tokens.shape) < 0.002
        )
        w, p = np.nonzero(fires)
        events.append(np.stack([np.full(len(w), feature), w, p]))
    feature, window, position = np.concatenate(events, 1)
    value = rng.lognormal(0, 2, len(feature)).astype(np.float32)
    sizes = Sizes(N_FEATURES, top=20, reservoir=100, seed=1)
    to = torch.from_numpy
    state = state_of(to(feature), window=to(window), split=to(document[window] % 3), value=to(value), sizes=sizes)
    n_windows = np.array([(split == s).sum() for s in SPLITS])
    table = describe_features(state, n_windows, n_tokens=N_WINDOWS * WIDTH)
    return World(windows, Codes(feature, window, position, value), state, table)


@cache
def contexts() -> pl.DataFrame:
    return world().tables(np.arange(N_FEATURES)).contexts


def rows(stratum: str) -> pl.DataFrame:
    return contexts().filter(pl.col("stratum").str.starts_with(stratum))


def test_no_document_serves_two_splits() -> None:
    assert contexts().group_by("document_id").agg(pl.col("split").n_unique())["split"].max() == 1


def test_negatives_are_silent_and_positives_fire() -> None:
    largest = world().largest
    for feature, window, stratum, value in (
        contexts().select("feature", "window_id", "stratum", "max_activation").iter_rows()
    ):
        assert value == largest[feature, window]
        if stratum in ("random", "hard_token", "hard_neighbor", "hard_text"):
            assert value == 0
        elif stratum == "grey":
            assert 0 < value <= world().table.tau[feature]
        else:
            assert value > world().table.tau[feature]


def test_activations_are_those_of_the_window() -> None:
    codes = world().codes
    for row in contexts().filter(pl.col("max_activation") > 0).sample(200, seed=0).iter_rows(named=True):
        here = (codes.feature == row["feature"]) & (codes.window == row["window_id"])
        assert row["positions"] == sorted(codes.position[here].tolist())
        assert sorted(row["activations"]) == sorted(codes.value[here].tolist())
        assert max(row["activations"]) == row["max_activation"]


def test_hard_token_windows_hold_a_top_token() -> None:
    built = world().tables(np.arange(N_FEATURES))
    top = {f: {int(t[1:]) for t in part["token"]} for (f,), part in built.feature_tokens.group_by("feature")}
    assert len(rows("hard_token"))
    for feature, window in rows("hard_token").select("feature", "window_id").iter_rows():
        assert top[feature] & set(world().windows.tokens[window].tolist())


def test_no_other_silent_window_holds_the_strongest_token() -> None:
    built = world().tables(np.arange(N_FEATURES))
    first = dict(built.feature_tokens.filter(pl.col("rank") == 0).select("feature", "token").iter_rows())
    for stratum in ("hard_neighbor", "hard_text", "random"):
        for feature, window in rows(stratum).select("feature", "window_id").iter_rows():
            assert int(first[feature][1:]) not in world().windows.tokens[window]


def test_only_as_many_top_tokens_count_as_are_needed_for_enough_hard_windows() -> None:
    windows_with = window_sets(np.array([0, 0, 1, 1, 2]), np.array([0, 1, 1, 2, 3], np.int32), n_sets=3)
    tokens, silent = np.array([[0, 1, 2], [0, 1, 2]]), np.array([[True] * 4, [False, False, True, True]])
    found = first_sets(windows_with, tokens, silent=silent, wanted=2)
    assert found.tolist() == [[True, True, False, False], [True, True, True, True]]


def test_a_neighbor_fires_in_hard_neighbor_windows() -> None:
    fires = world().largest > world().table.tau[:, None]
    for feature, window in rows("hard_neighbor").select("feature", "window_id").iter_rows():
        assert fires[NEIGHBORS[feature], window].any()


def test_only_as_many_neighbors_count_as_are_needed() -> None:
    fires = window_sets(np.arange(3), np.arange(3, dtype=np.int32), n_sets=3)
    found = first_sets(fires, np.array([[0, 1, 2], [2, -1, -1]]), silent=np.ones((2, 3), bool), wanted=2)
    assert found.tolist() == [[True, True, False], [False, False, True]]


def test_a_small_split_keeps_random_windows() -> None:
    silent = stratify_silent(
        np.zeros((1, 40), bool),
        has_top_token=np.zeros((1, 40), bool),
        neighbor_fires=np.zeros((1, 40), bool),
        similarity=np.linspace(0.1, 1, 40, dtype=np.float32)[None],
        silent=np.array([40]),
    )
    assert (silent.stratum == STRATUM_CODE["hard_text"]).nonzero()[1].tolist() == list(range(30, 40))


def test_populations_of_all_strata_add_up_to_the_split() -> None:
    by_stratum = contexts().filter(pl.col("stratum") != "top").group_by("feature", "split", "stratum")
    total = by_stratum.agg(pl.col("population").first()).group_by("feature", "split").agg(pl.col("population").sum())
    grey = world().table.active_windows - world().table.firing_windows
    for feature, split, population in total.iter_rows():
        s = SPLITS.index(split)
        unseen_grey = 0 if split == "score" else grey[s, feature]  # only `score` samples grey windows
        assert population + unseen_grey == (world().windows.split == split).sum()


def test_quantiles_are_counted_exactly_and_ordered() -> None:
    largest, tau = world().largest, world().table.tau
    for (feature, split), part in rows("q").group_by("feature", "split"):
        firing = largest[feature, (world().windows.split == split)]
        firing = firing[firing > tau[feature]]
        strata = part.group_by("stratum").agg(
            pl.col("population").first(), pl.col("max_activation").min().alias("low"), pl.col("max_activation").max()
        )
        assert strata["population"].sum() == len(firing)
        ordered = strata.sort("stratum")
        assert (ordered["low"].to_numpy()[1:] > ordered["max_activation"].to_numpy()[:-1]).all()
        assert len(firing) < 50 or ordered["population"].max() < 0.45 * len(firing)  # type: ignore[operator]


def test_quotas_are_kept_and_every_hard_source_gives_its_third_or_all_it_has() -> None:
    for split, quota in QUOTAS.items():
        part = contexts().filter(pl.col("split") == split)
        counts = part.group_by("feature", "stratum").agg(pl.len(), pl.col("population").first())
        hard = counts.filter(pl.col("stratum").str.starts_with("hard"))
        assert (hard.group_by("feature").agg(pl.col("len").sum())["len"] == quota.hard).all()
        assert (hard["len"] >= hard["population"].clip(upper_bound=quota.hard // 3)).all()
        random = counts.filter(pl.col("stratum") == "random")
        assert (random["len"] == random["population"].clip(upper_bound=quota.random)).all()


def test_sampled_is_the_number_of_contexts_in_the_stratum() -> None:
    counted = contexts().with_columns(pl.len().over("feature", "split", "stratum").alias("n"))
    assert (counted["n"] == counted["sampled"]).all()
    assert (counted["population"] >= counted["sampled"]).all()


def test_cutting_features_into_ranges_changes_nothing() -> None:
    parts = [world().tables(np.arange(a, b)).contexts for a, b in ((0, 5), (5, 12))]
    assert pl.concat(parts).equals(contexts())


@pytest.mark.parametrize("features_together", [1, 5])
def test_how_many_features_are_looked_at_together_changes_nothing(features_together: int) -> None:
    together = world().tables(np.arange(N_FEATURES))
    apart = world().tables(np.arange(N_FEATURES), cells_at_once=features_together * N_WINDOWS)
    for name in ("contexts", "panel_activity", "feature_tokens"):
        assert getattr(apart, name).equals(getattr(together, name))


def test_a_pool_smaller_than_the_corpus_still_gives_every_firing_window_its_activations() -> None:
    w, features = world(), np.arange(N_FEATURES)
    small = w.tables(features, w.pool(60))
    firing = pl.col("max_activation") > 0
    assert small.contexts.filter(firing).equals(contexts().filter(firing))
    silent = small.contexts.filter(~firing)["window_id"].unique()
    pool = w.pool(60).windows.window
    assert silent.is_in(pool.tolist()).all()
    assert len(pool) == 180
    assert pl.concat([w.tables(features[:5], w.pool(60)).contexts, w.tables(features[5:], w.pool(60)).contexts]).equals(
        small.contexts
    )


def test_panel_activity_names_every_panel_window_that_is_not_plain_random() -> None:
    w = world()
    panel = panel_table(w.pool(), "s")["window_id"].to_numpy()
    active = w.tables(np.arange(N_FEATURES)).panel_activity
    assert (w.windows.split[panel] == "score").all()
    assert len(set(panel.tolist())) == 100
    for feature in range(N_FEATURES):
        listed = active.filter(pl.col("feature") == feature)
        assert set(listed["window_id"].to_list()) >= set(panel[w.largest[feature, panel] > 0].tolist())
        assert dict(listed.select("window_id", "max_activation").iter_rows()) == {
            x: w.largest[feature, x] for x in listed["window_id"].to_list()
        }


def test_feature_tables_state_exact_counts() -> None:
    w = world()
    features, splits = feature_tables(w.state, w.table, n_tokens=N_WINDOWS * WIDTH, sample_id="s")
    above = w.codes.value > w.table.tau[w.codes.feature]
    assert features["firing_tokens"].to_list() == np.bincount(w.codes.feature[above], minlength=N_FEATURES).tolist()
    assert (splits["firing_windows"] + splits["grey_windows"] + splits["silent_windows"] == N_WINDOWS // 3).all()


def test_codes_are_read_back_for_the_features_asked_for(tmp_path) -> None:  # type: ignore[no-untyped-def]
    codes = world().codes
    for shard in range(3):
        mine = codes.take(codes.window % 3 == shard)
        feature, window, position, value = map(torch.from_numpy, (mine.feature, mine.window, mine.position, mine.value))
        events = sorted_events(feature, window=window, split=window // 10 % 3, position=position, value=value)
        save_codes(tmp_path / f"{shard}.safetensors", events, n_features=N_FEATURES)
    read = read_codes([tmp_path / f"{shard}.safetensors" for shard in range(3)], np.array([2, 7]))
    assert set(read.feature.tolist()) == {2, 7}
    assert len(read) == (np.isin(codes.feature, [2, 7])).sum()
    pair = (read.feature << 32) | (read.window << 8) | read.position
    assert (np.diff(pair) > 0).all()
    mine = codes.take(np.isin(codes.feature, [2, 7]))
    order = np.lexsort((mine.position, mine.window, mine.feature))
    assert read.value.tolist() == mine.value[order].tolist()


def test_shortfalls_are_filled_from_the_other_sources() -> None:
    available = np.array([[100, 100, 100], [2, 100, 100], [0, 0, 3], [0, 50, 0]])
    assert share_out(available, 25).tolist() == [[9, 8, 8], [2, 12, 11], [0, 0, 3], [0, 25, 0]]


def test_status_tells_dead_dense_and_weak_features_apart() -> None:
    sizes, states = Sizes(4, top=2, reservoir=2, seed=0), []
    for feature, n, value in ((0, 400, 5.0), (1, 100, 5.0), (2, 100, 0.5)):
        window = torch.arange(n)
        split = torch.full_like(window, SPLITS.index("score"))
        values = torch.full((n,), value)
        states.append(state_of(torch.full_like(window, feature), window=window, split=split, value=values, sizes=sizes))
    table = describe_features(merge(states), np.array([1000, 1000, 1000]), n_tokens=5_000)
    assert table.status.tolist() == ["dense", "ok", "weak", "dead"]
