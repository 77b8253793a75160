"""From stored tables to the arrays that explainers and scorers read."""

from __future__ import annotations

import numpy as np
import polars as pl

from labeling.evidence import CONTEXTS
from labeling.types import SPLITS, Background, Contexts, FeatureInfo, Windows


def read_contexts(frame: pl.DataFrame, windows: Windows) -> dict[int, Contexts]:
    """Contexts of each feature. `frame` holds rows of the table `contexts` of one split."""
    # all columns at once, then slices of the arrays: a frame for each feature takes ten times as long
    frame = frame.sort("feature", maintain_order=True)
    every = _contexts(frame, windows)
    features, starts = np.unique(frame["feature"].to_numpy(), return_index=True)
    ends = np.append(starts, len(frame))[1:]
    rows = (np.arange(start, end) for start, end in zip(starts, ends, strict=True))
    return {int(feature): every.take(these) for feature, these in zip(features, rows, strict=True)}


def no_contexts(windows: Windows) -> Contexts:
    """What a feature has in a split that holds none of its contexts."""
    return _contexts(CONTEXTS.schema.to_frame(), windows)


def _contexts(frame: pl.DataFrame, windows: Windows) -> Contexts:
    activations = np.zeros((len(frame), windows.width), dtype=np.float32)
    lengths = frame["positions"].list.len().to_numpy()
    row = np.repeat(np.arange(len(frame)), lengths)
    if len(row):
        flat = frame.filter(pl.col("positions").list.len() > 0)
        activations[row, flat["positions"].explode().to_numpy()] = flat["activations"].explode().to_numpy()
    return Contexts(
        row=windows.rows_of(frame["window_id"].to_numpy()),
        stratum=np.array(frame["stratum"].to_list(), dtype=np.str_),
        population=frame["population"].to_numpy(),
        sampled=frame["sampled"].cast(pl.Int64).to_numpy(),
        max_activation=frame["max_activation"].to_numpy(),
        activations=activations,
    )


def read_features(features: pl.DataFrame, splits: pl.DataFrame, *, feature_set: str) -> dict[int, FeatureInfo]:
    """What is known of each feature, from the tables `features` and `feature_splits` of one sample."""
    counts: dict[int, dict[str, tuple[int, int]]] = {}
    for feature, split, firing, silent in splits.select(
        "feature", "split", "firing_windows", "silent_windows"
    ).iter_rows():
        counts.setdefault(feature, {})[split] = (firing, silent)
    return {
        row["feature"]: FeatureInfo(
            sample_id=row["sample_id"],
            feature_set=feature_set,
            feature=row["feature"],
            status=row["status"],
            tau=row["tau"],
            max_activation=row["max_activation"],
            firing_rate=row["firing_rate"],
            firing_windows={split: counts[row["feature"]][split][0] for split in SPLITS},
            silent_windows={split: counts[row["feature"]][split][1] for split in SPLITS},
        )
        for row in features.iter_rows(named=True)
    }


def count_background(windows: Windows) -> Background:
    """Base rates of tokens in the `explain` split."""
    rows = windows.split == "explain"
    tokens = windows.tokens[rows]
    counts = np.bincount(tokens[tokens >= 0], minlength=len(windows.vocabulary))
    return Background(token_counts=counts.astype(np.int64), n_tokens=int(counts.sum()), n_windows=int(rows.sum()))
