"""The list of features: search, filters, sort, one page after the other; any list as CSV."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response

from dashboards.links import link
from dashboards.list_queries import (
    SORTS,
    After,
    Direction,
    Filters,
    Order,
    SearchIn,
    Sort,
    feature_list,
    feature_page,
    filter_choices,
)
from dashboards.pages._files import csv_pieces_response
from dashboards.pages._page import ReaderOfRequest, SetName, check_known, choose, connections, render
from dashboards.wording import STATUSES
from labeling.errors import UsageError

router = APIRouter()
ROWS = 50
NOTHING = "none"
"""What stands for a missing value in the address of the next page."""
Text = Annotated[str, Query(max_length=400)]
Number = Annotated[str, Query(max_length=30)]


def _filters(
    q: Text = "",
    where: Annotated[SearchIn, Query(alias="in")] = "label",
    status: Text = "",
    explainer: Text = "",
    cluster: Number = "",
    tag: Text = "",
    score: Number = "",
    low: Number = "",
    high: Number = "",
    most_q: Annotated[str, Query(alias="q_most", max_length=30)] = "",
    rate_from: Number = "",
    rate_to: Number = "",
    failed: bool = False,
) -> Filters:
    """What the form was filled with; fields left empty are no filters."""
    if status:
        check_known("status", status, STATUSES)
    return Filters(
        search=q.strip() or None,
        search_in=where,
        status=status or None,
        explainer=explainer or None,
        cluster=_whole(cluster, "cluster"),
        tag=tag or None,
        least_score=_number(score, "score"),
        least_low=_number(low, "low"),
        most_high=_number(high, "high"),
        most_q=_number(most_q, "q_most"),
        least_rate=_number(rate_from, "rate_from"),
        most_rate=_number(rate_to, "rate_to"),
        failed=failed,
    )


def _order(sort: Sort = "score_low", direction: Annotated[Direction, Query(alias="dir")] = "desc") -> Order:
    return Order(sort, direction)


FiltersOfRequest = Annotated[Filters, Depends(_filters)]
OrderOfRequest = Annotated[Order, Depends(_order)]


@router.get("/features")
def features(
    request: Request,
    reader: ReaderOfRequest,
    filters: FiltersOfRequest,
    order: OrderOfRequest,
    name: SetName = None,
    after: Annotated[str, Query(max_length=80)] = "",
) -> Response:
    chosen = choose(request, reader, name)
    if chosen is None:
        return render(request, "features.html.j2", chosen=None)
    place = _after(after)
    page = feature_page(reader, chosen.sample_id, filters, order, after=place, n=ROWS + 1)
    rows = page.rows.to_dicts()
    choices = connections(request).remember(
        reader, ("choices", chosen.sample_id), lambda: filter_choices(reader, chosen.sample_id)
    )
    asked = asked_for(chosen.name, filters, order)
    more = link("/features", asked, after=_after_text(rows[ROWS - 1], order)) if len(rows) > ROWS else None
    return render(
        request, "features.html.j2", chosen=chosen, rows=rows[:ROWS], total=page.total, filters=filters, order=order, asked=asked,
        more=more, first=link("/features", asked) if place else None, choices=choices, sorts=SORTS,
    )  # fmt: skip


@router.get("/features.csv")
def features_csv(
    request: Request, reader: ReaderOfRequest, filters: FiltersOfRequest, order: OrderOfRequest, name: SetName = None
) -> Response:
    chosen = choose(request, reader, name)
    if chosen is None:
        raise UsageError("Nothing is sampled yet: `featlas run` makes a feature set.")
    pieces = feature_list(reader, chosen.sample_id, filters, order)
    return csv_pieces_response(pieces, f"features-{chosen.name}.csv")


def asked_for(name: str, filters: Filters, order: Order) -> dict[str, Any]:
    """The parameters of a list's address."""
    values = asdict(filters)
    spelled = {
        "set": name, "q": values["search"], "in": values["search_in"] if values["search"] else None,
        "status": values["status"], "explainer": values["explainer"], "cluster": values["cluster"], "tag": values["tag"],
        "score": values["least_score"], "low": values["least_low"], "high": values["most_high"],
        "q_most": values["most_q"], "rate_from": values["least_rate"],
        "rate_to": values["most_rate"], "failed": values["failed"],
    }  # fmt: skip
    return {**spelled, "sort": order.sort, "dir": order.direction}


def _number(text: str, name: str) -> float | None:
    if not text.strip():
        return None
    try:
        return float(text)
    except ValueError:
        raise UsageError(f"{name} must be a number such as 0.6, not {text!r}.") from None


def _whole(text: str, name: str) -> int | None:
    value = _number(text, name)
    if value is None or value.is_integer():
        return None if value is None else int(value)
    raise UsageError(f"{name} must be a whole number, not {text!r}.")


def _after(text: str) -> After | None:
    if not text:
        return None
    value, separator, feature = text.rpartition("~")
    if not separator or not feature.isdecimal():
        raise UsageError(f"after must be a value, ~ and a feature, as the list writes it, not {text!r}.")
    return After(None if value == NOTHING else _number(value, "after"), int(feature))


def _after_text(row: dict[str, Any], order: Order) -> str:
    value = row[order.sort]
    return f"{NOTHING if value is None else repr(float(value))}~{row['feature']}"
