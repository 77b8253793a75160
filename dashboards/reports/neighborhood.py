"""A feature among its neighbors: similarities by each method, their labels and scores, and where they stand on the map."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from dashboards import feature_queries, map_charts, map_queries, queries, text
from dashboards.document import (
    Block,
    Card,
    Column,
    Document,
    Figure,
    Figures,
    Heading,
    Paragraph,
    Row,
    Table,
    meta,
    say,
)
from dashboards.feature_cards import facts_of, judged_bands, score_of
from dashboards.reports import Report
from dashboards.reports._origin import Origin, closing, origin_of, terms
from dashboards.reports.feature import Found, feature_row, needed, neighbor_tables, slug
from dashboards.wording import METRICS
from labeling.errors import FeatlasError

MOST = 10
"""Neighbors in the figure, and as many of theirs."""
SHOWN = {"top": 3}


@dataclass(frozen=True)
class Neighborhood:
    feature: int
    feature_set: str | None

    def write(self, reader: queries.Reader, *, command: str) -> Document:
        origin = origin_of(reader, self.feature_set)
        row = feature_row(reader, origin.sample, self.feature)
        near = feature_queries.neighbors(reader, origin.feature_set, origin.sample_id, self.feature)
        if not near:
            raise FeatlasError(
                f"Feature {self.feature} of {origin.feature_set} has no neighbors yet. Run `featlas cluster` first."
            )
        blocks: list[Block] = [
            Paragraph((f"Featlas: {origin.feature_set}",), "kicker"),
            Heading(f"Around feature {self.feature}", 1),
            Card(text.shorten(row["label"] or "No label yet"), score_of(row), (facts_of(row),),
                 judged_bands(reader, origin.sample_id, row, SHOWN)),
            Heading("On the map"),
            *_figure(reader, origin, self.feature),
            Heading("Neighbors"),
            say("The nearest features by each method. Similarity runs from −1 to 1, where 1 is the same; what it is measured on "
                "is what the method is named after."),
            *neighbor_tables(near),
            Heading("What tells them apart"),
            *_apart(near),
            terms([("headline", METRICS["headline"])]),
            *closing(reader, [origin], command=command),
        ]  # fmt: skip
        name = f"neighborhood-{slug(origin.feature_set)}-{self.feature}"
        return Document(name, f"Around feature {self.feature} of {origin.feature_set}", tuple(blocks))


def create(*, feature: int | None = None, feature_set: str | None = None) -> Report:
    """The surroundings of a feature. Raise UsageError where none is named."""
    return Neighborhood(needed(feature, "neighborhood"), feature_set)


def _figure(reader: queries.Reader, origin: Origin, feature: int) -> Iterator[Block]:
    around = map_queries.neighborhood(reader, origin.feature_set, origin.sample_id, feature, most=MOST)
    around = list({item["feature"]: item for item in reversed(around)}.values())[::-1]
    if not around or around[0]["step"] != 0:
        yield say("The feature has no place on the map.")
        return
    pairs = map_queries.links_between(reader, origin.feature_set, feature, [item["feature"] for item in around])
    svg, n_written = map_charts.neighborhood(around, pairs)
    yield Figures((Figure(svg, f"Feature {feature} among its neighbors on the map"),), wide=True)
    n_near = sum(item["step"] < 2 for item in around)
    left_out = f" {text.plural(n_near - n_written, 'label')} would have covered others and stand in the table alone."
    yield meta(
        "Lines join features that are neighbors, the thicker the more similar. A map of two dimensions tears some neighbors "
        f"apart.{left_out if n_written < n_near else ''}"
    )


def _apart(near: Sequence[Found]) -> Iterator[Block]:
    """Tokens that one of the two fires on and the other doesn't, among the strongest of each."""
    seen = {row["neighbor"]: row for row in reversed(near)}
    rows = [
        Row((str(row["neighbor"]), _listed(row["only_here"]), _listed(row["only_there"])))
        for row in reversed(seen.values())
        if row["only_here"] or row["only_there"]
    ]
    if not rows:
        yield say("Their strongest tokens are the same, or were not counted.")
        return
    columns = Column("Neighbor", True), Column("Only this feature fires on"), Column("Only the neighbor fires on")
    yield Table(columns, tuple(rows))


def _listed(tokens: list[str] | None) -> str:
    return (
        " · ".join(text.shorten(token.strip() or "(space)", 24, told=False) for token in (tokens or [])[:8])
        or text.MISSING
    )
