"""The scoreboard of a feature set: every explainer and judge beside its controls, what was lost, and what a label cost."""

from __future__ import annotations

from dataclasses import dataclass

from dashboards import queries, text
from dashboards.document import Block, Column, Contents, Document, Heading, Paragraph, Row, Table, meta, say
from dashboards.reports import Report
from dashboards.reports._origin import Origin, closing, origin_of
from dashboards.reports._scores import score_blocks, spread, tiles
from labeling.errors import FeatlasError


@dataclass(frozen=True)
class ScoreboardReport:
    feature_set: str | None

    def write(self, reader: queries.Reader, *, command: str) -> Document:
        origin = origin_of(reader, self.feature_set)
        if not origin.tables:
            raise FeatlasError(f"{origin.feature_set} has no scores yet. Run `featlas score` first.")
        blocks: list[Block] = [
            Paragraph(("Featlas scoreboard",), "kicker"),
            Heading(origin.feature_set, 1),
            Paragraph(("Means over features: how well labels predict, in text that the labeler never saw, where their feature "
                       "fires.",), "lede"),
            *tiles(origin.tables[0]),
            Contents((("Scores", "scores"), ("Cost of a label", "each"), ("Origin", "origin"), ("What failed", "lost"),
                      ("Cost", "cost"), ("Again", "again"))),
            Heading("Scores", anchor="scores"),
            *score_blocks(reader, origin),
            *spread(reader, origin),
            Heading("What a label cost", anchor="each"),
            *_cost_each(origin),
            *closing(reader, [origin], command=command),
        ]  # fmt: skip
        return Document("scoreboard", f"Scoreboard: {origin.feature_set}", tuple(blocks))


def create(*, feature_set: str | None = None) -> Report:
    """The scoreboard of a feature set; of the first one where none is named."""
    return ScoreboardReport(feature_set)


def _cost_each(origin: Origin) -> list[Block]:
    """What judging took: requests, tokens and dollars of each table, and of one of its labels."""
    numbers = ("Labels judged", "Without a score", "Requests", "Tokens of a label", "US dollars", "US dollars a label")
    rows = []
    for table in origin.tables:
        head = table.true_headline
        if head is None:
            continue
        n, tokens = head["n_features"], (head["input_tokens"], head["output_tokens"])
        tokens_each = None if None in tokens or not n else round(sum(tokens) / n)
        dollars_each = None if head["cost_usd"] is None or not n else head["cost_usd"] / n
        rows.append(Row((
            table.title, text.count(n), text.count(head["n_unscored"]), text.count(head["requests"]), text.count(tokens_each),
            text.dollars(head["cost_usd"]), text.dollars(dollars_each),
        )))  # fmt: skip
    if not rows:
        return [say("No label of its own was judged.")]
    said = "Judging the true labels alone, all metrics together; their controls cost as much again, each."
    return [Table((Column("Labels and judge"), *(Column(title, True) for title in numbers)), tuple(rows)), meta(said)]
