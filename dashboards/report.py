"""The report: one HTML page that needs nothing but itself, and its tables as CSV files beside it.

It reads the published snapshot and the evidence through named queries, and writes only into the folder it is given.
What it shows of corpora, models and labels is text: escaped by the template, and with nothing hidden in it.
"""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import polars as pl
from markupsafe import Markup

from dashboards import charts, queries, text
from dashboards.environment import TEMPLATES, make_environment
from dashboards.feature_cards import CardList, card_lists
from dashboards.score_tables import ScoreTable, score_tables
from dashboards.tables import as_csv
from dashboards.wording import Term
from labeling.errors import FeatlasError
from labeling.workspace import Workspace

FILE = "report.html"
MOST_POINTS = 2400
"""Features on the map; more would only make the page heavy."""
CARDS = 8
"""Features in the longest list."""
BINS = 25
"""Bins of the score histograms, from 0 to 1."""


@dataclass(frozen=True)
class Histogram:
    title: str
    svg: Markup
    counts: str


@dataclass(frozen=True)
class FeatureMap:
    svg: Markup
    shown: int
    total: int


@dataclass(frozen=True)
class Chapter:
    """What the page says about one feature set."""

    sample: Mapping[str, Any]
    controls: tuple[Mapping[str, Any], ...]
    statuses: tuple[Mapping[str, Any], ...]
    splits: tuple[Mapping[str, Any], ...]
    corpus_problems: tuple[Mapping[str, Any], ...]
    n_labeled: int
    tables: tuple[ScoreTable, ...]
    strict_tables: tuple[ScoreTable, ...]
    """The same at the higher threshold of firing."""
    histograms: tuple[Histogram, ...]
    recall: tuple[Histogram, ...]
    card_lists: tuple[CardList, ...]
    map: FeatureMap | None
    clusters: tuple[Mapping[str, Any], ...]
    losses: tuple[Mapping[str, Any], ...]

    @property
    def headline(self) -> ScoreTable | None:
        return self.tables[0] if self.tables else None

    @property
    def columns(self) -> Mapping[str, Term]:
        """Meaning of every column of the tables, by name."""
        return {name: term for table in reversed(self.tables) for name, term in table.metrics + table.more}


def write_report(workspace: Workspace, target: Path) -> Path:
    """Write `report.html` and the CSV files into the folder `target`; return the page's path.

    Files that are there are replaced, each as a whole. Raise FeatlasError when no snapshot was published.
    """
    with queries.open_reader(workspace) as reader:
        files = {f"{name}.csv": as_csv(frame) for name, frame in tables(reader)}
        files[FILE] = render(reader)
    try:
        target.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            temporary = target / f".{name}.{os.getpid()}.tmp"
            temporary.write_text(content, encoding="utf-8")
            temporary.replace(target / name)
    except OSError as error:
        raise FeatlasError(
            f"The report cannot be written to {target}: {error.strerror or error}. Make room or choose another folder; "
            "the workspace is as it was."
        ) from error
    return target / FILE


def tables(reader: queries.Reader) -> Iterator[tuple[str, pl.DataFrame]]:
    """The page's tables, of all feature sets, by the name of their file."""
    nothing = {"sample_id": "", "feature_set": "", "control_for": None}  # gives every table its columns
    sampled = queries.samples(reader).to_dicts() or [nothing]
    real = [sample for sample in sampled if sample["control_for"] is None]
    yield "labels", pl.concat([queries.all_labels(reader, sample["sample_id"]) for sample in sampled])
    yield "scoreboard", pl.concat([queries.scoreboard(reader, sample["feature_set"]) for sample in real])
    yield "clusters", _together([_of(sample, queries.clusters(reader, sample["sample_id"])) for sample in real])
    yield "status", _together([_of(sample, queries.status_counts(reader, sample["sample_id"])) for sample in sampled])
    losses = [_of(sample, queries.losses(reader, sample["sample_id"])) for sample in sampled]
    yield (
        "losses",
        _together([*losses, queries.failed_requests(reader).select(pl.lit(None).alias("feature_set"), pl.all())]),
    )
    yield "requests", queries.request_cost(reader)
    yield "times", queries.stage_times(reader)


def render(reader: queries.Reader) -> str:
    """The page as text."""
    sampled = queries.samples(reader).to_dicts()
    run = queries.newest_run(reader).to_dicts()
    style = (TEMPLATES / "report.css").read_text(encoding="utf-8")
    return make_environment().get_template("report.html.j2").render(
        style=Markup(style),
        style_hash=base64.b64encode(hashlib.sha256(style.encode()).digest()).decode(),
        run=run[0] if run else None,
        chapters=[
            _chapter(reader, sample, [other for other in sampled if other["control_for"] == sample["feature_set"]])
            for sample in sampled
            if sample["control_for"] is None
        ],
        requests=queries.request_cost(reader).to_dicts(),
        failed_requests=queries.failed_requests(reader).to_dicts(),
        times=queries.stage_times(reader).to_dicts(),
        tau=queries.TAU,
    )  # fmt: skip


def _chapter(reader: queries.Reader, sample: Mapping[str, Any], controls: list[Mapping[str, Any]]) -> Chapter:
    sample_id, control_ids = sample["sample_id"], [control["sample_id"] for control in controls]
    board = queries.scoreboard(reader, sample["feature_set"]).to_dicts()
    found = queries.clusters(reader, sample_id).to_dicts()
    tables = score_tables(board, tau=queries.TAU)
    return Chapter(
        sample=sample,
        controls=tuple(controls),
        statuses=tuple(queries.status_counts(reader, sample_id).to_dicts()),
        splits=tuple(queries.split_counts(reader, sample["corpus_id"]).to_dicts()),
        corpus_problems=tuple(queries.corpus_problems(reader, sample["corpus_id"]).to_dicts()),
        n_labeled=queries.label_count(reader, sample_id),
        tables=tables,
        strict_tables=score_tables(board, tau=queries.STRICT_TAU),
        histograms=tuple(_histograms(reader, sample_id, control_ids, tables)),
        recall=tuple(_recall(tables)),
        card_lists=card_lists(reader, sample_id, most=CARDS),
        map=_map(reader, sample_id, found),
        clusters=tuple(found),
        losses=tuple(
            {**row, "feature_set": owner["feature_set"]}
            for owner in (sample, *controls)
            for row in queries.losses(reader, owner["sample_id"]).to_dicts()
        ),
    )


def _histograms(
    reader: queries.Reader, sample_id: str, control_ids: list[str], tables: Sequence[ScoreTable]
) -> Iterator[Histogram]:
    bins = queries.score_bins(reader, sample_id, control_ids, metric="headline", bins=BINS)
    maker = ["explainer", "explainer_model", "scorer", "judge_model"]
    spread = dict(bins.group_by(maker))
    for table in tables:
        frame = spread.get(table.maker, bins.clear()).sort("series", "left")
        counted = {row["series"]: row["features"] for row in frame.select("series", "features").unique().to_dicts()}
        if "true" not in counted:
            continue
        told = ", ".join(
            f"{text.count(counted[name])} {charts.SERIES[name][0].lower()}" for name in charts.SERIES if name in counted
        )
        yield Histogram(table.title, charts.score_histogram(frame.to_dicts(), title="headline score of a label"), told)


def _recall(tables: tuple[ScoreTable, ...]) -> Iterator[Histogram]:
    """How recall rises with strength, where the metrics `recall_q1` to `recall_q5` are there."""
    for table in tables:
        columns = [name for name, _ in table.more]
        rows = [
            {"series": line.name or "true", "quantile": quantile, **{key: cell[key] for key in ("mean", "low", "high")}}
            for line in table.more_lines
            for quantile in range(1, 6)
            if (line.name or "true") in charts.SERIES and f"recall_q{quantile}" in columns
            and (cell := line.cells[columns.index(f"recall_q{quantile}")]) is not None and cell["mean"] is not None
        ]  # fmt: skip
        if rows:
            yield Histogram(table.title, charts.recall_by_strength(rows), "")


def _map(reader: queries.Reader, sample_id: str, clusters: list[dict[str, Any]]) -> FeatureMap | None:
    points = queries.map_points(reader, sample_id, MOST_POINTS).to_dicts()
    if not points:
        return None
    ranks = {cluster["cluster"]: rank for rank, cluster in enumerate(clusters)}
    drawn = [
        {**point, "rank": ranks.get(point["cluster"]), "text": f"{point['feature']}: {_hover(point['label'])}"}
        for point in points
    ]
    return FeatureMap(charts.feature_map(drawn, list(_names(points, clusters))), len(points), points[0]["total"])


def _names(points: list[dict[str, Any]], clusters: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Names of the colored clusters, each in the middle of its points."""
    for cluster in clusters[: len(charts.CLUSTER_COLORS)]:
        own = [point for point in points if point["cluster"] == cluster["cluster"]]
        if own and cluster["name"]:
            middle = {axis: median(point[axis] for point in own) for axis in ("x", "y")}
            yield {**middle, "text": text.shorten(cluster["name"], 32, told=False)}


def _hover(label: str | None) -> str:
    return "no label" if label is None else text.shorten(label, 90, told=False)


def _of(sample: Mapping[str, Any], frame: pl.DataFrame) -> pl.DataFrame:
    return frame.select(pl.lit(sample["feature_set"]).alias("feature_set"), pl.all())


def _together(frames: list[pl.DataFrame]) -> pl.DataFrame:
    return pl.concat(frames, how="vertical_relaxed")  # a column without any value has no type yet
