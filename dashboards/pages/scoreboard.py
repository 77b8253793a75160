"""Explainers, scorers and judges beside each other, with controls, intervals, losses and cost."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response

from dashboards import queries, score_queries
from dashboards.comparing import (
    OTHER_FEATURES,
    Compared,
    NothingToCompare,
    Row,
    compare_rows,
    find_row,
    row_key,
    row_title,
)
from dashboards.pages._files import csv_response
from dashboards.pages._page import Chosen, ReaderOfRequest, SetName, check_known, choose, comparer, connections, render
from dashboards.queries import Reader
from dashboards.score_tables import CORE, labels_by, maker_of, rank, score_tables, stands_beside
from dashboards.wording import CONTROLS, METRICS, Scale, close_scale
from dashboards.wording import metric as metric_term
from labeling.errors import UsageError

router = APIRouter()
Preset = Literal["core", "evidence", "quantiles", "corpus", "cost"]
Direction = Literal["asc", "desc"]
SORTED_COLUMNS = ("n_features", "n_unscored", "cost_each", "tokens_each")
"""Columns beside the metrics that rows are sorted by."""
PRESETS: Mapping[Preset, tuple[str, ...]] = {
    "core": CORE,
    "evidence": ("headline",),
    "quantiles": ("recall_q1", "recall_q2", "recall_q3", "recall_q4", "recall_q5", "activation_recall"),
    "corpus": (
        *("balanced_accuracy", "precision", "average_precision", "average_precision_lift", "f1", "iou"),
        "weighted_correlation",
    ),
    "cost": ("headline",),
}
"""Metrics that are read together; `evidence` and `cost` add columns of their own."""
MEANINGS = ("share_significant", "share_above_null", "n_null", "reliability", "flip_rate", "icc")
Name = Annotated[str, Query(max_length=60)]
RowKey = Annotated[str, Query(max_length=1000)]


@router.get("/scoreboard")
def scoreboard(
    request: Request,
    reader: ReaderOfRequest,
    name: SetName = None,
    columns: Preset = "core",
    sort: Name = "headline",
    direction: Annotated[Direction, Query(alias="dir")] = "desc",
    x: Name = "balanced_random",
    y: Name = "balanced_hard",
    a: RowKey = "",
    b: RowKey = "",
    by: Name = "headline",
) -> Response:
    """`a` and `b` are two rows to compare by the metric `by`; `x` and `y` are the metrics that are drawn."""
    chosen = choose(request, reader, name)
    if chosen is None:
        return render(request, "scoreboard.html.j2", chosen=None)
    remember = connections(request).remember
    rows: Sequence[dict[str, Any]] = remember(
        reader, ("scoreboard", chosen.name), lambda: queries.scoreboard(reader, chosen.name).to_dicts()
    )
    metrics = dict.fromkeys([*METRICS, *_known(rows)])
    for parameter, value, known in (("sort", sort, [*metrics, *SORTED_COLUMNS]), ("x", x, metrics), ("y", y, metrics)):
        check_known(parameter, value, known)
    judges = remember(reader, ("judges", chosen.sample_id), lambda: _judges(reader, chosen, rows))
    lines = _in_order([_line(group, PRESETS[columns]) for group in _groups(rows)], sort, direction)
    points = _points(rows, x, y)
    by_key = {row_key(line): line for line in lines}
    return render(
        request, "scoreboard.html.j2", chosen=chosen, lines=lines, columns=columns, presets=list(PRESETS),
        shown=PRESETS[columns], sort=sort, direction=direction, sorted_columns=SORTED_COLUMNS, x=x, y=y, known=_known(rows),
        points=points, axes=_axes(points, x, y), scales=_scales(lines, PRESETS[columns]), judges=judges,
        titles={key: row_title(line) for key, line in by_key.items()}, keys=row_key,
        by_whom=labels_by, a=a, b=b, by=by, can_compare=comparer(request) is not None,
        compared=_compared(request, reader, chosen, by_key, a, b, by, _known(rows)) if a and b else None,
    )  # fmt: skip


@router.get("/scoreboard.csv")
def scoreboard_csv(request: Request, reader: ReaderOfRequest, name: SetName = None) -> Response:
    chosen = choose(request, reader, name)
    frame = queries.scoreboard(reader, chosen.name if chosen else "")
    return csv_response(frame, f"scoreboard-{chosen.name if chosen else 'none'}.csv")


def _known(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Metrics that some row has, in the usual order."""
    seen = dict.fromkeys(row["metric"] for row in rows)
    return [name for name in dict.fromkeys([*METRICS, *seen]) if name in seen]


def _judges(reader: Reader, chosen: Chosen, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """How far the judges can be trusted: what their scores mean, reliability curves, agreement with themselves."""
    curves: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for row in score_queries.reliability_curves(reader, chosen.sample_id).to_dicts():
        key = tuple(row[name] for name in ("explainer", "explainer_model", "scorer", "judge_model"))
        curves.setdefault(key, []).append(row)
    return {
        "tables": score_tables(rows, tau=queries.TAU),
        "curves": curves,
        "again": score_queries.judge_reliability(reader, chosen.sample_id).to_dicts(),
    }


def _compared(
    request: Request,
    reader: Reader,
    chosen: Chosen,
    rows: Mapping[str, Row],
    a: str,
    b: str,
    metric: str,
    known: Sequence[str],
) -> Compared | str:
    """Two rows against each other, or why not. Raise UsageError for rows or a metric that there is not."""
    found = comparer(request)
    if found is None:
        raise UsageError("This server compares nothing. `featlas serve` does, and so does `featlas compare`.")
    if metric not in known:
        raise UsageError(f"by must be a metric of the scoreboard, not {metric!r}. Known: {', '.join(known)}.")
    sides = [find_row(rows, key, name) for name, key in (("a", a), ("b", b))]
    remember = connections(request).remember

    def values(row: Row) -> tuple[Row, Any]:
        samples = [chosen.sample_id] if row["control"] not in OTHER_FEATURES else chosen.control_samples(row["control"])
        return row, score_queries.row_values(reader, samples, row, metric)

    key = ("compared", chosen.sample_id, a, b, metric)
    try:
        return remember(reader, key, lambda: compare_rows(found, metric, values(sides[0]), values(sides[1])))
    except NothingToCompare as error:
        return str(error)


def _groups(rows: Sequence[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Rows of the same labels by the same judge at the threshold that pages show."""
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in rows:
        if abs(row["tau"] - queries.TAU) < 1e-9:
            key = tuple(row[n] for n in ("explainer", "explainer_model", "scorer", "judge_model", "control"))
            groups.setdefault(key, []).append(row)
    return list(groups.values())


def _line(rows: list[dict[str, Any]], shown: Sequence[str]) -> dict[str, Any]:
    by_metric = {row["metric"]: row for row in rows}
    first = by_metric.get("headline", rows[0])
    cost = first["cost_usd"] / first["n_features"] if first["cost_usd"] is not None and first["n_features"] else None
    tokens = (first["input_tokens"], first["output_tokens"])
    tokens_each = sum(tokens) / first["n_features"] if None not in tokens and first["n_features"] else None
    return {
        **{n: first[n] for n in ("explainer", "explainer_model", "scorer", "judge_model", "control", "requests")},
        **{n: first.get(n) for n in ("headline_of", *MEANINGS)},
        "n_features": first["n_features"], "n_unscored": first["n_unscored"],
        "cost_each": cost, "tokens_each": tokens_each, "cost_usd": first["cost_usd"],
        "cells": {metric: by_metric.get(metric) for metric in shown}, "all": by_metric, "true": None,
    }  # fmt: skip


def _in_order(lines: Sequence[dict[str, Any]], sort: str, direction: Direction) -> list[dict[str, Any]]:
    """True labels by a metric or another column, each with its controls below it; controls of nothing at the end."""
    true = sorted(
        (line for line in lines if line["control"] is None), key=lambda line: _sort_key(line, sort, direction)
    )
    ordered = []
    for line in true:
        maker, key = maker_of(line), row_key(line)
        controls = (c for c in lines if c["control"] is not None and stands_beside(c, maker))
        ordered += [line, *({**c, "true": key} for c in sorted(controls, key=_place))]
    alone = [c for c in lines if c["control"] is not None and not any(stands_beside(c, maker_of(t)) for t in true)]
    return ordered + sorted(alone, key=lambda line: (str(maker_of(line)), _place(line)))


def _sort_key(line: Mapping[str, Any], sort: str, direction: Direction) -> tuple[Any, ...]:
    """Those without a value last, whichever the direction."""
    own_kind = sort == "headline" and line["headline_of"] is not None  # compares only within one scorer
    value = line[sort] if sort in SORTED_COLUMNS else rank(line["all"].get(sort))
    missing = value is None or value == float("-inf")
    turned = 0.0 if missing else float(value) if direction == "asc" else -float(value)
    return own_kind, missing, turned, str(maker_of(line))


def _place(line: Mapping[str, Any]) -> int:
    """Where a control stands among controls."""
    controls = list(CONTROLS)
    return controls.index(line["control"]) if line["control"] in controls else len(controls)


def _points(rows: Sequence[dict[str, Any]], x: str, y: str) -> list[dict[str, Any]]:
    """Each group as a point of two metrics, where it has both."""
    points = []
    for group in _groups(rows):
        by_metric = {row["metric"]: row for row in group}
        of_trials = "headline" in (x, y) and by_metric.get("headline", {}).get("headline_of") is not None
        if (
            not of_trials
            and x in by_metric
            and y in by_metric
            and None not in (by_metric[x]["mean"], by_metric[y]["mean"])
        ):
            points.append({**group[0], "x": by_metric[x], "y": by_metric[y]})
    return points


def _scales(lines: Sequence[Mapping[str, Any]], shown: Sequence[str]) -> dict[str, Scale]:
    """One scale for all strips of a column."""
    return {name: metric_term(name).scale(*_ends(line["cells"][name] for line in lines)) for name in shown}


def _axes(points: Sequence[Mapping[str, Any]], x: str, y: str) -> tuple[Scale, Scale]:
    """Scales of the two metrics that are drawn, the same for both where they compare."""
    chance, ends = (metric_term(x).chance, metric_term(y).chance), [[*_ends(p[a] for p in points)] for a in ("x", "y")]
    if chance[0] == chance[1] and chance[0] is not None:
        both = close_scale(chance[0], [*ends[0], *ends[1]])
        return both, both
    return close_scale(chance[0], ends[0]), close_scale(chance[1], ends[1])


def _ends(cells: Iterable[Mapping[str, Any] | None]) -> Iterator[float | None]:
    """Means and interval ends."""
    for cell in cells:
        if cell is not None:
            yield from (cell["mean"], cell["low"], cell["high"])
