"""What an export says about itself, in Markdown: how it was made, what the labels are worth, what the columns mean.

Names, reasons and commands come from corpora, files and models: they are shown as code, in which nothing is obeyed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from dashboards import queries
from dashboards.export_queries import Table, commands, headlines, labeling_counts
from dashboards.queries import Reader
from dashboards.text import count, interval, number, shorten, visible
from dashboards.wording import control

LONGEST = 200
Row = Sequence[str]


def code(value: object) -> str:
    """Any text as code in one line of a table; a dash for None."""
    if value is None or value == "":
        return "–"
    text = shorten(visible(str(value)), LONGEST).replace("`", "'").replace("|", "\\|")
    return f"`{text}`"


def table(names: Row, rows: Iterable[Row]) -> str:
    lines = [names, ["---"] * len(names), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def how_it_was_made(reader: Reader, sample: Mapping[str, Any]) -> str:
    """Corpus, dictionary, model, seed, features by state, labels and failures, and the commands."""
    facts = [
        ("feature set", code(sample["feature_set"])),
        ("model", code(sample["model"])),
        ("place in the model", code(sample["hook"])),
        (
            "dictionary",
            f"{code(sample['dictionary'])}, {code(sample['architecture'])}, {count(sample['n_features'])} features",
        ),
        (
            "corpus",
            f"{code(sample['corpus'])}, {count(sample['n_documents'])} documents, {count(sample['n_tokens'])} tokens",
        ),
        ("windows", f"{count(sample['n_windows'])} of {count(sample['window_tokens'])} tokens"),
        ("seed", count(sample["seed"])),
        ("sample", code(sample["sample_id"])),
        ("features by state", _statuses(reader, sample["sample_id"])),
    ]
    ran = commands(reader).tail(20).rows(named=True)
    written = "\n".join(f"- {code(run['command'])} (Featlas {code(run['version'])})" for run in ran)
    return "\n\n".join(
        [table(("what", "value"), facts), _labelings(reader, sample["sample_id"]), f"Commands, in order:\n\n{written}"]
    )


def _statuses(reader: Reader, sample_id: str) -> str:
    rows = queries.status_counts(reader, sample_id).rows()
    return ", ".join(f"{n:,} {status}" for status, n in rows) or "–"


def _labelings(reader: Reader, sample_id: str) -> str:
    """Labels and failures of every explainer: a failure is a count with a reason, never a label."""
    rows = labeling_counts(reader, sample_id).rows(named=True)
    if not rows:
        return "No explainer has written labels yet."
    lines = [
        (code(r["explainer"]), code(r["explainer_model"]), code(r["state"]), code(r["reason"]), count(r["n"]))
        for r in rows
    ]
    return table(("explainer", "model", "state", "reason", "features"), lines)


def what_scores_say(reader: Reader, feature_set: str) -> str:
    """Mean headline scores beside their controls."""
    rows = headlines(reader, feature_set).rows(named=True)
    if not rows:
        return "Nothing was scored yet, so nothing is known about how good these labels are."
    lines = [
        (
            control(r["control"]).title,
            code(r["explainer"]),
            code(r["explainer_model"]),
            code(r["scorer"]),
            code(r["judge_model"]),
            number(r["mean"]),
            interval(r["low"], r["high"], 3),
            count(r["n_features"]),
            count(r["n_unscored"]),
        )
        for r in rows
    ]
    names = (
        "labels",
        "explainer",
        "model",
        "scorer",
        "judge",
        "mean headline",
        "95 % interval",
        "features",
        "unscored",
    )
    return f"{HEADLINE}\n\n{table(names, lines)}"


HEADLINE = (
    "The headline score says how well a judge who reads only the label predicts where the feature fires, in text that the "
    "explainer never saw. 1 is perfect; a label that says nothing lands at or below 0.5. Read true labels against the shuffled "
    "ones of the same scorer, not against 0.5."
)


def what_columns_mean(tables: Iterable[Table], *, level: int = 2) -> str:
    """The data dictionary of some tables."""
    parts = []
    for one in tables:
        lines = [(f"`{column}`", kind, meaning) for column, kind, meaning in one.columns]
        parts.append(f"{'#' * level} {one.name}\n\n{one.comment}\n\n{table(('column', 'type', 'meaning'), lines)}")
    return "\n\n".join(parts)
