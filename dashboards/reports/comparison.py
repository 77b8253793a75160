"""Two explainers, models, runs or dictionaries against each other: A minus B with intervals, and where they differ most.

The comparison is worked out elsewhere and handed over as `Compared`; this says what it means.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from dashboards import charts, comparison_queries, queries, text
from dashboards.document import (
    Block,
    Code,
    Column,
    Document,
    Facts,
    Figure,
    Figures,
    Heading,
    Measured,
    Paragraph,
    Row,
    Table,
    meta,
    say,
)
from dashboards.reports import Report
from dashboards.reports._origin import closing, origin_of, terms
from dashboards.wording import Term, metric
from labeling.errors import UsageError

BINS = 41
"""Bins of the histogram of differences; odd, so that one is around zero."""
MOST = 8
"""Features in the list of either side."""
WORDS = (
    ("difference", Term("A − B", "Mean of A minus mean of B with its 95 % interval; above 0, A is better.")),
    (
        "p",
        Term(
            "p",
            "How often a difference as large comes about by chance: signs of the features' differences flipped at random or, "
            "unpaired, features dealt to two sides at random.",
        ),
    ),
    ("p_holm", Term("p, corrected", "p corrected for the number of lines of the table (Holm). Read this one.")),
    (
        "win_rate",
        Term(
            "A wins",
            "Share of features, or of pairs of features when unpaired, in which A is higher; half of the ties.",
        ),
    ),
    (
        "features_needed",
        Term("Features needed", "How many features it takes to resolve the difference stated below the table."),
    ),
)


@dataclass(frozen=True)
class Labeler:
    """What one side stands for by one judge: whose labels, on which sample."""

    feature_set: str
    sample_id: str
    explainer: str
    model: str
    prompt: str
    parameters: str


@dataclass(frozen=True)
class Pairing:
    """Scores of both sides by one judge."""

    scorer: str
    judge: str
    a: Labeler
    b: Labeler
    scores: pl.DataFrame | None
    """feature, score_a, score_b, difference; None where the sides have different features."""

    @property
    def title(self) -> str:
        return f"{self.scorer} ({self.judge})" if self.judge else self.scorer


@dataclass(frozen=True)
class Compared:
    """The result of a comparison."""

    a: str
    b: str
    rows: tuple[Mapping[str, Any], ...]
    """One a judge and metric: means, difference with interval, p."""
    pairings: tuple[Pairing, ...]
    metric: str
    """That `scores` are of."""
    tau: float
    difference: float
    """That `features_needed` is about."""
    seed: int


@dataclass(frozen=True)
class ComparisonReport:
    compared: Compared

    def write(self, reader: queries.Reader, *, command: str) -> Document:
        both = self.compared
        sets = dict.fromkeys(side.feature_set for pairing in both.pairings for side in (pairing.a, pairing.b))
        blocks: list[Block] = [
            Paragraph(("Featlas comparison",), "kicker"),
            Heading("A against B", 1),
            Paragraph((_verdict(both),), "lede"),
            _facts(both),
            Heading("A minus B"),
            *_differences(both),
            *_figures(both),
            Heading("Where they differ most"),
            *_extremes(reader, both),
            *closing(reader, [origin_of(reader, name) for name in sets], command=command),
        ]
        return Document("comparison", f"{both.a} against {both.b}", tuple(blocks))


def create(*, compared: Compared | None = None) -> Report:
    """The report of a comparison. Raise UsageError where nothing was compared."""
    if compared is None:
        raise UsageError(
            "The report comparison is about two sides; name them with --a and --b, such as "
            "--a explainer=token_pattern --b explainer=top_and_random."
        )
    return ComparisonReport(compared)


def _verdict(both: Compared) -> str:
    """What the first metric says, judge by judge."""
    said = []
    for row in both.rows:
        if row["metric"] != both.metric:
            continue
        judge = f"{row['scorer']} ({row['judge']})" if row["judge"] else row["scorer"]
        if row["low"] <= 0 <= row["high"]:
            said.append(f"By {judge}, no difference is resolved.")
        else:
            better, by = ("A", row["difference"]) if row["difference"] > 0 else ("B", -row["difference"])
            said.append(f"By {judge}, {better} is higher by {text.number(by)}.")
    return " ".join(said)


def _facts(both: Compared) -> Facts:
    paired = {pairing.scores is not None for pairing in both.pairings}
    how = "paired: the same features on the same windows by the same judge" if paired == {True} else (
        "unpaired: the features of two dictionaries have nothing in common, so this also compares what there is to label"
    )  # fmt: skip
    return Facts((
        ("A", (Code(both.a),)),
        ("B", (Code(both.b),)),
        ("Compared", (how,)),
        ("Threshold", (f"a feature fires above {100 * both.tau:g} % of its largest activation",)),
        ("Random draws", (f"seed {both.seed}",)),
    ))  # fmt: skip


def _differences(both: Compared) -> Iterator[Block]:
    reach = 1.1 * max(max(abs(row["low"]), abs(row["high"]), 1e-6) for row in both.rows)
    numbers = ("Features", "Mean A", "Mean B", "A − B", "p", "p, corrected", "A wins", "Features needed")
    columns = Column("Judge"), Column("Metric"), *(Column(title, True) for title in numbers)
    yield Table(columns, tuple(_row(row, reach) for row in both.rows))
    yield meta(f"The strips run from {text.number(-reach)} to {text.number(reach)}; the tick is no difference. Features needed: to "
               f"resolve a difference of {both.difference:g}{'' if both.rows[0]['paired'] else ', on each side'}.")  # fmt: skip
    alone = max(row["only_a"] for row in both.rows), max(row["only_b"] for row in both.rows)
    if any(alone):
        yield meta(f"Left out, because only one side has a score: up to {text.count(alone[0])} features of A, "
                   f"{text.count(alone[1])} of B.")  # fmt: skip
    yield terms([(row["metric"], metric(row["metric"])) for row in both.rows], WORDS)


def _row(row: Mapping[str, Any], reach: float) -> Row:
    judge = f"{row['scorer']} ({row['judge']})" if row["judge"] else row["scorer"]
    n = text.count(row["n_a"]) if row["paired"] else f"{text.count(row['n_a'])} / {text.count(row['n_b'])}"
    difference = Measured(row["difference"], row["low"], row["high"], chance=0.0, start=-reach, end=reach)
    means = text.number(row["mean_a"]), text.number(row["mean_b"])
    p = text.number(row["p"], 4), text.number(row["p_holm"], 4)
    return Row((judge, metric(row["metric"]).title, n, *means, difference, *p, text.percent(row["win_rate"]),
                text.count(row["features_needed"])))  # fmt: skip


def _figures(both: Compared) -> Iterator[Block]:
    figures = []
    for pairing in both.pairings:
        if pairing.scores is not None and len(pairing.scores):
            title = f"A − B of a feature, {metric(both.metric).title.lower()}"
            told = f"{text.count(len(pairing.scores))} features"
            svg = charts.differences(_bins(pairing.scores["difference"]), title=title)
            figures.append(Figure(svg, f"Differences by {pairing.title}", pairing.title, told))
    if figures:
        yield Heading("Feature by feature", 3)
        yield Figures(tuple(figures))


def _bins(differences: pl.Series) -> list[dict[str, Any]]:
    """Features by difference, in equal bins around zero that hold the largest difference."""
    reach = max(float(differences.abs().max() or 0.0), 0.01)  # type: ignore[arg-type]
    width = 2 * reach / BINS
    placed = ((differences + reach) / width).floor().cast(pl.Int64).clip(0, BINS - 1)
    counted = dict(placed.value_counts().iter_rows())
    return [
        {"left": -reach + n * width, "right": -reach + (n + 1) * width, "features": counted.get(n, 0)}
        for n in range(BINS)
    ]


def _extremes(reader: queries.Reader, both: Compared) -> Iterator[Block]:
    shown = False
    for pairing in both.pairings:
        scores = pairing.scores
        if scores is None or scores.is_empty():
            continue
        ordered = scores.sort("difference", "feature", descending=[True, False])
        for title, some in (
            ("A is higher", ordered.filter(pl.col("difference") > 0).head(MOST)),
            ("B is higher", ordered.filter(pl.col("difference") < 0).tail(MOST).reverse()),
        ):
            if len(some):
                shown = True
                yield Heading(f"{title}, by {pairing.title}", 3)
                yield _both_labels(reader, pairing, some)
    if not shown:
        yield say("The sides have no feature in common, so there is nothing to set side by side.")


def _both_labels(reader: queries.Reader, pairing: Pairing, some: pl.DataFrame) -> Table:
    features = some["feature"].to_list()
    a, b = (_texts(reader, side, features) for side in (pairing.a, pairing.b))
    columns = (Column("Feature", True), Column("Label of A"), Column("Label of B"), Column("A", True), Column("B", True),
               Column("A − B", True))  # fmt: skip
    rows = (
        Row((str(row["feature"]), a.get(row["feature"], "no label"), b.get(row["feature"], "no label"),
             text.number(row["score_a"]), text.number(row["score_b"]), text.number(row["difference"])))
        for row in some.to_dicts()
    )  # fmt: skip
    return Table(columns, tuple(rows))


def _texts(reader: queries.Reader, side: Labeler, features: list[int]) -> dict[int, str]:
    frame = comparison_queries.label_texts(
        reader, side.sample_id, features, side.explainer, side.model, side.prompt, side.parameters
    )
    return {row["feature"]: text.shorten(row["text"] or "no label", 140) for row in frame.to_dicts()}
