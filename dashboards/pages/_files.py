"""Frames as files that a browser saves."""

from __future__ import annotations

import io
from collections.abc import Iterator
from itertools import chain
from urllib.parse import quote

import polars as pl
from fastapi import Response
from fastapi.responses import StreamingResponse

from dashboards.tables import as_csv


def csv_response(frame: pl.DataFrame, file: str) -> Response:
    return Response(as_csv(frame), media_type="text/csv; charset=utf-8", headers=_saved_as(file))


def csv_pieces_response(frames: Iterator[pl.DataFrame], file: str) -> Response:
    """The same for a table in pieces, sent one after the other. What fails at the first is still told on a page."""
    first = as_csv(next(frames))
    pieces = chain([first], (as_csv(frame, header=False) for frame in frames))
    return StreamingResponse(pieces, media_type="text/csv; charset=utf-8", headers=_saved_as(file))


def parquet_response(frame: pl.DataFrame, file: str) -> Response:
    content = io.BytesIO()
    frame.write_parquet(content)
    return Response(content.getvalue(), media_type="application/vnd.apache.parquet", headers=_saved_as(file))


def _saved_as(file: str) -> dict[str, str]:
    return {"Content-Disposition": f"attachment; filename*=UTF-8''{quote(file, safe='')}"}
