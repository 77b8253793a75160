"""What exports ask of a snapshot: labels, and whole tables, in pieces of bounded size. SQL and the frames it gives; no files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from dashboards.queries import TAU, Reader, samples
from labeling.errors import FeatlasError, UsageError, unknown_name
from labeling.evidence import TABLES, scan_files, shard_files
from labeling.selection import EVERYTHING, Selection, select_features
from labeling.statements import quoted
from labeling.store import data_dictionary
from labeling.workspace import Workspace

AT_ONCE = 20_000
"""Features, or rows of a table, in a piece."""


@dataclass(frozen=True)
class Choice:
    """Which labels: None stands for the only feature set, and for the labels that pages show."""

    feature_set: str | None = None
    explainer: str | None = None
    model: str | None = None
    """Language model of the explainer, as provider/model; of imported labels, their author."""
    features: Selection = EVERYTHING


@dataclass(frozen=True)
class Group:
    """An explainer with its model, and the scorer whose scores stand beside its labels."""

    explainer: str
    model: str | None
    scorer: str | None
    judge_model: str | None
    epoch: int | None


def chosen_sample(reader: Reader, feature_set: str | None) -> Mapping[str, Any]:
    """The newest sample of a feature set. Raise UsageError that lists the known ones when it can't be told which."""
    known = samples(reader).to_dicts()
    if feature_set is not None:
        found = [sample for sample in known if sample["feature_set"] == feature_set]
        if not found:
            raise unknown_name("feature set", feature_set, [sample["feature_set"] for sample in known])
        return found[0]
    real = [sample for sample in known if sample["control_for"] is None]
    if not real:
        raise FeatlasError("Nothing was sampled in this workspace yet. Run `featlas demo` or `featlas run` first.")
    if len(real) > 1:
        names = ", ".join(sample["feature_set"] for sample in real)
        raise UsageError(f"This workspace has several feature sets: {names}. Name one with --feature-set.")
    return real[0]


def label_pieces(reader: Reader, sample: Mapping[str, Any], choice: Choice) -> Iterator[pl.DataFrame]:
    """One row a chosen feature, in order: its label with score and interval, or the `reason` why there is none."""
    sample_id = sample["sample_id"]
    sql, parameters = _LABELS_SHOWN, ()
    if choice.explainer is not None or choice.model is not None:
        group = find_group(reader, sample_id, choice)
        sql = _LABELS_OF_A_GROUP
        parameters = (group.explainer, group.model, group.scorer, group.judge_model, group.epoch, TAU)  # type: ignore[assignment]
    last = reader.query("SELECT max(feature) AS last FROM features WHERE sample_id = ?", [sample_id])["last"][0]
    n_features = 0 if last is None else last + 1
    wanted = _wanted(reader, choice.features, n_features)
    for first in range(0, n_features, AT_ONCE):
        if wanted is None or len(wanted.filter(wanted.is_between(first, first + AT_ONCE - 1))):
            piece = reader.query(sql, [sample_id, first, first + AT_ONCE - 1, *parameters])
            yield piece if wanted is None else piece.filter(pl.col("feature").is_in(wanted.implode()))


def find_group(reader: Reader, sample_id: str, choice: Choice) -> Group:
    """Whose labels: the explainer's with the best-scoring judge. Raise UsageError when that is nobody's or several ones'."""
    known = reader.query(_LABELERS, [sample_id]).to_dicts()
    found = [k for k in known if choice.explainer in (None, k["explainer"]) and choice.model in (None, k["model"])]
    if len(found) == 1:
        labeler = (found[0]["explainer"], found[0]["model"])
        judged = reader.query(_BEST_JUDGE, [sample_id, *labeler, TAU]).rows()
        return Group(*labeler, *(judged[0] if judged else (None, None, None)))
    seen = "; ".join(f"--explainer {k['explainer']}" + (f" --model {k['model']}" if k["model"] else "") for k in known)
    asked = " ".join(
        f"--{name} {value}" for name, value in (("explainer", choice.explainer), ("model", choice.model)) if value
    )
    said = "stands for labels of several models" if found else "stands for no labels"
    raise UsageError(f"{asked} {said} of this feature set. There are: {seen or 'none yet; run `featlas label`'}.")


def _wanted(reader: Reader, features: Selection, n_features: int) -> pl.Series | None:
    """Numbers of the chosen features; None for all of them."""
    if features.is_all:
        return None
    if features.sql is not None:
        features = select_features(sorted(set(reader.query(features.sql).to_series(0).drop_nulls().cast(pl.Int64))))
    return pl.Series(list(features.within(n_features)), dtype=pl.Int32)


_LABELS_SHOWN = """
    WITH failed AS (
        SELECT feature, arg_max(explainer, created_at) AS explainer, arg_max(explainer_model, created_at) AS explainer_model,
               coalesce(arg_max(reason, created_at), max(reason)) AS reason
        FROM explanations WHERE sample_id = $1 AND state = 'failed' AND feature BETWEEN $2 AND $3 GROUP BY feature
    )
    SELECT l.feature, l.status, l.label,
           coalesce(l.explainer, f.explainer) AS explainer, coalesce(l.explainer_model, f.explainer_model) AS explainer_model,
           l.scorer, l.judge_model, l.metric, l.score, l.score_low, l.score_high, l.q,
           CASE WHEN l.label IS NULL
                THEN coalesce(f.reason, CASE WHEN l.status = 'ok' THEN 'not asked' ELSE 'not asked: ' || l.status END) END AS reason
    FROM labels AS l LEFT JOIN failed AS f ON f.feature = l.feature AND l.label IS NULL
    WHERE l.sample_id = $1 AND l.feature BETWEEN $2 AND $3 ORDER BY l.feature
"""
_LABELS_OF_A_GROUP = """
    WITH written AS (
        SELECT * FROM explanations
        WHERE sample_id = $1 AND feature BETWEEN $2 AND $3 AND explainer = $4 AND explainer_model IS NOT DISTINCT FROM $5
        QUALIFY row_number() OVER (
            PARTITION BY feature ORDER BY state <> 'labeled', repeat, created_at DESC NULLS LAST, explanation_id
        ) = 1
    ),
    scored AS (
        SELECT s.* FROM scores AS s LEFT JOIN runs AS r USING (run_id)
        WHERE s.sample_id = $1 AND s.feature BETWEEN $2 AND $3 AND s.metric = 'headline' AND s.control IS NULL
          AND s.scorer = $6 AND s.judge_model IS NOT DISTINCT FROM $7 AND s.epoch = $8 AND abs(s.tau - $9) < 1e-9
        QUALIFY row_number() OVER (
            PARTITION BY s.explanation_id ORDER BY r.started_at DESC NULLS LAST, s.score_id
        ) = 1
    )
    SELECT f.feature, f.status, w.text AS label, w.explainer, w.explainer_model,
           CASE WHEN s.value IS NOT NULL THEN s.scorer END AS scorer,
           CASE WHEN s.value IS NOT NULL THEN s.judge_model END AS judge_model,
           CASE WHEN s.value IS NOT NULL THEN s.metric END AS metric,
           s.value AS score, s.low AS score_low, s.high AS score_high, t.q,
           CASE WHEN w.text IS NULL
                THEN coalesce(w.reason, CASE WHEN f.status = 'ok' THEN 'not asked' ELSE 'not asked: ' || f.status END) END AS reason
    FROM features AS f
    LEFT JOIN written AS w USING (feature)
    LEFT JOIN scored AS s ON s.explanation_id = w.explanation_id
    LEFT JOIN score_statistics AS t ON t.score_id = s.score_id AND t.metric = s.metric AND t.tau = s.tau
    WHERE f.sample_id = $1 AND f.feature BETWEEN $2 AND $3 ORDER BY f.feature
"""
_LABELERS = """
    SELECT DISTINCT explainer, explainer_model AS model FROM explanations WHERE sample_id = ?
    ORDER BY explainer, explainer_model NULLS FIRST
"""
_BEST_JUDGE = """
    SELECT scorer, nullif(judge_model, '') AS judge_model, epoch FROM score_groups
    WHERE sample_id = $1 AND explainer = $2 AND explainer_model = coalesce($3, '') AND control = '' AND metric = 'headline'
      AND mean IS NOT NULL AND abs(tau - $4) < 1e-9
    ORDER BY headline_of IS NOT NULL, coalesce(low, mean) DESC, n_features DESC, epoch DESC, scorer, judge_model LIMIT 1
"""


@dataclass(frozen=True)
class Table:
    """A table or view as the data dictionary describes it."""

    name: str
    kind: str
    comment: str
    columns: tuple[tuple[str, str, str], ...]
    """Name, type in SQL, and meaning."""


def described_tables() -> tuple[Table, ...]:
    """Every table and view, by name."""
    parts = data_dictionary().partition_by("table", maintain_order=True)
    return tuple(
        Table(
            p["table"][0], p["kind"][0], p["table_comment"][0], tuple(p.select("column", "type", "comment").iter_rows())
        )
        for p in parts
    )


def table_pieces(workspace: Workspace, reader: Reader, table: Table) -> Iterator[pl.DataFrame]:
    """All rows of a table in the order in which they were stored; one empty piece where there is none."""
    if table.name in TABLES:
        yield from _evidence_pieces(workspace, table.name)
        return
    name, names = quoted(table.name), [column for column, _, _ in table.columns]
    place = "rowid" if table.kind == "table" else "feature" if "feature" in names else None
    if place is None:
        yield reader.query(f"SELECT * FROM {name}")
        return
    last = reader.query(f"SELECT max({place}) AS last FROM {name}")["last"][0]
    for first in range(0, 1 if last is None else last + 1, AT_ONCE):
        yield reader.query(f"SELECT * FROM {name} WHERE {place} BETWEEN ? AND ?", [first, first + AT_ONCE - 1])


def _evidence_pieces(workspace: Workspace, table: str) -> Iterator[pl.DataFrame]:
    files = shard_files(workspace, table)
    if not files:
        yield pl.DataFrame(schema=TABLES[table].schema)
    for file in files:
        rows = scan_files(table, [file]).select(TABLES[table].schema.names())
        for first in range(0, max(rows.select(pl.len()).collect().item(), 1), AT_ONCE):
            yield rows.slice(first, AT_ONCE).collect()


def labeling_counts(reader: Reader, sample_id: str) -> pl.DataFrame:
    """What explainers did for a sample: labels and failures by explainer, model and reason, the most frequent first."""
    return reader.query(
        """
        SELECT explainer, explainer_model, state, reason, count(*) AS n FROM explanations WHERE sample_id = ?
        GROUP BY ALL ORDER BY explainer, explainer_model NULLS FIRST, state DESC, n DESC, reason
        """,
        [sample_id],
    )


def headlines(reader: Reader, feature_set: str) -> pl.DataFrame:
    """Mean headline scores of a feature set with their controls, true labels first."""
    return reader.query(
        """
        SELECT explainer, explainer_model, scorer, judge_model, control, mean, low, high, n_features, n_unscored
        FROM scoreboard WHERE feature_set = ? AND metric = 'headline' AND abs(tau - ?) < 1e-9
        ORDER BY explainer NULLS LAST, explainer_model NULLS FIRST, scorer, judge_model NULLS FIRST, control NULLS FIRST
        """,
        [feature_set, TAU],
    )


def commands(reader: Reader) -> pl.DataFrame:
    """Commands that wrote to the workspace, in order, each once, with the version of Featlas."""
    return reader.query(
        "SELECT command, version, min(started_at) AS first FROM runs GROUP BY ALL ORDER BY first NULLS LAST, command"
    )


def scoreboards(reader: Reader, feature_set: str | None) -> pl.DataFrame:
    """The scoreboard of one feature set, or of all."""
    if feature_set is None:
        return reader.query("SELECT * FROM scoreboard")
    return reader.query("SELECT * FROM scoreboard WHERE feature_set = ?", [feature_set])
