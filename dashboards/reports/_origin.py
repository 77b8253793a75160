"""What every report states of where its numbers come from: text, models, seeds, failures, cost, versions, commands."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from dashboards import queries, text
from dashboards.document import (
    Block,
    Code,
    Column,
    Definition,
    Facts,
    Fold,
    Heading,
    Listing,
    Pieces,
    Row,
    Share,
    Shares,
    Table,
    Terms,
    join,
    meta,
    say,
)
from dashboards.score_tables import ScoreTable, score_tables
from dashboards.wording import STATUSES, Term, control
from labeling.config import config_text
from labeling.errors import FeatlasError, unknown_name

Found = Mapping[str, Any]
MOST_LOSSES = 40
CONFIG_FILE = "featlas.toml"


@dataclass(frozen=True)
class Origin:
    """One sample and what belongs to it."""

    sample: Found
    controls: tuple[Found, ...]
    """Samples of the feature sets that are controls for it."""
    statuses: tuple[Found, ...]
    splits: tuple[Found, ...]
    corpus_problems: tuple[Found, ...]
    tables: tuple[ScoreTable, ...]
    losses: tuple[Found, ...]
    seeds: tuple[tuple[str, int], ...]

    @property
    def sample_id(self) -> str:
        return str(self.sample["sample_id"])

    @property
    def feature_set(self) -> str:
        return str(self.sample["feature_set"])

    @property
    def n_lost(self) -> int:
        return sum(row["n"] for row in self.losses)


def origins(reader: queries.Reader) -> tuple[Origin, ...]:
    """Every feature set that is no control, by its newest sample."""
    every = queries.samples(reader).to_dicts()
    return tuple(_origin(reader, sample, every) for sample in every if sample["control_for"] is None)


def origin_of(reader: queries.Reader, feature_set: str | None) -> Origin:
    """The named feature set, or the first one. Raise UsageError for an unknown name, FeatlasError where nothing is sampled."""
    every = queries.samples(reader).to_dicts()
    if not every:
        raise FeatlasError("The workspace holds no sample yet. `featlas sample` or `featlas run` makes one.")
    for sample in every:
        if feature_set in (None, sample["feature_set"]):
            return _origin(reader, sample, every)
    raise unknown_name("feature set", str(feature_set), [sample["feature_set"] for sample in every])


def _origin(reader: queries.Reader, sample: Found, every: Sequence[Found]) -> Origin:
    controls = tuple(other for other in every if other["control_for"] == sample["feature_set"])
    board = queries.scoreboard(reader, sample["feature_set"]).to_dicts()
    losses = (
        {**row, "feature_set": owner["feature_set"]}
        for owner in (sample, *controls)
        for row in queries.losses(reader, owner["sample_id"]).to_dicts()
    )
    return Origin(
        sample=sample,
        controls=controls,
        statuses=tuple(queries.status_counts(reader, sample["sample_id"]).to_dicts()),
        splits=tuple(queries.split_counts(reader, sample["corpus_id"]).to_dicts()),
        corpus_problems=tuple(queries.corpus_problems(reader, sample["corpus_id"]).to_dicts()),
        tables=score_tables(board, tau=queries.TAU),
        losses=tuple(losses),
        seeds=_seeds(reader, sample),
    )


def _seeds(reader: queries.Reader, sample: Found) -> tuple[tuple[str, int], ...]:
    """Seeds by what was drawn with them: of the sample, of the clustering, and others that the newest config names."""
    seeds = {"sampling": sample["seed"]}
    for row in queries.clusterings(reader, sample["feature_set"]).to_dicts():
        seeds["clusters and map"] = row["seed"]
    run = queries.newest_run(reader).to_dicts()
    for section, values in json.loads((run[0]["config"] if run else None) or "{}").items():
        if isinstance(values, dict) and section != "sample" and isinstance(values.get("seed"), int):
            seeds.setdefault(f"section {section} of the config", values["seed"])
    return tuple((name, seed) for name, seed in seeds.items() if seed is not None)


def facts(reader: queries.Reader, origin: Origin) -> Facts:
    """What was read, by what, with which seeds; how the features divide, and whether anything was lost."""
    s = origin.sample
    rows: list[tuple[str, Pieces]] = [
        ("Model", (f"{s['model']}, read at ", Code(s["hook"]))),
        ("Dictionary", (f"{s['dictionary']}, {s['architecture']}, {text.count(s['n_features'])} features of width "
                        f"{text.count(s['d_model'])}",)),
        ("Corpus", (_corpus(origin),)),
        ("Splits", (_splits(origin),)),
        ("Explainer", (_who(origin, 0, "no label yet"),)),
        ("Judge", (_who(origin, 2, "no score yet"),)),
        ("Controls", _controls(origin)),
        ("Seeds", (", ".join(f"{name} {seed}" for name, seed in origin.seeds) or text.MISSING,)),
        ("Made by", _made_by(reader)),
    ]  # fmt: skip
    return Facts(tuple(rows), _shares(origin))


def _corpus(origin: Origin) -> str:
    s = origin.sample
    read = (
        f"{s['corpus']}: {text.count(s['n_documents'])} documents, {text.count(s['n_tokens'])} tokens, "
        f"{text.count(s['n_windows'])} windows of {s['window_tokens']} tokens"
    )
    problems = ", ".join(f"{row['problem']} {text.count(row['n'])}" for row in origin.corpus_problems)
    return f"{read}; left out or mended: {problems}" if problems else read


def _splits(origin: Origin) -> str:
    parts = ", ".join(f"{row['split']} {text.plural(row['documents'], 'document')}" for row in origin.splits)
    return f"{parts or text.MISSING}. No document is in two of them"


def _who(origin: Origin, place: int, nobody: str) -> str:
    """Explainers (place 0 of a maker) or judges (place 2), each with its language model."""
    makers = dict.fromkeys(table.maker[place : place + 2] for table in origin.tables if table.maker[place])
    said = [f"{name} ({model})" if model else f"{name} (no language model)" for name, model in makers]
    return ", ".join(said) or nobody


def _controls(origin: Origin) -> Pieces:
    """Feature sets that are controls."""
    sets: list[Pieces] = [
        (Code(other["feature_set"]), f" ({other['model']}, {text.count(other['n_tokens'])} tokens)")
        for other in origin.controls
    ]
    return join(sets) or ("no random-weights feature set",)


def _made_by(reader: queries.Reader) -> Pieces:
    run = queries.newest_run(reader).to_dicts()
    if not run:
        return (text.MISSING,)
    newest = run[0]
    typed = newest["command"] or "run"
    typed = typed if typed.startswith("featlas") else f"featlas {typed}"
    rest = f" (Featlas {newest['version']}, config {newest['config_hash']}, {newest['state']})"
    return (Code(typed), rest)


def _shares(origin: Origin) -> Shares:
    parts = tuple(
        Share(row["status"], row["features"], STATUSES.get(row["status"], Term("", "")).sentence)
        for row in origin.statuses
    )
    note = (
        "What failed or was lost is counted below, never scored as 0."
        if origin.n_lost
        else "Nothing failed or was lost."
    )
    return Shares("Features by status", parts, (note,))


def lost(rows: Sequence[Found], *, file: str | None = None) -> list[Block]:
    """What failed, by stage and reason. `file` is written beside the report and holds all lines; None where there is none."""
    if not rows:
        return [say("Nothing: every label was written and every judgment answered.")]
    blocks: list[Block] = [
        say(
            "Nothing here was turned into a score: what is lost is counted and left out. Running the same command again "
            "asks again for what a provider failed to answer."
        ),
        lost_table(rows[:MOST_LOSSES]),
    ]
    if len(rows) > MOST_LOSSES:
        first = f"The first {MOST_LOSSES} of {text.count(len(rows))} lines"
        blocks.append(meta(f"{first}; all are in ", Code(file), ".") if file else meta(f"{first}."))
    return blocks


def lost_table(rows: Iterable[Found]) -> Table:
    columns = ("Stage", "By", "Labels", "How many", "What", "Feature set", "Why")
    return Table(
        tuple(Column(title, number=title == "How many") for title in columns),
        tuple(
            Row((
                row["stage"], row["who"], control(row["control"]).title if row["stage"] == "score" and row["who"] else "",
                text.count(row["n"]), row["what"], row.get("feature_set", "all"), row["reason"],
            ))
            for row in rows
        ),
    )  # fmt: skip


def cost(reader: queries.Reader) -> list[Block]:
    """What language models were asked, what it cost, and how long the stages took."""
    requests, failed = queries.request_cost(reader).to_dicts(), queries.failed_requests(reader).to_dicts()
    blocks: list[Block] = []
    if requests:
        blocks.append(_requests(requests))
        for name, said in (
            ("uncounted", "The server did not say how many tokens {} took; they are not in the sum."),
            ("unpriced", "The cost of {} is not known and not in the sum."),
        ):
            if n := sum(row[name] for row in requests):
                blocks.append(meta(said.format(text.plural(n, "request"))))
    else:
        blocks.append(say("No language model was asked: labels and scores were made offline, for nothing."))
    if failed:
        blocks.append(lost_table(failed))
    times = queries.stage_times(reader).to_dicts()
    if times:
        rows = (Row((row["stage"], text.seconds(row["seconds"]), text.count(row["shards"]))) for row in times)
        columns = Column("Stage"), Column("Time", number=True), Column("Shards", number=True)
        blocks.append(Table(columns, tuple(rows), "small"))
    return blocks


def _requests(requests: Iterable[Found]) -> Table:
    numbers = ("Requests", "Failed", "Tokens in", "of them cached", "Tokens out", "US dollars")
    counted = ("requests", "failed", "input_tokens", "cached_input_tokens", "output_tokens")
    return Table(
        (Column("Asked for"), Column("Model"), *(Column(title, number=True) for title in numbers)),
        tuple(
            Row(
                (
                    row["purpose"],
                    row["model"],
                    *(text.count(row[name]) for name in counted),
                    text.dollars(row["cost_usd"]),
                )
            )
            for row in requests
        ),
    )


def terms(*groups: Iterable[tuple[str, Term]]) -> Terms:
    """Definitions of what is shown, each once; those without a sentence are explained by the one before."""
    seen = {(name, term.title): term for group in groups for name, term in group}
    return Terms(tuple(Definition(title, name, term.sentence) for (name, title), term in seen.items() if term.sentence))


def repeat(reader: queries.Reader, command: str) -> list[Block]:
    """The commands that make the numbers and this report again, and the versions that did."""
    run = queries.newest_run(reader).to_dicts()
    config = config_text((run[0]["config"] if run else None) or "{}")
    if not config:
        return [say("No run has left its config here, so only this report can be made again:"), Listing((command,))]
    return [
        say("With the file below, the first command makes the numbers again; the second one makes this report."),
        Listing((f"featlas run --config {CONFIG_FILE}", command)),
        meta(
            f"Numbers by Featlas {run[0]['version']}, report by Featlas {version('featlas')}; config {run[0]['config_hash']}."
        ),
        Fold(CONFIG_FILE, (Listing(tuple(config.splitlines())),)),
    ]


def closing(reader: queries.Reader, found: Sequence[Origin], *, command: str) -> list[Block]:
    """The end of every report: where its numbers come from, what failed, what it cost, how to repeat it."""
    blocks: list[Block] = [Heading("Where this comes from", anchor="origin")]
    for origin in found:
        if len(found) > 1:
            blocks.append(Heading(origin.feature_set, level=3))
        blocks.append(facts(reader, origin))
    losses = [row for origin in found for row in origin.losses]
    blocks += [Heading("What failed or was lost", anchor="lost"), *lost(losses)]
    blocks += [Heading("What it cost", anchor="cost"), meta("Of the whole workspace."), *cost(reader)]
    return [*blocks, Heading("Again", anchor="again"), *repeat(reader, command)]
