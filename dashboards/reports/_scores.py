"""Score tables, their meaning and their spread as blocks: what the run report and the scoreboard share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from dashboards import charts, queries, text
from dashboards.document import (
    Block,
    Cell,
    Column,
    Figure,
    Figures,
    Fold,
    Heading,
    Measured,
    Row,
    Table,
    Tile,
    Tiles,
    meta,
    say,
)
from dashboards.reports._origin import Origin, terms
from dashboards.score_tables import Line, ScoreTable, score_tables
from dashboards.score_tables import Row as Found
from dashboards.wording import Scale, Term, scale_of

BINS = 25
"""Bins of the score histograms, from 0 to 1."""


def tiles(table: ScoreTable | None) -> list[Block]:
    """The mean of the true labels beside its two most telling controls."""
    head = table.true_headline if table else None
    if table is None or head is None or head["mean"] is None:
        return []
    wanted = (("true labels", ""), ("shuffled labels", "shuffled"), ("model with random weights", "random_weights"))
    found = tuple(
        Tile(title, measured, main=not control)
        for title, control in wanted
        if (measured := _measured(table.cell(control, "headline"), None, Scale())) is not None
    )
    meaning = (
        "A label that says nothing gets about 0.5, a perfect one gets 1."
        if table.graded_windows
        else f"Here it is the metric {head['headline_of']}."
    )
    note = (
        f"Mean headline score of {table.title}, with 95 % intervals. {meaning} What counts is the distance to the "
        "controls beside it."
    )
    return [Tiles(found, note)]


def score_blocks(reader: queries.Reader, origin: Origin) -> list[Block]:
    """All tables of a feature set, at both thresholds, and what their columns and lines mean."""
    blocks: list[Block] = [
        say(
            f"A feature fires in a window when its activation there is above {round(100 * queries.TAU)} % of its largest. The "
            "judge sees a label and a window and says how likely the feature fires. Each line below the first is a "
            "control: a label or a feature that should not do well. The tick in each strip is chance, the bar a 95 % "
            "interval; the strip runs from 0 to 1, from −1 where a metric can be negative, and as far as values go beyond 1."
        )
    ]
    for table in origin.tables:
        blocks += _one_table(table)
    strict = score_tables(queries.scoreboard(reader, origin.feature_set).to_dicts(), tau=queries.STRICT_TAU)
    if strict:
        summary = f"The same for strong activations only (above {round(100 * queries.STRICT_TAU)} % of the largest)"
        folded: list[Block] = []
        for table in strict:
            folded += [Heading(table.title, 3), grid(table.metrics, table.lines)]
        blocks.append(Fold(summary, tuple(folded)))
    return [*blocks, Fold("What the columns and lines mean", (meanings((*origin.tables, *strict)),), opened=True)]


def meanings(tables: Sequence[ScoreTable]) -> Block:
    """Every metric and every control that stands in the tables."""
    columns = [entry for table in tables for entry in (*table.metrics, *table.more)]
    lines = [(line.name, line.term) for table in tables for line in table.lines]
    return terms(columns, lines)


def spread(reader: queries.Reader, origin: Origin) -> list[Block]:
    """How the headline scores spread over features, and how recall rises with strength."""
    blocks: list[Block] = []
    histograms = tuple(_histograms(reader, origin))
    if histograms:
        blocks += [
            Heading("How the scores spread", 3),
            say(
                "A mean hides the labels that fail. Where the curve of the true labels stands to the right of the others, "
                "the labels say something."
            ),
            Figures(histograms),
        ]
    recall = tuple(_recall(origin.tables))
    if recall:
        blocks += [
            Heading("Weak activations are the hard part", 3),
            say("Firing windows sorted into fifths by strength: which share of each does the judge find?"),
            Figures(recall),
        ]
    return blocks


def grid(metrics: Sequence[tuple[str, Term]], lines: Sequence[Line]) -> Table:
    """A score table: a line a control, a column a metric. Strips of a column are drawn on one scale."""
    columns = (Column(""), *(Column(term.title, True, name, term.sentence) for name, term in metrics))
    scales = [scale_of(term.chance, _values(lines, place)) for place, (_, term) in enumerate(metrics)]
    rows = (
        Row((line.term.title, *_cells(line, metrics, scales)), strong=not line.name, sentence=line.term.sentence)
        for line in lines
    )
    return Table(columns, tuple(rows), "grid")


def _values(lines: Iterable[Line], place: int) -> Iterator[float | None]:
    """Means and interval ends of a column."""
    for line in lines:
        found = line.cells[place]
        if found is not None:
            yield from (found["mean"], found["low"], found["high"])


def _cells(line: Line, metrics: Sequence[tuple[str, Term]], scales: Sequence[Scale]) -> Iterator[Cell]:
    for found, (_, term), scale in zip(line.cells, metrics, scales, strict=True):
        yield _measured(found, term.chance, scale)


def _measured(found: Found | None, chance: float | None, scale: Scale) -> Measured | None:
    if found is None or found["mean"] is None:
        return None
    return Measured(found["mean"], found["low"], found["high"], chance, scale.start, scale.end)


def _one_table(table: ScoreTable) -> list[Block]:
    blocks: list[Block] = [Heading(table.title, 3)]
    if table.findings:
        blocks.append(say(" ".join(table.findings)))
    head = table.true_headline
    if head:
        unscored = f"; {text.count(head['n_unscored'])} more without a score" if head["n_unscored"] else ""
        blocks.append(meta(f"Mean over {text.plural(head['n_features'], 'feature')}{unscored}."))
    blocks.append(grid(table.metrics, table.lines))
    if table.more:
        blocks.append(Fold("More metrics", (grid(table.more, table.more_lines),)))
    return blocks


def _histograms(reader: queries.Reader, origin: Origin) -> Iterator[Figure]:
    control_ids = [control["sample_id"] for control in origin.controls]
    bins = queries.score_bins(reader, origin.sample_id, control_ids, metric="headline", bins=BINS)
    by_maker = dict(bins.group_by(["explainer", "explainer_model", "scorer", "judge_model"]))
    for table in origin.tables:
        frame = by_maker.get(table.maker, bins.clear()).sort("series", "left")
        counted = {row["series"]: row["features"] for row in frame.select("series", "features").unique().to_dicts()}
        if "true" not in counted:
            continue
        told = ", ".join(
            f"{text.count(counted[name])} {charts.SERIES[name][0].lower()}" for name in charts.SERIES if name in counted
        )
        svg = charts.score_histogram(frame.to_dicts(), title="headline score of a label")
        label = f"Histogram of the headline scores of {table.title}"
        yield Figure(svg, label, table.title, told)


def _recall(tables: Sequence[ScoreTable]) -> Iterator[Figure]:
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
            yield Figure(charts.recall_by_strength(rows), f"Recall by strength, {table.title}", table.title)
