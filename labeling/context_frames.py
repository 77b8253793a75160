"""From chosen contexts, as arrays, to rows of the tables `contexts`, `panel_activity` and `feature_tokens`.

Chooses nothing. Words come from small lists by number, and rows are put in order by number, because strings are slow.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import polars as pl

from labeling.active_windows import ActiveWindows
from labeling.contexts import ChosenContexts
from labeling.evidence import CONTEXTS, PANEL_ACTIVITY
from labeling.hard_negatives import TopTokens
from labeling.types import SPLITS, STRATA, FloatArray, IntArray
from labeling.window_tokens import WindowTokens

TOP_TOKENS = 10
"""Tokens of a feature that are stored."""


def contexts_frame(
    chosen: Sequence[ChosenContexts], features: IntArray, windows: WindowTokens, active: ActiveWindows, sample_id: str
) -> pl.DataFrame:
    """All contexts with the activations in them, as sparse positions and values; in the order of the table."""
    place, split, stratum, row, population, sampled, maximum = (
        np.concatenate([getattr(some, name) for some in chosen])
        for name in ("place", "split", "stratum", "row", "population", "sampled", "max_activation")
    )
    # rows of windows ascend as their ids do
    order = np.lexsort((row, _ranks(STRATA)[stratum], _ranks(SPLITS)[split], place))
    place, split, stratum, row = place[order], split[order], stratum[order], row[order]
    positions, activations = _activation_lists(active, np.where(maximum[order] > 0, active.pair[place, row], -1))
    frame = pl.DataFrame(
        {
            "feature": features[place].astype(np.int32),
            "split": _words(SPLITS, split),
            "stratum": _words(STRATA, stratum),
            "window_id": windows.window[row],
            "document_id": windows.document_id.gather(row),
            "population": population[order],
            "sampled": sampled[order].astype(np.int32),
            "max_activation": maximum[order],
            "positions": positions,
            "activations": activations,
        }
    )
    return frame.with_columns(pl.lit(sample_id).alias("sample_id")).select(CONTEXTS.schema.names())


def _activation_lists(active: ActiveWindows, pairs: IntArray) -> tuple[pl.Series, pl.Series]:
    """Positions and activations of each pair, empty where it is -1."""
    sizes, entries = active.entries_of(pairs)
    flat = pl.DataFrame(
        {
            "context": np.repeat(np.arange(len(pairs)), sizes),
            "positions": active.position[entries],
            "activations": active.value[entries],
        }
    )
    lists = flat.with_columns(pl.col("context").set_sorted()).group_by("context", maintain_order=True).agg(pl.all())
    which = pl.Series(np.where(sizes > 0, np.cumsum(sizes > 0) - 1, len(lists)))
    empty = pl.DataFrame(
        {"positions": [[]], "activations": [[]]}, schema={n: lists.schema[n] for n in ("positions", "activations")}
    )
    found = pl.concat([lists.drop("context"), empty])[which]
    return found["positions"], found["activations"]


def panel_activity_frame(
    sample_id: str,
    *,
    feature: IntArray,
    window: IntArray,
    stratum: IntArray,
    population: IntArray,
    max_activation: FloatArray,
) -> pl.DataFrame:
    """One row a feature and panel window; `stratum` is an index into STRATA."""
    columns = {
        "sample_id": pl.repeat(sample_id, len(feature), eager=True),
        "feature": feature,
        "window_id": window,
        "stratum": _words(STRATA, stratum),
        "population": population,
        "max_activation": max_activation,
    }
    return pl.DataFrame(columns).select(pl.col(name).cast(kind) for name, kind in PANEL_ACTIVITY.schema.items())


def token_frame(tokens: TopTokens, vocabulary: pl.Series, features: IntArray, sample_id: str) -> pl.DataFrame:
    """The features' first TOP_TOKENS tokens; `rank` is 0-based."""
    place, rank = np.nonzero(tokens.token[:, :TOP_TOKENS] >= 0)
    return pl.DataFrame(
        {
            "sample_id": pl.repeat(sample_id, len(place), eager=True, dtype=pl.String),
            "feature": features[place],
            "rank": rank,
            "token": vocabulary.gather(tokens.token[place, rank]),
            "mean_activation": tokens.mean_activation[place, rank],
            "occurrences": tokens.occurrences[place, rank],
        }
    )


def _words(words: Sequence[str], index: npt.NDArray[np.integer]) -> pl.Series:
    return pl.Series(words, dtype=pl.String).gather(index)


def _ranks(words: Sequence[str]) -> IntArray:
    """Place of each word in alphabetical order."""
    return np.argsort(np.argsort(np.array(words)))
