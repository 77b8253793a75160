"""One feature on a card: its text, every label with its scores, its neighbors, its tags, and where all that comes from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from dashboards import feature_queries, queries, text
from dashboards.document import (
    Block,
    Card,
    Cell,
    Code,
    Column,
    Document,
    Facts,
    Heading,
    Measured,
    Paragraph,
    Row,
    Table,
    meta,
    say,
)
from dashboards.feature_cards import facts_of, judged_bands, score_of
from dashboards.reports import Report
from dashboards.reports._origin import closing, origin_of, terms
from dashboards.wording import STATUSES, Term, control, metric, metric_order, scale_of
from labeling.errors import UsageError

SHOWN = {
    "top": 6,
    "q5": 3,
    "q4": 3,
    "q3": 3,
    "q2": 3,
    "q1": 3,
    "hard_token": 3,
    "hard_neighbor": 3,
    "hard_text": 3,
    "random": 3,
}
"""Windows shown of each stratum."""
MOST_TOKENS = 20
Found = Mapping[str, Any]


@dataclass(frozen=True)
class FeatureCard:
    feature: int
    feature_set: str | None

    def write(self, reader: queries.Reader, *, command: str) -> Document:
        origin = origin_of(reader, self.feature_set)
        row = feature_row(reader, origin.sample, self.feature)
        title = f"Feature {self.feature} of {origin.feature_set}"
        blocks: list[Block] = [
            Paragraph((f"Featlas: {origin.feature_set}",), "kicker"),
            Heading(f"Feature {self.feature}", 1),
            _facts(row),
            Heading("Where it fires and where not"),
            *_contexts(reader, origin.sample_id, row),
            Heading("Labels and their scores"),
            *_labels(reader, origin.sample_id, self.feature),
            Heading("Tokens it fires on"),
            *_tokens(reader, origin.sample_id, self.feature),
            *_logits(reader, origin.sample_id, self.feature),
            Heading("Neighbors"),
            *_neighbors(reader, origin.sample, self.feature),
            Heading("Tags"),
            *_tags(reader, origin.sample_id, self.feature),
            *closing(reader, [origin], command=command),
        ]
        return Document(f"feature-{slug(origin.feature_set)}-{self.feature}", title, tuple(blocks))


def create(*, feature: int | None = None, feature_set: str | None = None) -> Report:
    """The card of a feature. Raise UsageError where none is named."""
    return FeatureCard(needed(feature, "feature"), feature_set)


def needed(feature: int | None, kind: str) -> int:
    """The feature a report is about. Raise UsageError where none is named."""
    if feature is None:
        raise UsageError(f"The report {kind} is about one feature; name it with --feature NUMBER.")
    return feature


def feature_row(reader: queries.Reader, sample: Found, number: int) -> Found:
    """The feature's row of `labels`. Raise UsageError for a number that the dictionary does not have."""
    found = feature_queries.feature(reader, sample["sample_id"], number)
    if not found:
        raise UsageError(
            f"There is no feature {number} in {sample['feature_set']}: its features are 0 to {sample['n_features'] - 1}."
        )
    row: Found = found[0]
    return row


def slug(name: str) -> str:
    """A name as a part of a file's name."""
    return "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "-" for c in name)[:60].strip(".-") or "set"


def _facts(row: Found) -> Facts:
    status = STATUSES.get(row["status"], Term("", "")).sentence
    tau = text.number(row["tau"], 3), text.number(row["max_activation"], 3)
    named = [("Name", (row["name"],))] if row["name"] else []
    cluster = [("Cluster", (text.shorten(row["cluster_name"]),))] if row["cluster_name"] else []
    fires = f"on {text.count(row['firing_tokens'])} of {text.count(row['n_tokens'])} tokens ({text.percent(row['firing_rate'])})"
    return Facts((
        *named,
        ("Status", (f"{row['status']}: {status}" if status else row["status"],)),
        ("Fires", (fires,)),
        ("Activation", (f"at most {tau[1]} (raw); counts as firing above {tau[0]}",)),
        *cluster,
    ))  # fmt: skip


def _contexts(reader: queries.Reader, sample_id: str, row: Found) -> Iterator[Block]:
    bands = judged_bands(reader, sample_id, row, SHOWN)
    title = text.shorten(row["label"]) if row["label"] else "No label yet"
    yield Card(title, score_of(row), (facts_of(row),), bands)
    if bands:
        yield meta(
            "Text that the labeler never saw. Shading is activation, up to the feature's largest. Beside it, how sure the "
            "judge was, from the label alone, that the feature fires there."
        )
        yield terms([(band.stratum, band.term) for band in bands])
    else:
        yield say("No windows of held-out text were kept for this feature.")


def _labels(reader: queries.Reader, sample_id: str, number: int) -> Iterator[Block]:
    explanations = feature_queries.explanations(reader, sample_id, number)
    scores = feature_queries.scores(reader, sample_id, number)
    if not explanations:
        yield say("No explainer has labeled this feature yet: ", Code("featlas label"), " does.")
    for explanation in explanations:
        yield Heading(text.shorten(explanation["text"] or "no label"), 3)
        yield meta(_written_by(explanation))
        own = [s for s in scores if s["explanation_id"] == explanation["explanation_id"] and s["control"] is None]
        if own:
            yield _scores(own)
    others = [s for s in scores if s["control"] is not None and s["metric"] == "headline"]
    if others:
        yield Heading("Labels that stood in for its own, as controls", 3)
        yield meta(metric("headline").title)
        yield _scores(others, of="Label")
    shown = sorted({s["metric"] for s in scores}, key=metric_order)
    stood_in = sorted({s["control"] for s in others})
    if scores:
        yield meta("Strips run from 0 to 1, or from −1 where a metric can be negative; the tick is chance.")
        yield terms([(name, metric(name)) for name in shown], [(name, control(name)) for name in stood_in])


def _written_by(explanation: Found) -> str:
    model = f" ({explanation['explainer_model']})" if explanation["explainer_model"] else ""
    said = [f"by {explanation['explainer']}{model}", f"prompt {explanation['prompt_version'] or text.MISSING}"]
    if explanation["state"] == "failed":
        said.append(f"failed: {explanation['reason'] or 'no reason given'}")
    if explanation["repeat"]:
        said.append(f"repeat {explanation['repeat']}")
    cost = "cost not known" if explanation["cost_usd"] is None else f"cost {text.dollars(explanation['cost_usd'])}"
    return " · ".join([*said, cost])


def _scores(rows: Sequence[Found], *, of: Literal["Metric", "Label"] = "Metric") -> Table:
    """Scores of one label by metric, or of several labels by one metric."""
    columns = Column("Scorer"), Column(of), Column("Score", True), Column("Judgments", True), Column("Lost", True)
    ordered = sorted(rows, key=lambda row: (row["scorer"], metric_order(row["metric"]), row["control"] or ""))
    return Table(columns, tuple(Row(_score_cells(row, of)) for row in ordered))


def _score_cells(row: Found, of: Literal["Metric", "Label"]) -> tuple[Cell, ...]:
    judge = f"{row['scorer']} ({row['judge_model']})" if row["judge_model"] else row["scorer"]
    term = metric(row["metric"])
    chance = row["chance"] if row["chance"] is not None else term.chance
    value: Cell = f"unscored: {row['reason'] or 'no reason given'}"
    if row["value"] is not None:
        scale = scale_of(chance, (row["value"], row["low"], row["high"]))
        value = Measured(row["value"], row["low"], row["high"], chance, scale.start, scale.end)
    what = term.title if of == "Metric" else control(row["control"]).title
    return judge, what, value, text.count(row["n_items"]), text.count(row["n_lost"])


def _tokens(reader: queries.Reader, sample_id: str, number: int) -> Iterator[Block]:
    rows = feature_queries.tokens(reader, sample_id, number)[:MOST_TOKENS]
    if not rows:
        yield say("None were counted.")
        return
    columns = Column("Token"), Column("Mean activation (raw)", True), Column("Occurrences", True)
    yield Table(
        columns,
        tuple(
            Row(
                (
                    Code(text.shorten(row["token"], 80)),
                    text.number(row["mean_activation"], 2),
                    text.count(row["occurrences"]),
                )
            )
            for row in rows
        ),
        "small",
    )


def _logits(reader: queries.Reader, sample_id: str, number: int) -> Iterator[Block]:
    rows = feature_queries.logits(reader, sample_id, number)
    if not rows:
        return
    yield Heading("Tokens it makes more and less likely")
    columns = Column("Token"), Column("Logit", True)
    cells = ((Code(text.shorten(row["token"], 80)), text.number(row["logit"], 2)) for row in rows)
    yield Table(columns, tuple(Row(each) for each in cells), "small")


def _neighbors(reader: queries.Reader, sample: Found, number: int) -> Iterator[Block]:
    rows = feature_queries.neighbors(reader, sample["feature_set"], sample["sample_id"], number)
    if not rows:
        yield say("None yet: ", Code("featlas cluster"), " finds them.")
    yield from neighbor_tables(rows)


def neighbor_tables(rows: Sequence[Found]) -> Iterator[Block]:
    """A table for each method that finds neighbors."""
    for method in dict.fromkeys(row["method"] for row in rows):
        yield Heading(f"By {method}", 3)
        columns = (
            Column("Feature", True),
            Column("Similarity", True),
            Column("Label"),
            Column("Score", True),
            Column("Fires on", True),
        )
        yield Table(
            columns,
            tuple(
                Row((str(row["neighbor"]), text.number(row["similarity"], 3), text.shorten(row["label"] or "no label", 120),
                     score_of(row), text.percent(row["firing_rate"])))
                for row in rows
                if row["method"] == method
            ),
        )  # fmt: skip


def _tags(reader: queries.Reader, sample_id: str, number: int) -> Iterator[Block]:
    rows = feature_queries.tags(reader, sample_id, number)
    if not rows:
        yield say("None.")
        return
    cells = (
        (row["tag"], row["tagger"], row["stance"], row["state"], text.count(len(row["evidence"] or []))) for row in rows
    )
    columns = Column("Tag"), Column("By"), Column("Stance"), Column("State"), Column("Windows", True)
    yield Table(columns, tuple(Row(each) for each in cells))
