"""A workspace of any size made up for measuring pages: every table that pages read, in the proportions of a real one.

Labels are drawn from a vocabulary, scores from distributions; nothing was labeled or judged. Only some features have
evidence, because that is what fills a disk.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
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
NEIGHBORS, CLUSTERS, TOKENS_EACH = 10, 2_000, 10
CONTEXTS_EACH, JUDGMENTS_EACH = 50, 100
WINDOW_TOKENS, SHARD_FEATURES, AT_ONCE = 32, 512, 100_000
METRICS = ("headline",)
START = datetime(2026, 1, 1)
STRATA = ("top", "q5", "q4", "q3", "q2", "q1", "hard_token", "hard_neighbor", "hard_text", "random")


@dataclass(frozen=True)
class Size:
    """Features, those of them with evidence, and windows of the corpus."""

    features: int = 1_000_000
    with_evidence: int = 100_000
    windows: int = 300_000


def write_big_store(root: Path, size: Size, *, seed: int = 0) -> None:
    """Fill a workspace and publish it. 1,000,000 features take some minutes and about 3 GB of disk."""
    import numpy as np

    from labeling.store import Store
    from labeling.workspace import Workspace

    draw = np.random.default_rng(seed)
    with Store(Workspace(root)) as store:
        _describe(store, size)
        _windows(store, draw, size)
        empty: dict[str, pl.DataFrame] = {}
        for first in range(0, size.features, AT_ONCE):
            numbers = np.arange(first, min(first + AT_ONCE, size.features))
            for table, frame in _features(draw, numbers, size):
                if table not in empty:
                    empty[table] = store.read(table).clear()
                store.save(table, _completed(frame, empty[table]))
        for shard, first in enumerate(range(0, size.with_evidence, SHARD_FEATURES)):
            numbers = np.arange(first, min(first + SHARD_FEATURES, size.with_evidence))
            store.save_shard("contexts", SAMPLE, shard, _contexts(draw, numbers, size))
            store.save_shard("judgments", SAMPLE, shard, _judgments(draw, numbers, size))
        store.publish()


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


def _words(draw: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Words of a vocabulary of 20,000, the first ones the commonest."""
    import numpy as np

    rank = np.minimum(draw.zipf(1.3, size=shape), 20_000)
    return np.char.add("word", rank.astype(str))


def _windows(store: Store, draw: np.random.Generator, size: Size) -> None:
    import numpy as np
    import polars as pl

    for shard, first in enumerate(range(0, size.windows, AT_ONCE)):
        ids = np.arange(first, min(first + AT_ONCE, size.windows))
        tokens = _words(draw, (len(ids), WINDOW_TOKENS))
        lengths = np.char.str_len(tokens)
        starts = np.concatenate([np.zeros((len(ids), 1), np.int64), np.cumsum(lengths + 1, axis=1)[:, :-1]], axis=1)
        documents = np.char.add("document", (ids // 20).astype(str))
        columns = {
            "corpus_id": CORPUS, "window_id": ids, "document_id": documents, "split": "score", "start": 0, "char_start": 0,
            "n_tokens": WINDOW_TOKENS, "text": [" ".join(row) for row in tokens.tolist()],
            "token_ids": np.zeros(tokens.shape, np.int32), "tokens": tokens.tolist(), "token_starts": starts,
            "token_ends": starts + lengths,
        }  # fmt: skip
        arrays = ("token_ids", "token_starts", "token_ends")
        frame = pl.DataFrame(columns).with_columns(pl.col(name).arr.to_list() for name in arrays)
        store.save_shard("windows", CORPUS, shard, frame)
        named = pl.DataFrame({"document_id": np.unique(documents)}).with_columns(
            pl.lit(CORPUS).alias("corpus_id"), pl.col("document_id").alias("name"), pl.lit("score").alias("split"),
            pl.lit(5000).alias("n_characters"), pl.lit(640).alias("n_tokens"),
        )  # fmt: skip
        store.save("documents", named)


def _features(draw: np.random.Generator, numbers: np.ndarray, size: Size) -> Iterator[tuple[str, pl.DataFrame]]:
    """Rows of the small tables for some features."""
    import numpy as np
    import polars as pl

    n = len(numbers)
    status = draw.choice(["ok", "weak", "dense", "dead"], n, p=[0.9, 0.06, 0.02, 0.02])
    rate, quality = np.exp(draw.normal(-7, 1.5, n)).clip(1e-7, 0.5), draw.beta(6, 3.5, n)
    tokens = size.windows * WINDOW_TOKENS
    facts = {"sample_id": SAMPLE, "feature": numbers}
    yield "features", pl.DataFrame(
        {**facts, "status": status, "tau": 0.05, "tau25": 1.2, "max_activation": draw.gamma(4, 2, n),
         "firing_tokens": (rate * tokens).astype(np.int64), "firing_rate": rate, "n_tokens": tokens}
    )  # fmt: skip
    for split in ("explain", "select", "score"):
        histogram = np.zeros((n, 64), np.int32)
        histogram[:, 40:] = draw.integers(0, 50, (n, 24))
        yield "feature_splits", pl.DataFrame(
            {**facts, "split": split, "firing_tokens": 100, "firing_windows": 60, "firing_windows25": 20, "grey_windows": 3,
             "silent_windows": 90_000, "sum": 150.0, "max": 5.0, "token_histogram": histogram,
             "window_histogram": histogram, "histogram_start": -45}
        ).with_columns(pl.col("token_histogram", "window_histogram").arr.to_list())  # fmt: skip
    top = _words(draw, (n, TOKENS_EACH))
    yield "feature_tokens", pl.DataFrame(
        {"sample_id": SAMPLE, "feature": np.repeat(numbers, TOKENS_EACH), "rank": np.tile(np.arange(TOKENS_EACH), n),
         "token": top.ravel(), "mean_activation": draw.gamma(4, 1, n * TOKENS_EACH), "occurrences": 7}
    )  # fmt: skip
    for explainer in EXPLAINERS:
        ids = np.char.add(f"{explainer}-", numbers.astype(str))
        words = _words(draw, (n, 5))
        empty: dict[str, Any] = {"evidence": [[]] * n, "request_keys": [[]] * n}
        yield "explanations", pl.DataFrame(
            {**facts, "explanation_id": ids, "explainer": explainer, "explainer_model": None, "parameters": "{}",
             "prompt_version": "1", "repeat": 0, "state": "labeled", "reason": None, "text": [" ".join(w) for w in words],
             "pattern": None, "rationale": None, "raw": None, **empty, "input_tokens": 0, "output_tokens": 0,
             "cost_usd": 0.0, "run_id": "made", "created_at": START},
            schema_overrides={"request_keys": pl.List(pl.String), "evidence": pl.List(pl.Int64)},
        )  # fmt: skip
        value = (quality + draw.normal(0, 0.03, n)).clip(0, 1)
        for metric in METRICS:
            yield "scores", pl.DataFrame(
                {**facts, "score_id": ids, "metric": metric, "tau": 0.01, "explanation_id": ids, "explainer": explainer,
                 "explainer_model": None, "scorer": "pattern", "scorer_parameters": "{}", "judge_model": None, "epoch": 0,
                 "control": None, "value": value, "low": (value - 0.06).clip(0), "high": (value + 0.06).clip(None, 1),
                 "n_items": 100, "n_lost": 0, "reason": None, "run_id": "made"}
            )  # fmt: skip
    near = (numbers[:, None] + draw.integers(1, size.features, (n, NEIGHBORS))) % size.features
    yield "neighbors", pl.DataFrame(
        {"feature_set": SET, "method": "decoder_cosine", "feature": np.repeat(numbers, NEIGHBORS),
         "rank": np.tile(np.arange(NEIGHBORS), n), "neighbor": near.ravel(),
         "similarity": np.tile(np.linspace(0.9, 0.4, NEIGHBORS), n)}
    )  # fmt: skip
    cluster = numbers % CLUSTERS
    yield "cluster_members", pl.DataFrame({"clustering_id": CLUSTERING, "feature": numbers, "cluster": cluster})
    if numbers[0] == 0:
        names = [" / ".join(words) for words in _words(draw, (CLUSTERS, 3))]
        yield "clusters", pl.DataFrame(
            {"clustering_id": CLUSTERING, "cluster": np.arange(CLUSTERS), "name": names,
             "name_source": "made", "size": size.features // CLUSTERS}
        )  # fmt: skip
    angle, distance = cluster * 2.399963, np.sqrt(cluster)  # a sunflower of clusters
    yield "map_points", pl.DataFrame(
        {"feature_set": SET, "feature": numbers, "x": distance * np.cos(angle) + draw.normal(0, 0.4, n),
         "y": distance * np.sin(angle) + draw.normal(0, 0.4, n)}
    )  # fmt: skip


def _contexts(draw: np.random.Generator, numbers: np.ndarray, size: Size) -> pl.DataFrame:
    import numpy as np
    import polars as pl

    n = len(numbers) * CONTEXTS_EACH
    stratum = np.tile(np.resize(np.array(STRATA), CONTEXTS_EACH), len(numbers))
    silent = np.char.startswith(stratum, "hard") | (stratum == "random")
    window = draw.integers(0, size.windows, n)
    value = np.where(silent, 0.0, draw.gamma(4, 1, n))
    positions = draw.integers(0, WINDOW_TOKENS, n)
    return pl.DataFrame(
        {"sample_id": SAMPLE, "feature": np.repeat(numbers, CONTEXTS_EACH), "split": "score", "stratum": stratum,
         "window_id": window, "document_id": np.char.add("document", (window // 20).astype(str)), "population": 1000,
         "sampled": 5, "max_activation": value,
         "positions": [[] if s else [int(p)] for s, p in zip(silent, positions, strict=True)],
         "activations": [[] if s else [float(v)] for s, v in zip(silent, value, strict=True)]},
        schema_overrides={"positions": pl.List(pl.Int16), "activations": pl.List(pl.Float32)},
    )  # fmt: skip


def _judgments(draw: np.random.Generator, numbers: np.ndarray, size: Size) -> pl.DataFrame:
    import numpy as np
    import polars as pl

    from labeling.evidence import JUDGMENTS

    n = len(numbers) * JUDGMENTS_EACH
    feature = np.repeat(numbers, JUDGMENTS_EACH)
    grade = draw.uniform(size=n)
    known = pl.DataFrame(
        {"sample_id": SAMPLE, "feature": feature, "explanation_id": np.char.add(f"{EXPLAINERS[0]}-", feature.astype(str)),
         "explainer": EXPLAINERS[0], "scorer": "pattern", "epoch": 0, "split": "score",
         "window_id": draw.integers(0, size.windows, n), "grade": grade, "probability": grade, "state": "answered"}
    )  # fmt: skip
    empty = JUDGMENTS.schema.to_frame()
    return pl.concat([empty, known], how="diagonal_relaxed").select(empty.columns)
