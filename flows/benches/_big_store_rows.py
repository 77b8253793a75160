"""Rows of a made-up workspace: labels drawn from a vocabulary, scores and evidence from distributions.

Numbers of features in, data frames out; columns that are not made up are left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import polars as pl

from flows.benches._big_store import (
    CLUSTERING,
    CLUSTERS,
    CORPUS,
    EXPLAINERS,
    SAMPLE,
    SET,
    START,
    WINDOW_TOKENS,
    Size,
)
from labeling.evidence import JUDGMENTS

NEIGHBORS, TOKENS_EACH, CONTEXTS_EACH, JUDGMENTS_EACH = 10, 10, 50, 100
STRATA = ("top", "q5", "q4", "q3", "q2", "q1", "hard_token", "hard_neighbor", "hard_text", "random")


def _words(draw: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Words of a vocabulary of 20,000, the first ones the commonest."""

    rank = np.minimum(draw.zipf(1.3, size=shape), 20_000)
    return np.char.add("word", rank.astype(str))


def window_rows(draw: np.random.Generator, ids: np.ndarray) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Windows with these ids, and the documents that they are from."""
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
    windows = pl.DataFrame(columns).with_columns(pl.col(name).arr.to_list() for name in arrays)
    named = pl.DataFrame({"document_id": np.unique(documents)}).with_columns(
        pl.lit(CORPUS).alias("corpus_id"), pl.col("document_id").alias("name"), pl.lit("score").alias("split"),
        pl.lit(5000).alias("n_characters"), pl.lit(640).alias("n_tokens"),
    )  # fmt: skip
    return windows, named


def feature_rows(draw: np.random.Generator, numbers: np.ndarray, size: Size) -> Iterator[tuple[str, pl.DataFrame]]:
    """Rows of the small tables for some features."""
    yield "features", _activity(draw, numbers, size)
    for split in ("explain", "select", "score"):
        yield "feature_splits", _split(draw, numbers, split)
    yield "feature_tokens", _top_tokens(draw, numbers)
    quality = draw.beta(6, 3.5, len(numbers))
    for explainer in EXPLAINERS:
        ids = np.char.add(f"{explainer}-", numbers.astype(str))
        value = (quality + draw.normal(0, 0.03, len(numbers))).clip(0, 1)
        yield "explanations", _written(draw, numbers, ids, explainer)
        yield "scores", _scored(numbers, ids, explainer, value)
        yield "score_statistics", _tested(draw, numbers, ids, value)
    yield "neighbors", _near(draw, numbers, size)
    cluster = numbers % CLUSTERS
    yield "cluster_members", pl.DataFrame({"clustering_id": CLUSTERING, "feature": numbers, "cluster": cluster})
    if numbers[0] == 0:
        yield "clusters", _clusters(draw, size)
    yield "map_points", _places(draw, numbers, cluster)


def _activity(draw: np.random.Generator, numbers: np.ndarray, size: Size) -> pl.DataFrame:
    n, tokens = len(numbers), size.windows * WINDOW_TOKENS
    rate = np.exp(draw.normal(-7, 1.5, n)).clip(1e-7, 0.5)
    status = draw.choice(["ok", "weak", "dense", "dead"], n, p=[0.9, 0.06, 0.02, 0.02])
    return pl.DataFrame(
        {"sample_id": SAMPLE, "feature": numbers, "status": status, "tau": 0.05, "tau25": 1.2,
         "max_activation": draw.gamma(4, 2, n), "firing_tokens": (rate * tokens).astype(np.int64), "firing_rate": rate,
         "n_tokens": tokens}
    )  # fmt: skip


def _split(draw: np.random.Generator, numbers: np.ndarray, split: str) -> pl.DataFrame:
    histogram = np.zeros((len(numbers), 64), np.int32)
    histogram[:, 40:] = draw.integers(0, 50, (len(numbers), 24))
    return pl.DataFrame(
        {"sample_id": SAMPLE, "feature": numbers, "split": split, "firing_tokens": 100, "firing_windows": 60,
         "firing_windows25": 20, "grey_windows": 3, "silent_windows": 90_000, "sum": 150.0, "max": 5.0,
         "token_histogram": histogram, "window_histogram": histogram, "histogram_start": -45}
    ).with_columns(pl.col("token_histogram", "window_histogram").arr.to_list())  # fmt: skip


def _top_tokens(draw: np.random.Generator, numbers: np.ndarray) -> pl.DataFrame:
    n = len(numbers)
    return pl.DataFrame(
        {"sample_id": SAMPLE, "feature": np.repeat(numbers, TOKENS_EACH), "rank": np.tile(np.arange(TOKENS_EACH), n),
         "token": _words(draw, (n, TOKENS_EACH)).ravel(), "mean_activation": draw.gamma(4, 1, n * TOKENS_EACH),
         "occurrences": 7}
    )  # fmt: skip


def _written(draw: np.random.Generator, numbers: np.ndarray, ids: np.ndarray, explainer: str) -> pl.DataFrame:
    n = len(numbers)
    empty: dict[str, Any] = {"evidence": [[]] * n, "request_keys": [[]] * n}
    return pl.DataFrame(
        {"sample_id": SAMPLE, "feature": numbers, "explanation_id": ids, "explainer": explainer, "parameters": "{}",
         "prompt_version": "1", "repeat": 0, "state": "labeled", "text": [" ".join(w) for w in _words(draw, (n, 5))],
         **empty, "input_tokens": 0, "output_tokens": 0, "cost_usd": 0.0, "run_id": "made", "created_at": START},
        schema_overrides={"request_keys": pl.List(pl.String), "evidence": pl.List(pl.Int64)},
    )  # fmt: skip


def _scored(numbers: np.ndarray, ids: np.ndarray, explainer: str, value: np.ndarray) -> pl.DataFrame:
    return pl.DataFrame(
        {"sample_id": SAMPLE, "feature": numbers, "score_id": ids, "metric": "headline", "tau": 0.01,
         "explanation_id": ids, "explainer": explainer, "scorer": "pattern", "scorer_parameters": "{}", "epoch": 0,
         "value": value, "low": (value - 0.06).clip(0), "high": (value + 0.06).clip(None, 1), "n_items": 100,
         "n_lost": 0, "run_id": "made"}
    )  # fmt: skip


def _tested(draw: np.random.Generator, numbers: np.ndarray, ids: np.ndarray, value: np.ndarray) -> pl.DataFrame:
    """What a score means: p-values, and scores shrunk toward the mean."""
    p, shrunk = draw.uniform(size=len(numbers)) ** 4, 0.63 + 0.8 * (value - 0.63)
    return pl.DataFrame(
        {"sample_id": SAMPLE, "feature": numbers, "score_id": ids, "metric": "headline", "tau": 0.01, "p": p, "q": p,
         "n_null": 3000, "null_pool": "tercile", "null_95": 0.55, "shrunk": shrunk, "shrunk_low": shrunk - 0.05,
         "shrunk_high": shrunk + 0.05, "run_id": "made"}
    )  # fmt: skip


def _near(draw: np.random.Generator, numbers: np.ndarray, size: Size) -> pl.DataFrame:
    n = len(numbers)
    near = (numbers[:, None] + draw.integers(1, size.features, (n, NEIGHBORS))) % size.features
    return pl.DataFrame(
        {"feature_set": SET, "method": "decoder_cosine", "feature": np.repeat(numbers, NEIGHBORS),
         "rank": np.tile(np.arange(NEIGHBORS), n), "neighbor": near.ravel(),
         "similarity": np.tile(np.linspace(0.9, 0.4, NEIGHBORS), n)}
    )  # fmt: skip


def _clusters(draw: np.random.Generator, size: Size) -> pl.DataFrame:
    names = [" / ".join(words) for words in _words(draw, (CLUSTERS, 3))]
    return pl.DataFrame(
        {"clustering_id": CLUSTERING, "cluster": np.arange(CLUSTERS), "name": names, "name_source": "made",
         "size": size.features // CLUSTERS}
    )  # fmt: skip


def _places(draw: np.random.Generator, numbers: np.ndarray, cluster: np.ndarray) -> pl.DataFrame:
    """Places on the map: a sunflower of clusters."""
    angle, distance = cluster * 2.399963, np.sqrt(cluster)
    x, y = (distance * turned(angle) + draw.normal(0, 0.4, len(numbers)) for turned in (np.cos, np.sin))
    return pl.DataFrame({"feature_set": SET, "feature": numbers, "x": x, "y": y})


def context_rows(draw: np.random.Generator, numbers: np.ndarray, size: Size) -> pl.DataFrame:
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


def judgment_rows(draw: np.random.Generator, numbers: np.ndarray, size: Size) -> pl.DataFrame:
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
