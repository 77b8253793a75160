"""The windows behind a feature's labels: those that an explainer was shown, and those that a judge graded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response

from dashboards import feature_queries
from dashboards.bands import shown_windows
from dashboards.pages._files import csv_response
from dashboards.pages._page import ReaderOfRequest, SetName, choose, render
from dashboards.pages.feature import Number, row_of
from dashboards.queries import Reader
from dashboards.wording import stratum
from labeling.errors import UsageError

router = APIRouter()
Name = Annotated[str, Query(max_length=200)]
Show = Literal["all", "misses", "lost"]


@router.get("/feature/{number}/evidence")
def evidence(
    request: Request, reader: ReaderOfRequest, number: Number, explanation: Name = "", name: SetName = None
) -> Response:
    """What an explainer was shown when it wrote a label."""
    chosen = choose(request, reader, name)
    if chosen is None:
        return render(request, "evidence.html.j2", chosen=None)
    row = row_of(reader, chosen, number)
    found = feature_queries.evidence(reader, chosen.sample_id, number, explanation).to_dicts()
    return render(
        request, "evidence.html.j2", chosen=chosen, row=row, number=number, stratum=stratum,
        windows=shown_windows(found, largest=row["max_activation"]),
    )  # fmt: skip


@router.get("/feature/{number}/judgments")
def judgments(
    request: Request,
    reader: ReaderOfRequest,
    number: Number,
    name: SetName = None,
    scorer: Name = "",
    judge: Name = "",
    explanation: Name = "",
    show: Show = "all",
) -> Response:
    """Every window that was judged by a label: what the judge said, and what was true."""
    chosen = choose(request, reader, name)
    if chosen is None:
        return render(request, "judgments.html.j2", chosen=None)
    row = row_of(reader, chosen, number)
    scorer = scorer or row["scorer"] or ""
    judged = _judged(reader, chosen.sample_id, number, scorer, judge, explanation)
    counts = {
        "all": len(judged),
        "misses": sum(item["miss"] is True for item in judged),
        "lost": sum(item["state"] == "lost" for item in judged),
    }
    kept = [item for item in judged if show == "all" or _is_shown(item, show)]
    return render(
        request, "judgments.html.j2", chosen=chosen, row=row, number=number, scorer=scorer, judge=judge, explanation=explanation,
        show=show, counts=counts, windows=shown_windows(kept, largest=row["max_activation"]), stratum=stratum,
    )  # fmt: skip


@router.get("/feature/{number}/judgments.csv")
def judgments_csv(
    request: Request,
    reader: ReaderOfRequest,
    number: Number,
    name: SetName = None,
    scorer: Name = "",
    judge: Name = "",
    explanation: Name = "",
) -> Response:
    chosen = choose(request, reader, name)
    if chosen is None:
        raise UsageError("Nothing is sampled yet: `featlas run` makes a feature set.")
    frame = feature_queries.judgments(
        reader,
        chosen.sample_id,
        number,
        scorer=scorer or row_of(reader, chosen, number)["scorer"] or "",
        judge=judge or None,
        explanation_id=explanation or None,
    )
    return csv_response(frame, f"judgments-{chosen.name}-{number}.csv")


def _judged(
    reader: Reader, sample_id: str, number: int, scorer: str, judge: str, explanation: str
) -> list[dict[str, Any]]:
    """Judgments, each with whether it is a miss."""
    found = feature_queries.judgments(
        reader, sample_id, number, scorer=scorer, judge=judge or None, explanation_id=explanation or None
    )
    return [{**item, "miss": _misses(item)} for item in found.to_dicts()]


def _is_shown(item: Mapping[str, Any], show: Literal["misses", "lost"]) -> bool:
    return bool(item["miss"]) if show == "misses" else item["state"] == "lost"


def _misses(item: Mapping[str, Any]) -> bool | None:
    """Whether the judge was wrong; None where it gave no answer, or there is no right one."""
    if item["state"] == "lost":
        return None
    if item["trial"] is not None:
        return None if item["truth"] is None else abs(item["truth"] - item["grade"]) >= 0.5
    return bool((item["probability"] >= 0.5) != item["fires"])
