"""Tags: how many features have each, who gave them, how settled they are, and the best-labeled features of each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from dashboards import queries, tag_queries, text
from dashboards.document import Block, Code, Column, Document, Heading, Measured, Paragraph, Row, Table, meta, say
from dashboards.feature_cards import score_of
from dashboards.reports import Report
from dashboards.reports._origin import Origin, closing, origin_of, terms
from dashboards.wording import METRICS

MOST_TAGS, EXAMPLES = 60, 5


@dataclass(frozen=True)
class TagReport:
    feature_set: str | None

    def write(self, reader: queries.Reader, *, command: str) -> Document:
        origin = origin_of(reader, self.feature_set)
        blocks: list[Block] = [
            Paragraph(("Featlas tags",), "kicker"),
            Heading(origin.feature_set, 1),
            *_tags(reader, origin),
            *closing(reader, [origin], command=command),
        ]
        return Document("tags", f"Tags: {origin.feature_set}", tuple(blocks))


def create(*, feature_set: str | None = None) -> Report:
    """The tags of a feature set; of the first one where none is named."""
    return TagReport(feature_set)


def _tags(reader: queries.Reader, origin: Origin) -> Iterator[Block]:
    counts = tag_queries.tag_counts(reader, origin.sample_id).to_dicts()
    if not counts:
        yield Paragraph(("No feature has a tag.",), "lede")
        yield say(
            "Tags are rows of the table ", Code("tags"), ": a feature, a tag, who gave it and the windows it rests on. None of "
            "the stages of ", Code("featlas run"), " writes them in this workspace; once rows are there and published, this "
            "report counts them.",
        )  # fmt: skip
        return
    n = tag_queries.tagged_features(reader, origin.sample_id)
    share = text.percent(n / origin.sample["n_features"])
    yield Paragraph(
        (f"{text.plural(n, 'feature')} of {text.count(origin.sample['n_features'])} ({share}) have a tag.",), "lede"
    )
    yield Heading("Every tag")
    columns = (
        Column("Tag"),
        Column("By"),
        Column("Stance"),
        Column("State"),
        Column("Features", True),
        Column("Mean score", True),
    )
    yield Table(
        columns,
        tuple(
            Row((text.shorten(row["tag"], 120), row["tagger"], row["stance"], row["state"], text.count(row["features"]),
                 None if row["mean_score"] is None else Measured(row["mean_score"], chance=0.5)))
            for row in counts[:MOST_TAGS]
        ),
    )  # fmt: skip
    if len(counts) > MOST_TAGS:
        yield meta(
            f"The {MOST_TAGS} commonest of {text.count(len(counts))} lines; all are in the table ", Code("tags"), "."
        )
    yield terms([("headline", METRICS["headline"])])
    yield Heading("Features of each tag")
    for tag in list(dict.fromkeys(row["tag"] for row in counts))[:MOST_TAGS]:
        yield Heading(text.shorten(tag, 120), 3)
        rows = tag_queries.tagged(reader, origin.sample_id, tag, EXAMPLES).to_dicts()
        yield Table(
            (Column("Feature", True), Column("Label"), Column("Score", True)),
            tuple(
                Row((str(row["feature"]), text.shorten(row["label"] or "no label", 120), score_of(row))) for row in rows
            ),
        )
