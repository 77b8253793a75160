"""From stored contexts and grades to the arrays that metrics are computed from. Joins only; no statistics."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from evals.items import Items, pack
from labeling import evidence
from labeling.store import Store
from labeling.types import STRATA, Split
from labeling.workspace import Workspace


@dataclass(frozen=True)
class SampleFacts:
    """The small tables of one sample that items need."""

    sample_id: str
    corpus_id: str
    features: pl.DataFrame
    splits: pl.DataFrame

    @classmethod
    def read(cls, store: Store, *, sample_id: str, corpus_id: str) -> SampleFacts:
        """Those of all features of a sample."""
        return cls(
            sample_id=sample_id,
            corpus_id=corpus_id,
            features=store.read("features", sample_id=sample_id),
            splits=store.read("feature_splits", sample_id=sample_id),
        )

    def of(self, features: pl.Series) -> SampleFacts:
        """The facts of some features alone."""
        chosen = pl.col("feature").is_in(features.to_list())
        return replace(self, features=self.features.filter(chosen), splits=self.splits.filter(chosen))


def build_items(
    workspace: Workspace, facts: SampleFacts, grades: pl.DataFrame, *, features: list[int], split: Split, panel: bool
) -> Items:
    """Items of `features` (in their order) in a split.

    `grades` has columns feature, window, value (NULL = lost). A window that a feature has both as a context of its own
    and on the panel counts once.
    """
    own = _own_items(workspace, facts.sample_id, features, split)
    rows = [own]
    if panel:
        rows.append(_panel_items(workspace, facts, own, features))
    items = pl.concat(rows).join(grades, on=["feature", "window_id"], how="left")
    positions = _positions(features)
    return _packed(items.join(positions, on="feature"), positions, facts, split)


def build_items_of_pairs(
    workspace: Workspace, facts: SampleFacts, grades: pl.DataFrame, *, features: list[int], split: Split
) -> Items:
    """Items of a feature for each entry of `features`, which may name one several times: judged by several labels.

    `grades` has columns position (in `features`), window_id, value (NULL = lost). No panel.
    """
    positions = _positions(features)
    own = _own_items(workspace, facts.sample_id, sorted(set(features)), split).join(positions, on="feature")
    return _packed(own.join(grades, on=["position", "window_id"], how="left"), positions, facts, split)


def _packed(items: pl.DataFrame, positions: pl.DataFrame, facts: SampleFacts, split: Split) -> Items:
    """Arrays from one row an item, with `position` and `value`, and the counts of each position's feature."""
    exact = (
        positions.join(facts.features.select("feature", "tau", "tau25"), on="feature", how="left")
        .join(facts.splits.filter(pl.col("split") == split), on="feature", how="left")
        .sort("position")
    )
    total = exact["firing_windows"] + exact["grey_windows"] + exact["silent_windows"]
    return pack(
        items["position"].to_numpy().astype(np.int64),
        probability=items["value"].cast(pl.Float64).fill_null(float("nan")).to_numpy(),
        activation=items["max_activation"].to_numpy(),
        stratum=items["stratum"].to_numpy(),
        population=items["population"].to_numpy(),
        document=items["document"].to_numpy(),
        panel=items["panel"].to_numpy(),
        tau=exact["tau"].to_numpy(),
        tau25=exact["tau25"].to_numpy(),
        firing_windows=exact["firing_windows"].to_numpy(),
        firing_windows25=exact["firing_windows25"].to_numpy(),
        n_windows=total.to_numpy(),
    )


def _positions(features: list[int]) -> pl.DataFrame:
    return pl.DataFrame(
        {"feature": features, "position": range(len(features))}, schema={"feature": pl.Int32, "position": pl.Int64}
    )


def _coded(stratum: pl.Expr) -> pl.Expr:
    return stratum.replace_strict(list(STRATA), range(len(STRATA)), return_dtype=pl.Int8)


def document_code() -> pl.Expr:
    """The same number for the same document everywhere: 31 bits of its hash."""
    return pl.col("document_id").str.slice(0, 8).str.to_integer(base=16).cast(pl.Int64) % (2**31)


def _own_items(workspace: Workspace, sample_id: str, features: list[int], split: Split) -> pl.DataFrame:
    return (
        evidence.scan(workspace, "contexts", sample_id)
        .filter((pl.col("split") == split) & pl.col("feature").is_in(features))
        .select(
            "feature",
            "window_id",
            _coded(pl.col("stratum")).alias("stratum"),
            pl.col("population").cast(pl.Int64),
            pl.col("max_activation").cast(pl.Float64),
            document_code().alias("document"),
            pl.lit(False).alias("panel"),
        )
        .collect()
    )


def _panel_items(workspace: Workspace, facts: SampleFacts, own: pl.DataFrame, features: list[int]) -> pl.DataFrame:
    """Every panel window for every feature, in the stratum it falls into for the feature."""
    windows = evidence.scan(workspace, "windows").select("corpus_id", "window_id", "document_id")
    panel = evidence.scan(workspace, "panel", facts.sample_id).select("window_id").collect()
    documents = (
        windows.filter(
            (pl.col("corpus_id") == facts.corpus_id) & pl.col("window_id").is_in(panel["window_id"].to_list())
        )
        .select("window_id", document_code().alias("document"))
        .collect()
    )
    active = (
        evidence.scan(workspace, "panel_activity", facts.sample_id)
        .filter(pl.col("feature").is_in(features))
        .select("feature", "window_id", "stratum", "population", "max_activation")
        .collect()
    )
    random = (
        own.filter(pl.col("stratum") == STRATA.index("random")).group_by("feature").agg(pl.col("population").first())
    )
    every = pl.DataFrame({"feature": features}, schema={"feature": pl.Int32}).join(documents, how="cross")
    return (
        every.join(active, on=["feature", "window_id"], how="left")
        .join(random.rename({"population": "random_population"}), on="feature", how="left")
        .join(own.select("feature", "window_id"), on=["feature", "window_id"], how="anti")
        .select(
            "feature",
            "window_id",
            _coded(pl.col("stratum").fill_null("random")).alias("stratum"),
            pl.coalesce("population", "random_population").cast(pl.Int64).alias("population"),
            pl.col("max_activation").fill_null(0.0).cast(pl.Float64),
            "document",
            pl.lit(True).alias("panel"),
        )
        .filter(pl.col("population") > 0)
    )
