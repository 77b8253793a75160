"""Ask in SQL, read-only: the data dictionary beside the question, the answer as a table, a plot or a file."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import polars as pl
from fastapi import APIRouter, Query, Request, Response

from dashboards import charts
from dashboards.pages._files import csv_response, parquet_response
from dashboards.pages._page import ReaderOfRequest, SetName, choose, connections, render
from dashboards.queries import Reader
from labeling.errors import FeatlasError, UsageError
from labeling.snapshot import query

router = APIRouter()
SECONDS = 20.0
MEMORY = "1GB"
ROWS, FILE_ROWS = 500, 1_000_000
"""Rows that a page shows, and that a file holds."""
PLOTTED = 2000
EXAMPLES = {
    "Best labels": "SELECT feature, label, score, score_low, score_high\nFROM labels\nWHERE score IS NOT NULL\n"
    "ORDER BY score_low DESC\nLIMIT 20",
    "Labels beside their controls": "SELECT explainer, scorer, control, n_features, mean, low, high\nFROM scoreboard\n"
    "WHERE metric = 'headline' AND tau = 0.01\nORDER BY low DESC",
    "Score against density": "SELECT log10(firing_rate) AS log_density, score\nFROM labels\n"
    "WHERE score IS NOT NULL AND firing_rate > 0",
    "Failures by reason": "SELECT scorer, control, reason, count(*) AS n\nFROM judgments\nWHERE state = 'lost'\n"
    "GROUP BY ALL\nORDER BY n DESC",
    "Same label, several features": "SELECT label, count(*) AS n, list(feature)[:10] AS features\nFROM labels\n"
    "WHERE label IS NOT NULL\nGROUP BY label\nHAVING n > 1\nORDER BY n DESC\nLIMIT 50",
}
Question = Annotated[str, Query(alias="q", max_length=20_000)]


@router.get("/sql")
def sql(
    request: Request,
    reader: ReaderOfRequest,
    text: Question = "",
    name: SetName = None,
    plot: bool = False,
) -> Response:
    chosen = choose(request, reader, name)
    text = text.replace("\r\n", "\n")  # a browser's form ends lines so
    answer, mistake, figure, code = None, None, None, 200
    if text.strip():
        try:
            answer = _ask(request, text, rows=max(ROWS, PLOTTED) + 1)
        except FeatlasError as error:
            mistake, code = str(error), 400 if isinstance(error, UsageError) else 503
    if answer is not None and plot:
        figure = charts.plot(answer.head(PLOTTED))
    tables = connections(request).remember(reader, "dictionary", lambda: _dictionary(reader))
    return render(
        request, "sql.html.j2", code=code, chosen=chosen,
        without_sample=True, text=text, mistake=mistake, plot=plot, figure=figure,
        answer=answer.head(ROWS) if answer is not None else None, cut=answer is not None and len(answer) > ROWS, rows=ROWS,
        tables=tables, examples=EXAMPLES, seconds=SECONDS,
    )  # fmt: skip


@router.get("/sql.{form}")
def sql_file(request: Request, form: Literal["csv", "parquet"], text: Question) -> Response:
    frame = _ask(request, text, rows=FILE_ROWS)
    return csv_response(frame, "answer.csv") if form == "csv" else parquet_response(frame, "answer.parquet")


def _ask(request: Request, text: str, *, rows: int) -> pl.DataFrame:
    """Rows of what a person typed, on a connection of its own. Raise UsageError and FeatlasError as `query` does."""
    with connections(request).question():
        workspace = connections(request).workspace
        return query(workspace, text, timeout_seconds=SECONDS, memory_limit=MEMORY, most_rows=rows)


def _dictionary(reader: Reader) -> list[dict[str, Any]]:
    """Tables with their columns and what they mean."""
    columns = reader.query(
        """
        SELECT table_name AS "table", column_name AS "column", data_type AS type, comment FROM duckdb_columns()
        WHERE database_name = 'snapshot' AND schema_name = 'main' AND NOT internal ORDER BY table_name, column_index
        """
    )
    comments = reader.query(
        """
        SELECT table_name AS "table", comment FROM duckdb_tables() WHERE database_name = 'snapshot'
        UNION ALL SELECT view_name, comment FROM duckdb_views() WHERE database_name = 'snapshot' AND NOT internal
        """
    )
    told = dict(comments.iter_rows())
    return [
        {"name": name[0], "comment": told.get(name[0]), "columns": some.to_dicts()}
        for name, some in columns.group_by("table", maintain_order=True)
    ]
