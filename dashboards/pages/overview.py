"""The first page: what was labeled, how well, what failed, what it cost, and what the last run changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import APIRouter, Request, Response

from dashboards import queries, run_queries
from dashboards.pages._page import Chosen, ReaderOfRequest, SetName, choose, connections, render
from dashboards.queries import Reader
from dashboards.score_tables import score_tables
from dashboards.wording import control

router = APIRouter()


@router.get("/")
def overview(request: Request, reader: ReaderOfRequest, name: SetName = None) -> Response:
    chosen = choose(request, reader, name)
    if chosen is None:
        return render(request, "overview.html.j2", chosen=None, runs=run_queries.runs(reader, most=5).to_dicts())
    facts = connections(request).remember(reader, ("overview", chosen.sample_id), lambda: _facts(reader, chosen))
    return render(request, "overview.html.j2", chosen=chosen, **facts)


def _facts(reader: Reader, chosen: Chosen) -> dict[str, Any]:
    sample_id = chosen.sample_id
    board = queries.scoreboard(reader, chosen.name).to_dicts()
    tables = score_tables(board, tau=queries.TAU)
    return {
        "statuses": queries.status_counts(reader, sample_id).to_dicts(),
        "n_labeled": queries.label_count(reader, sample_id),
        "n_failed": run_queries.failed_labels(reader, sample_id),
        "headline": tables[0] if tables else None,
        "losses": _together(queries.losses(reader, sample_id).to_dicts()),
        "requests": queries.request_cost(reader).to_dicts(),
        "runs": run_queries.runs(reader, most=8).to_dicts(),
        "changes": run_queries.changes(reader, sample_id, most=20),
        "lists": (
            ("Best", "score_low", "desc", queries.best_labels(reader, sample_id, 6).to_dicts()),
            ("Worst", "score_high", "asc", queries.worst_labels(reader, sample_id, 6).to_dicts()),
        ),
        "fooled": queries.fooled_labels(reader, sample_id, 6).to_dicts(),
        "disagreed": run_queries.disagreed_labels(reader, sample_id, 6).to_dicts(),
    }


def _together(losses: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The same loss of several controls as one row that names them, the most frequent first."""
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    for row in losses:
        key = tuple(row[name] for name in ("stage", "who", "what", "reason"))
        one = found.setdefault(key, {**row, "n": 0, "labels": []})
        one["n"] += row["n"]
        one["labels"] += [control(row["control"]).title] if row["stage"] == "score" else []
    return sorted(found.values(), key=lambda row: -row["n"])
