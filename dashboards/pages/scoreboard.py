"""Explainers, scorers and judges beside each other, with controls, intervals, losses and cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response

from dashboards import queries
from dashboards.pages._files import csv_response
from dashboards.pages._page import ReaderOfRequest, SetName, choose, connections, render
from dashboards.score_tables import CORE, score_tables
from dashboards.wording import CONTROLS, METRICS

router = APIRouter()
Preset = Literal["core", "quantiles", "corpus", "cost"]
PRESETS: Mapping[Preset, tuple[str, ...]] = {
    "core": CORE,
    "quantiles": ("recall_q1", "recall_q2", "recall_q3", "recall_q4", "recall_q5", "activation_recall"),
    "corpus": (
        *("balanced_accuracy", "precision", "average_precision", "average_precision_lift", "f1", "iou"),
        "weighted_correlation",
    ),
    "cost": ("headline",),
}
"""Columns that are read together."""


@router.get("/scoreboard")
def scoreboard(
    request: Request,
    reader: ReaderOfRequest,
    name: SetName = None,
    columns: Preset = "core",
    sort: Annotated[str, Query(max_length=60)] = "headline",
    x: Annotated[str, Query(max_length=60)] = "balanced_random",
    y: Annotated[str, Query(max_length=60)] = "balanced_hard",
) -> Response:
    chosen = choose(request, reader, name)
    if chosen is None:
        return render(request, "scoreboard.html.j2", chosen=None)
    rows: Sequence[dict[str, Any]] = connections(request).remember(
        reader, ("scoreboard", chosen.name), lambda: queries.scoreboard(reader, chosen.name).to_dicts()
    )
    tables = score_tables(rows, tau=queries.TAU)
    known = list(dict.fromkeys([*METRICS, *(row["metric"] for row in rows)]))
    shown = PRESETS[columns]
    lines = _in_order([_line(group, shown) for group in _groups(rows)], sort)
    return render(
        request, "scoreboard.html.j2", chosen=chosen, tables=tables, lines=lines, columns=columns, presets=list(PRESETS),
        shown=shown, sort=sort, x=x, y=y, known=known, points=_points(rows, x, y),
    )  # fmt: skip


@router.get("/scoreboard.csv")
def scoreboard_csv(request: Request, reader: ReaderOfRequest, name: SetName = None) -> Response:
    chosen = choose(request, reader, name)
    frame = queries.scoreboard(reader, chosen.name if chosen else "")
    return csv_response(frame, f"scoreboard-{chosen.name if chosen else 'none'}.csv")


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
    tokens = first["input_tokens"] / first["n_features"] if first["input_tokens"] and first["n_features"] else None
    return {
        **{n: first[n] for n in ("explainer", "explainer_model", "scorer", "judge_model", "control", "requests")},
        "headline_of": first.get("headline_of"),
        "n_features": first["n_features"], "n_unscored": first["n_unscored"],
        "cost_each": cost, "tokens_each": tokens, "cost_usd": first["cost_usd"],
        "cells": {metric: by_metric.get(metric) for metric in shown}, "all": by_metric,
    }  # fmt: skip


def _in_order(lines: list[dict[str, Any]], sort: str) -> list[dict[str, Any]]:
    """The best true labels first, each with its controls below it."""
    best: dict[tuple[Any, ...], float] = {}
    for line in lines:
        if line["control"] is None:
            best[_maker(line)] = _rank(line["all"].get(sort))
    controls = list(CONTROLS)

    def key(line: dict[str, Any]) -> tuple[Any, ...]:
        place = controls.index(line["control"]) if line["control"] in controls else len(controls)
        own_kind = sort == "headline" and line["headline_of"] is not None  # compares only within one scorer
        return own_kind, -best.get(_maker(line), float("-inf")), str(_maker(line)), line["control"] is not None, place

    return sorted(lines, key=key)


def _maker(line: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(line[name] for name in ("explainer", "explainer_model", "scorer", "judge_model"))


def _rank(cell: Mapping[str, Any] | None) -> float:
    """Rows are sorted by the lower end of the interval: a high mean of few features is not a good one."""
    if cell is None or cell["mean"] is None:
        return float("-inf")
    return float(cell["low"] if cell["low"] is not None else cell["mean"])


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
