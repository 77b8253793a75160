"""The report of a whole run: how good the labels are, features good and bad, the map, what failed, what it cost."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any

from dashboards import map_charts, queries, text
from dashboards.charts import CLUSTER_COLORS, cluster_color
from dashboards.document import (
    Block,
    Code,
    Column,
    Contents,
    Document,
    Figure,
    Figures,
    Heading,
    Listing,
    Paragraph,
    Row,
    Table,
    meta,
    say,
)
from dashboards.feature_cards import card_lists
from dashboards.reports import Report
from dashboards.reports._origin import Origin, cost, facts, lost, origins, repeat
from dashboards.reports._scores import score_blocks, spread, tiles

MOST_POINTS = 2400
"""Features on the map; more would only make the page heavy."""
CARDS = 8
"""Features in the longest list."""
MOST_CLUSTERS = 20
Found = Mapping[str, Any]
ASK = (
    'featlas query "select feature, label, score from labels where q < 0.05 order by score_low desc limit 20"',
    "featlas query \"select * from scoreboard where metric = 'headline'\"",
    "featlas query \"select scorer, control, reason, count(*) as n from judgments where state = 'lost' group by all\"",
)


@dataclass(frozen=True)
class RunReport:
    def write(self, reader: queries.Reader, *, command: str) -> Document:
        found = origins(reader)
        blocks: list[Block] = [] if found else list(_nothing())
        for number, origin in enumerate(found, start=1):
            blocks += _chapter(reader, origin, number)
        blocks += [Heading("What it cost", anchor="cost"), *cost(reader)]
        blocks += [Heading("Again", anchor="again"), *repeat(reader, command)]
        title = f"Featlas report: {found[0].feature_set}" if found else "Featlas report"
        return Document("report", title, (*blocks, *_ask_more()))


def create() -> Report:
    """The report of everything in a workspace."""
    return RunReport()


def _nothing() -> Iterator[Block]:
    yield Paragraph(("Featlas report",), "kicker")
    yield Heading("Nothing is sampled yet", 1)
    yield Paragraph(
        ("The workspace holds no sample. ", Code("featlas run"), " makes one; then write the report again."), "lede"
    )


def _chapter(reader: queries.Reader, origin: Origin, number: int) -> Iterator[Block]:
    """Everything about one feature set."""
    yield Paragraph(("Featlas report",), "kicker")
    yield Heading(origin.feature_set, 1)
    yield _lede(reader, origin)
    yield from tiles(origin.tables[0] if origin.tables else None)
    places = {"Scores": "scores", "Features": "features", "Map": "map", "What failed": "lost"}
    links = [(words, f"{anchor}-{number}") for words, anchor in places.items()]
    yield Contents((*links, ("Cost", "cost"), ("Again", "again"), ("Ask more", "query")))
    yield facts(reader, origin)
    yield Heading("How good are the labels?", anchor=f"scores-{number}")
    if origin.tables:
        yield from score_blocks(reader, origin)
        yield from spread(reader, origin)
    else:
        yield say("No score yet: ", Code("featlas score"), " computes them, or says why it can't.")
    yield Heading("Features, good and bad", anchor=f"features-{number}")
    yield from _features(reader, origin)
    yield Heading("The map", anchor=f"map-{number}")
    yield from _map(reader, origin)
    yield Heading("What failed or was lost", anchor=f"lost-{number}")
    yield from lost(origin.losses, file="losses.csv")


def _lede(reader: queries.Reader, origin: Origin) -> Paragraph:
    n_features, n_tokens = (text.count(origin.sample[name]) for name in ("n_features", "n_tokens"))
    asked = f"What do the {n_features} features of this dictionary respond to? "
    n_labeled = queries.label_count(reader, origin.sample_id)
    if not n_labeled:
        return Paragraph((asked, "No feature has a label yet: ", Code("featlas label"), " writes them."), "lede")
    written = f"{text.plural(n_labeled, 'feature')} got a label, written from {n_tokens} tokens of text. "
    if not origin.tables or not origin.tables[0].true_headline:
        none = "No label has a grade yet: ", Code("featlas score"), " gives them, or says why it can't."
        return Paragraph((asked, written, *none), "lede")
    graded = "Each label was then graded by how well it predicts, in text that the labeler never saw, where its feature fires."
    return Paragraph((asked, written, graded), "lede")


def _features(reader: queries.Reader, origin: Origin) -> Iterator[Block]:
    """The best, the most deceptive and the worst labels."""
    lists = card_lists(reader, origin.sample_id, most=CARDS)
    if not lists:
        yield say("No labeled feature has a score yet.")
        return
    yield say(
        "Windows of text that the labeler never saw. Shading is activation, up to the feature's largest; a word with a "
        "dotted line fires in one piece only. Beside it, how sure the judge was, from the label alone, that the feature "
        "fires there."
    )
    for listed in lists:
        yield Heading(listed.title, 3)
        yield say(listed.sentence)
        yield from listed.cards


def _map(reader: queries.Reader, origin: Origin) -> Iterator[Block]:
    clusters = queries.clusters(reader, origin.sample_id).to_dicts()
    points = queries.map_points(reader, origin.sample_id, MOST_POINTS).to_dicts()
    if not points and not clusters:
        yield say("No map yet: ", Code("featlas cluster"), " draws it.")
        return
    said = "Features whose directions in the model are similar lie close together. Color is the cluster."
    if points:
        if len(points) < points[0]["total"]:
            shown, total = text.count(len(points)), text.count(points[0]["total"])
            said += f" {shown} of {total} features are drawn, chosen evenly."
        yield say(said)
        yield from _drawn(points, clusters)
    if clusters:
        yield _clusters(clusters)
    if len(clusters) > MOST_CLUSTERS:
        all_of_them = f"The {MOST_CLUSTERS} largest of {text.count(len(clusters))} clusters; all are in "
        yield meta(all_of_them, Code("clusters.csv"), ".")


def _drawn(points: list[dict[str, Any]], clusters: list[dict[str, Any]]) -> Iterator[Block]:
    ranks = {cluster["cluster"]: rank for rank, cluster in enumerate(clusters)}
    marks = [
        {**point, "rank": ranks.get(point["cluster"]), "text": f"{point['feature']}: {_hover(point['label'])}"}
        for point in points
    ]
    names = list(_names(points, clusters))
    svg, n_written = map_charts.feature_map(marks, names)
    yield Figures((Figure(svg, "Map of the features, colored by cluster"),), wide=True)
    if n_written < len(names):
        left_out = text.plural(len(names) - n_written, "name")
        yield meta(f"{left_out} of large clusters would have covered others and stand in the table alone.")


def _clusters(clusters: list[dict[str, Any]]) -> Table:
    numbers = ("Features", "Labeled", "Mean score")
    rows = (
        Row(
            (
                text.shorten(row["name"] or "no name", 120), text.count(row["size"]), text.count(row["labeled"]),
                text.number(row["mean_score"], 2),
            ),
            color=cluster_color(rank),
        )
        for rank, row in enumerate(clusters[:MOST_CLUSTERS])
    )  # fmt: skip
    return Table((Column("Cluster"), *(Column(title, number=True) for title in numbers)), tuple(rows))


def _names(points: list[dict[str, Any]], clusters: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Names of the colored clusters, the largest first, each in the middle of its points."""
    for cluster in clusters[: len(CLUSTER_COLORS)]:
        own = [point for point in points if point["cluster"] == cluster["cluster"]]
        if own and cluster["name"]:
            middle = {axis: median(point[axis] for point in own) for axis in ("x", "y")}
            yield {**middle, "text": text.shorten(cluster["name"], 32, told=False)}


def _hover(label: str | None) -> str:
    return "no label" if label is None else text.shorten(label, 90, told=False)


def _ask_more() -> Iterator[Block]:
    yield Heading("Ask more", anchor="query")
    yield say("Everything here, and every window, judgment and request behind it, can be asked for with SQL:")
    yield Listing(ASK)
    yield say(
        "The tables lie beside this file: ", Code("labels.csv"), " (one row a feature), ", Code("scoreboard.csv"), ", ",
        Code("clusters.csv"), ", ", Code("status.csv"), ", ", Code("losses.csv"), ", ", Code("requests.csv"), ", ",
        Code("times.csv"), ".",
    )  # fmt: skip
