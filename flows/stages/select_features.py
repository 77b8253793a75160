"""Which features a stage works on: the user's selection, or all that are worth labeling."""

from __future__ import annotations

import polars as pl

from flows.session import Session
from flows.stages.sample import Sample
from labeling.errors import UsageError
from labeling.feature_evidence import read_features
from labeling.selection import Selection
from labeling.snapshot import query
from labeling.types import FeatureInfo


def select_features(session: Session, sample: Sample, selection: Selection) -> list[FeatureInfo]:
    """Selected features of a sample, ascending.

    `all` means those with status `ok`; features named by the user are taken whatever their status, dead ones excepted:
    they have no evidence. A control feature set follows the selection only when it is `all`; else it takes as many of
    its `ok` features as were selected, so that a small trial stays small.
    """
    features = session.store.read("features", sample_id=sample.sample_id).sort("feature")
    splits = session.store.read("feature_splits", sample_id=sample.sample_id)
    ok = features.filter(pl.col("status") == "ok")
    if selection.is_all:
        chosen = ok
    else:
        numbers = _numbers(session, sample, selection)
        if sample.feature_set.control_for is not None:
            chosen = ok.head(len(numbers))
        else:
            chosen = features.filter(pl.col("feature").is_in(numbers) & (pl.col("status") != "dead"))
    return _infos(sample, chosen, splits)


def alive_features(session: Session, sample: Sample) -> list[FeatureInfo]:
    """Every feature that has evidence, ascending, whatever its status and whatever was selected."""
    features = session.store.read("features", sample_id=sample.sample_id).sort("feature")
    splits = session.store.read("feature_splits", sample_id=sample.sample_id)
    return _infos(sample, features.filter(pl.col("status") != "dead"), splits)


def _infos(sample: Sample, chosen: pl.DataFrame, splits: pl.DataFrame) -> list[FeatureInfo]:
    kept = splits.filter(pl.col("feature").is_in(chosen["feature"].to_list()))
    return list(read_features(chosen, kept, feature_set=sample.feature_set.name).values())


def _numbers(session: Session, sample: Sample, selection: Selection) -> list[int]:
    """Feature numbers. SQL is the user's own and runs read-only on the published snapshot."""
    if selection.sql is None:
        if sample.feature_set.control_for is not None:
            return [feature for first, last in selection.ranges for feature in range(first, last + 1)]
        return list(selection.within(sample.feature_set.n_features))
    rows = query(session.workspace, selection.sql)
    if rows.width < 1 or not rows.dtypes[0].is_integer():
        raise UsageError(
            f"features = 'sql: {selection.sql}' gives columns {rows.columns}; the first one must be a feature number."
        )
    numbers = rows.to_series(0)
    wrong = numbers.filter(numbers.is_null() | ~numbers.is_between(0, sample.feature_set.n_features - 1))
    if len(wrong):
        raise UsageError(
            f"features = 'sql: {selection.sql}' gives {wrong[0]}, but {sample.feature_set.name} has features 0 to "
            f"{sample.feature_set.n_features - 1}. Leave other rows out in the WHERE clause."
        )
    return sorted(set(numbers.to_list()))
