"""What all exports of labels share: labels to write one by one, and beside them how good they are and which are missing.

A folder of labels has `README.md` (how it was made), `scores.csv` (every label with score and interval) and
`failures.csv` (every feature without a label, and why), whatever the labels themselves look like.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from dashboards.export_queries import Choice, chosen_sample, label_pieces
from dashboards.exporters._card import code, how_it_was_made, what_scores_say
from dashboards.exporters._table_files import CsvFile
from dashboards.queries import Reader

SCORES = (
    "feature", "label", "explainer", "explainer_model", "score", "score_low", "score_high", "q", "metric", "scorer",
    "judge_model", "status",
)  # fmt: skip
FAILURES = ("feature", "reason", "status", "explainer", "explainer_model")


@dataclass
class Counts:
    labels: int = 0
    failures: int = 0

    def said(self) -> str:
        labels = f"{self.labels:,} label{'' if self.labels == 1 else 's'}"
        rest = f"; {self.failures:,} features have none, failures.csv says why" if self.failures else ""
        return f"{labels} with their scores{rest}"


class LabelFolder:
    """Labels of one feature set on their way into a folder."""

    def __init__(self, reader: Reader, choice: Choice, folder: Path) -> None:
        self.sample: Mapping[str, Any] = chosen_sample(reader, choice.feature_set)
        self._reader, self._choice, self._folder = reader, choice, folder
        self.counts = Counts()

    def labels(self) -> Iterator[Mapping[str, Any]]:
        """Each feature that has a label, as a row of `label_pieces`; writes the tables beside them as it goes."""
        with CsvFile(self._folder / "scores.csv") as scores, CsvFile(self._folder / "failures.csv") as failures:
            for piece in label_pieces(self._reader, self.sample, self._choice):
                labeled = piece.filter(pl.col("label").is_not_null())
                missing = piece.filter(pl.col("label").is_null())
                scores.write(labeled.select(SCORES))
                failures.write(missing.select(FAILURES))
                self.counts.labels += len(labeled)
                self.counts.failures += len(missing)
                yield from labeled.iter_rows(named=True)

    def write_readme(self, title: str, about: str) -> None:
        """Say what the folder is, how it was made and what its labels are worth."""
        name = self.sample["feature_set"]
        parts = [
            f"# {title}",
            f"Labels of the feature set {code(name)}: {self.counts.labels:,} features with a label, "
            f"{self.counts.failures:,} without one. {about}",
            "`scores.csv` has every label with its score and 95 % interval, `failures.csv` every feature without a label and "
            "why.",
            "## How good the labels are",
            what_scores_say(self._reader, name),
            "## How they were made",
            how_it_was_made(self._reader, self.sample),
        ]
        (self._folder / "README.md").write_text("\n\n".join(parts) + "\n", encoding="utf-8")
