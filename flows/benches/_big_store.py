"""A workspace of any size made up for measuring pages: every table that pages read, in the proportions of a real one.

Labels are drawn from a vocabulary, scores from distributions; nothing was labeled or judged. Only some features have
evidence, because that is what fills a disk.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

    from labeling.store import Store

SAMPLE, CORPUS, SET, CLUSTERING = "made_sample", "made_corpus", "made", "made_clustering"
EXPLAINERS = ("token_pattern", "top_and_random")
CLUSTERS, WINDOW_TOKENS = 2_000, 32
SHARD_FEATURES, AT_ONCE = 512, 100_000
START = datetime(2026, 1, 1)


@dataclass(frozen=True)
class Size:
    """Features, those of them with evidence, and windows of the corpus."""

    features: int = 1_000_000
    with_evidence: int = 100_000
    windows: int = 300_000


def write_big_store(root: Path, size: Size, *, seed: int = 0) -> None:
    """Fill a workspace and publish it. 1,000,000 features take some minutes and about 3 GB of disk."""
    import numpy as np

    from flows.benches import _big_store_rows as rows
    from labeling.store import Store
    from labeling.workspace import Workspace

    draw = np.random.default_rng(seed)
    with Store(Workspace(root)) as store:
        _describe(store, size)
        for shard, ids in enumerate(_parts(size.windows, AT_ONCE)):
            windows, documents = rows.window_rows(draw, ids)
            store.save_shard("windows", CORPUS, shard, windows)
            store.save("documents", documents)
        empty: dict[str, pl.DataFrame] = {}
        for numbers in _parts(size.features, AT_ONCE):
            for table, frame in rows.feature_rows(draw, numbers, size):
                if table not in empty:
                    empty[table] = store.read(table).clear()
                store.save(table, _completed(frame, empty[table]))
        for shard, numbers in enumerate(_parts(size.with_evidence, SHARD_FEATURES)):
            store.save_shard("contexts", SAMPLE, shard, rows.context_rows(draw, numbers, size))
            store.save_shard("judgments", SAMPLE, shard, rows.judgment_rows(draw, numbers, size))
        store.publish()


def _parts(n: int, most: int) -> list[np.ndarray]:
    """The numbers from 0 to n - 1, at most so many at once."""
    import numpy as np

    return [np.arange(first, min(first + most, n)) for first in range(0, n, most)]


def _completed(frame: pl.DataFrame, empty: pl.DataFrame) -> pl.DataFrame:
    """The table's columns; those that are not made up say that there is nothing."""
    import polars as pl

    return pl.concat([empty, frame], how="diagonal_relaxed").select(empty.columns)


def _describe(store: Store, size: Size) -> None:
    """The tables of one row or few."""
    import polars as pl

    def one(table: str, **row: Any) -> None:
        store.save(table, _completed(pl.DataFrame([row]), store.read(table).clear()))

    one("runs", run_id="made", command="featlas run", started_at=START, finished_at=START + timedelta(hours=9),
        state="complete", config=json.dumps({}), config_hash="made", version="made")  # fmt: skip
    one("feature_sets", feature_set=SET, source="table", model="made", hook="made", dictionary="made", architecture="topk",
        n_features=size.features, d_model=1024, fingerprint="made")  # fmt: skip
    one("samples", sample_id=SAMPLE, feature_set=SET, corpus_id=CORPUS, corpus="made", tokenizer_id="made", sequence=256,
        window_tokens=WINDOW_TOKENS, tau_share=0.01, seed=0, n_documents=size.windows // 20, n_duplicates=0,
        n_tokens=size.windows * WINDOW_TOKENS, n_windows=size.windows, run_id="made", created_at=START)  # fmt: skip
    one("clusterings", clustering_id=CLUSTERING, feature_set=SET, method="leiden", parameters="{}", resolution=1.0,
        modularity=0.5, n_clusters=CLUSTERS, seed=0, is_default=True)  # fmt: skip
    for explainer in EXPLAINERS:
        for control, mean in (("", 0.66), ("shuffled", 0.49), ("neighbor", 0.52), ("generic", 0.5), ("no_label", 0.5)):
            for metric in ("headline", "balanced_hard", "balanced_random", "auroc_hard", "auroc_random"):
                one("score_groups", sample_id=SAMPLE, explainer=explainer, explainer_model="", scorer="pattern",
                    judge_model="", metric=metric, tau=0.01, control=control, epoch=0, n_features=size.features,
                    n_unscored=0, mean=mean, low=mean - 0.001, high=mean + 0.001, priority=0, requests=0,
                    input_tokens=0, output_tokens=0, cost_usd=0.0, run_id="made")  # fmt: skip
