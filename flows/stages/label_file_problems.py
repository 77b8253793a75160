"""What could not be taken from a file of labels: counted by kind in a table, and said in one line."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any

import polars as pl

from flows.session import Session
from flows.stages.explainer_choice import ExplainerChoice
from flows.stages.sample import Sample
from flows.stages.select_features import select_features
from labeling.label_files import FileLabel, LabelProblem, LabelSource, LeftOut, read_label_file

FEATURES_LISTED = 1000
SCHEMA: Mapping[str, Any] = {
    "sample_id": pl.String,
    "file": pl.String,
    "author": pl.String,
    "problem": pl.String,
    "n": pl.Int64,
    "features": pl.List(pl.Int64),
    "example": pl.String,
}


def report_label_file(session: Session, samples: Sequence[Sample], choices: Sequence[ExplainerChoice]) -> None:
    """Compare the file with the samples, replace what the table says of it, and tell people."""
    sources = [choice.labels for choice in choices if choice.labels is not None]
    if not sources:
        return
    file, name = read_label_file(sources[0].path), session.config.label.labels or ""
    rows = _rows("", name, file.left_out)
    known = {sample.feature_set.name for sample in samples}
    for sample in samples:
        of_sample = [label for label in file.labels if _feature_set(label, sources[0]) == sample.feature_set.name]
        rows += _rows(sample.sample_id, name, _unusable(session, sample, of_sample))
    strangers = [label for label in file.labels if _feature_set(label, sources[0]) not in known]
    rows += _rows("", name, [_left_out(label, "other feature set") for label in strangers])
    frame = pl.DataFrame(rows, schema=SCHEMA, orient="row")
    session.store.remove("label_file_problems", "file", [name])
    session.store.save("label_file_problems", frame)
    session.progress.say(_in_words(name, len(file.labels), frame))


def _feature_set(label: FileLabel, source: LabelSource) -> str:
    return label.feature_set or source.unnamed


def _unusable(session: Session, sample: Sample, labels: Sequence[FileLabel]) -> list[LeftOut]:
    """Labels for features that don't exist, and for those that are not labeled in this run."""
    selected = {feature.feature for feature in select_features(session, sample, session.config.label.features)}
    unusable = []
    for label in labels:
        if label.feature >= sample.feature_set.n_features:
            unusable.append(_left_out(label, "no such feature"))
        elif label.feature not in selected:
            unusable.append(_left_out(label, "not selected"))
    return unusable


def _left_out(label: FileLabel, problem: LabelProblem) -> LeftOut:
    return LeftOut(problem, label.feature, label.author, label.place, label.feature_set or f"feature {label.feature}")


def _rows(sample_id: str, file: str, left_out: Iterable[LeftOut]) -> list[tuple[object, ...]]:
    def kind(one: LeftOut) -> tuple[str, str]:
        return one.author, one.problem

    rows: list[tuple[object, ...]] = []
    for (author, problem), group in groupby(sorted(left_out, key=kind), key=kind):
        some = list(group)
        features = sorted({one.feature for one in some if one.feature is not None})[:FEATURES_LISTED]
        rows.append((sample_id, file, author, problem, len(some), features, f"{some[0].place}: {some[0].seen}"))
    return rows


def _in_words(file: str, n_labels: int, problems: pl.DataFrame) -> str:
    said = f"labels of {file}: {n_labels:,} read"
    if problems.is_empty():
        return said
    lost = []
    for problem in problems["problem"].unique(maintain_order=True):
        rows = problems.filter(pl.col("problem") == problem)
        features = sorted(feature for some in rows["features"].to_list() for feature in some)
        few = f" (features {', '.join(map(str, features[:5]))}{', ...' if len(features) > 5 else ''})"
        lost.append(f"{problem} {rows['n'].sum():,}{few if features else ''}")
    return f"{said}; left out: {', '.join(lost)} (table label_file_problems)"
