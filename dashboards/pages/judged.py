"""The windows behind a feature's labels: those that an explainer was shown, and those that a judge graded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import polars as pl
from fastapi import APIRouter, Depends, Query, Request, Response

from dashboards import feature_queries
from dashboards.bands import shown_windows
from dashboards.pages._files import csv_response
from dashboards.pages._page import Chosen, ReaderOfRequest, SetName, choose, render
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
    found = feature_queries.evidence(reader, chosen.sample, number, explanation).to_dicts()
    return render(
        request, "evidence.html.j2", chosen=chosen, row=row, number=number, stratum=stratum,
        windows=shown_windows(found, largest=row["max_activation"]),
    )  # fmt: skip


@dataclass(frozen=True)
class Asked:
    """Whose judgments are wanted; empty where it is left open."""

    scorer: str
    judge: str
    explanation: str

    def of(self, reader: Reader, chosen: Chosen, row: Mapping[str, Any]) -> pl.DataFrame:
        return feature_queries.judgments(
            reader, chosen.sample, row["feature"], scorer=self.scorer_of(row), judge=self.judge or None,
            explanation_id=self.explanation or None,
        )  # fmt: skip

    def scorer_of(self, row: Mapping[str, Any]) -> str:
        """The scorer, that of the shown score where none is named."""
        return self.scorer or row["scorer"] or ""


def _asked(scorer: Name = "", judge: Name = "", explanation: Name = "") -> Asked:
    return Asked(scorer, judge, explanation)


AskedOf = Annotated[Asked, Depends(_asked)]


@router.get("/feature/{number}/judgments")
def judgments(
    request: Request, reader: ReaderOfRequest, number: Number, asked: AskedOf, name: SetName = None, show: Show = "all"
) -> Response:
    """Every window that was judged by a label: what the judge said, and what was true."""
    chosen = choose(request, reader, name)
    if chosen is None:
        return render(request, "judgments.html.j2", chosen=None)
    row = row_of(reader, chosen, number)
    judged = [{**item, "miss": _misses(item)} for item in asked.of(reader, chosen, row).to_dicts()]
    counts = {
        "all": len(judged),
        "misses": sum(item["miss"] is True for item in judged),
        "lost": sum(item["state"] == "lost" for item in judged),
    }
    kept = [item for item in judged if show == "all" or _is_shown(item, show)]
    return render(
        request, "judgments.html.j2", chosen=chosen, row=row, number=number, scorer=asked.scorer_of(row), judge=asked.judge,
        explanation=asked.explanation, show=show, counts=counts, stratum=stratum,
        windows=shown_windows(kept, largest=row["max_activation"]),
    )  # fmt: skip


@router.get("/feature/{number}/judgments.csv")
def judgments_csv(
    request: Request, reader: ReaderOfRequest, number: Number, asked: AskedOf, name: SetName = None
) -> Response:
    chosen = choose(request, reader, name)
    if chosen is None:
        raise UsageError("Nothing is sampled yet: `featlas run` makes a feature set.")
    frame = asked.of(reader, chosen, row_of(reader, chosen, number))
    return csv_response(frame, f"judgments-{chosen.name}-{number}.csv")


def _is_shown(item: Mapping[str, Any], show: Literal["misses", "lost"]) -> bool:
    return bool(item["miss"]) if show == "misses" else item["state"] == "lost"


def _misses(item: Mapping[str, Any]) -> bool | None:
    """Whether the judge was wrong; None where it gave no answer, or there is no right one."""
    if item["state"] == "lost":
        return None
    if item["trial"] is not None:
        return None if item["truth"] is None else abs(item["truth"] - item["grade"]) >= 0.5
    return bool((item["probability"] >= 0.5) != item["fires"])
