"""Runs: what was done when, how far the running one is, and what failed with what the model said."""

from __future__ import annotations

import json
import shlex
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response
from starlette.exceptions import HTTPException

from dashboards import queries, run_queries
from dashboards.pages._files import csv_response
from dashboards.pages._page import ReaderOfRequest, SetName, choose, connections, render

router = APIRouter()
MOST_FAILURES = 200


@router.get("/runs")
def runs(request: Request, reader: ReaderOfRequest, name: SetName = None) -> Response:
    chosen = choose(request, reader, name)
    failures = run_queries.failures(reader, most=MOST_FAILURES).to_dicts()
    return render(
        request, "runs.html.j2", chosen=chosen, without_sample=True, runs=run_queries.runs(reader, most=100).to_dicts(),
        times=queries.stage_times(reader).to_dicts(), requests=queries.request_cost(reader).to_dicts(), failures=failures,
        reasons=run_queries.failure_reasons(reader).to_dicts(),
        most=MOST_FAILURES, retry=_retry(request),
    )  # fmt: skip


@router.get("/failures.csv")
def failures_csv(reader: ReaderOfRequest) -> Response:
    return csv_response(run_queries.failures(reader, most=None), "failures.csv")


@router.get("/runs/{run_id}")
def run(
    request: Request, reader: ReaderOfRequest, run_id: Annotated[str, Path(max_length=100)], name: SetName = None
) -> Response:
    chosen = choose(request, reader, name)
    found = run_queries.run(reader, run_id).to_dicts()
    if not found:
        raise HTTPException(404, f"There is no run {run_id!r}.")
    return render(
        request, "run.html.j2", chosen=chosen, without_sample=True, run=found[0], config=_indented(found[0]["config"]),
        written=run_queries.written_by(reader, run_id).to_dicts(),
    )  # fmt: skip


def _retry(request: Request) -> str:
    """The command that asks again for what failed."""
    return f"featlas run --retry-failed --workspace {shlex.quote(str(connections(request).workspace.root))}"


def _indented(config: str | None) -> str:
    try:
        value: Any = json.loads(config or "{}")
    except ValueError:
        return config or ""
    return json.dumps(value, indent=2, ensure_ascii=False)
