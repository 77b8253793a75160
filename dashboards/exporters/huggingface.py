"""The export `huggingface`: a folder to upload as a data set, one configuration a table, with its card.

Tables without rows are left out, and those that only keep the books of a workspace. The license is left to whoever
publishes: `windows`, `contexts` and `judgments` go back to the text of a corpus, which has a license of its own.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from dashboards.export_queries import Table
from dashboards.exporters._card import code, how_it_was_made, what_columns_mean, what_scores_say
from dashboards.exporters._places import mark
from dashboards.exporters.parquet import chosen_tables, write_tables
from dashboards.queries import Reader, open_reader, samples
from labeling.workspace import Workspace

ABOUT = "a Hugging Face data set: a configuration a table, and its card"
TABLES = (
    "labels", "explanations", "scores", "score_statistics", "scoreboard", "group_statistics", "reliability_curves",
    "judge_reliability", "features", "feature_splits", "feature_tokens", "feature_names", "feature_sets", "samples", "corpora",
    "documents", "windows", "contexts", "panel", "panel_activity", "judgments", "calibrations", "null_scores", "neighbors",
    "clusterings", "clusters", "cluster_members", "map_points", "tags",
)  # fmt: skip
"""What readers of a data set want: labels first, as the one that is loaded when none is named."""
SIZES = (
    (1_000, "n<1K"),
    (10_000, "1K<n<10K"),
    (100_000, "10K<n<100K"),
    (1_000_000, "100K<n<1M"),
    (10_000_000, "1M<n<10M"),
)
"""Below how many rows a data set of the hub has which size."""


class HuggingfaceExporter:
    endings: tuple[str, ...] = ()

    def __init__(self, tables: tuple[Table, ...]) -> None:
        self._tables = tables

    def write(self, workspace: Workspace, place: Path) -> str:
        data = place / "data"
        data.mkdir(parents=True)
        rows: dict[Table, int] = {}
        for table, n in write_tables(workspace, data, self._tables):
            rows |= {table: n} if n else {}
            if not n:
                (data / f"{table.name}.parquet").unlink()
        with open_reader(workspace) as reader:
            (place / "README.md").write_text(card(reader, rows), encoding="utf-8")
        mark(place, "huggingface")
        return f"{len(rows)} tables, {sum(rows.values()):,} rows, and the card README.md, to which you add a license"


def card(reader: Reader, rows: dict[Table, int]) -> str:
    """The data set's README.md: front matter for the hub, then text for people."""
    parts = [front_matter([table.name for table in rows], max(rows.values(), default=0)), INTRODUCTION]
    for sample in samples(reader).rows(named=True):
        if sample["control_for"] is None:
            parts += [
                f"## Feature set {code(sample['feature_set'])}",
                "### How good the labels are",
                what_scores_say(reader, sample["feature_set"]),
                "### How they were made",
                how_it_was_made(reader, sample),
            ]
    counted = "\n".join(f"- `{table.name}`: {n:,} rows" for table, n in rows.items())
    return "\n\n".join([*parts, "## Tables", counted, what_columns_mean(rows, level=3)]) + "\n"


INTRODUCTION = """# Labels of features of a sparse autoencoder

Made by Featlas: labels that say in words what each feature responds to, how well each label predicts where its feature fires,
and the evidence. Load a table by its name, `load_dataset(PATH, "scores")`; without a name it is `labels`. `labels.label` is
NULL where there is no label, and `explanations.reason` says why. A score is NULL where there is none, never 0."""


def front_matter(tables: Sequence[str], most_rows: int) -> str:
    """What the hub reads: which file is which configuration. Values are JSON, which YAML reads as it is."""
    lines = [
        "---",
        "# license: yours to choose; the text in windows is of the corpus and keeps its own",
        'pretty_name: "Feature labels with scores and evidence"',
        "tags:",
        *(f"- {tag}" for tag in ("interpretability", "sparse-autoencoder", "featlas")),
        "size_categories:",
        f"- {json.dumps(next((name for below, name in SIZES if most_rows < below), '10M<n<100M'))}",
        "configs:" if tables else "configs: []",
    ]
    for table in tables:
        lines += [f"- config_name: {json.dumps(table)}", f"  data_files: {json.dumps(f'data/{table}.parquet')}"]
        lines += ["  default: true"] if table == "labels" else []
    return "\n".join([*lines, "---"])


def create(*, tables: tuple[str, ...]) -> HuggingfaceExporter:
    """Export the tables named, or those that readers of a data set want."""
    return HuggingfaceExporter(chosen_tables(tables, TABLES))
