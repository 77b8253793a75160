"""The map of all features, from afar in cells and near by one by one; and the neighborhood of one feature."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Request, Response
from starlette.exceptions import HTTPException

from dashboards import feature_queries, map_queries
from dashboards.charts import CLUSTER_COLORS
from dashboards.map_figure import COLUMNS, HEIGHT, ROWS, WIDTH, Frame, cell_marks, neighborhood_marks, point_marks
from dashboards.map_queries import Bounds, View
from dashboards.pages._page import ReaderOfRequest, SetName, choose, connections, render
from dashboards.queries import Reader
from labeling.errors import UsageError

router = APIRouter()
ColorBy = Literal["cluster", "score", "density"]
MOST_POINTS = 1500
"""In view at once one by one; above, features are counted in cells."""
NAMES = 12
"""Clusters whose names are written on the map."""
Text = Annotated[str, Query(max_length=400)]


@router.get("/map")
def feature_map(
    request: Request,
    reader: ReaderOfRequest,
    name: SetName = None,
    color: ColorBy = "cluster",
    q: Text = "",
    at: Annotated[str, Query(max_length=120)] = "",
) -> Response:
    """`at` is the part in view: x from, x to, y from, y to."""
    chosen = choose(request, reader, name)
    if chosen is None:
        return render(request, "map.html.j2", chosen=None)
    remember = connections(request).remember
    whole = remember(reader, ("bounds", chosen.name), lambda: map_queries.bounds(reader, chosen.name))
    asked = {"set": chosen.name, "color": color, "q": q.strip()}
    if whole is None:
        return render(request, "map.html.j2", chosen=chosen, whole=None)
    clusters: Sequence[Mapping[str, Any]] = remember(
        reader,
        ("clusters", chosen.sample_id),
        lambda: map_queries.largest_clusters(reader, chosen.sample_id, 200).to_dicts(),
    )
    ranks = {cluster["cluster"]: rank for rank, cluster in enumerate(clusters)}
    view = View(chosen.sample_id, chosen.name, _bounds(at) or whole, q.strip() or None)
    n = map_queries.count(reader, view)
    frame = Frame(view.bounds, asked)
    if n > MOST_POINTS:
        cells = _cells(request, reader, view, whole)
        found = map_queries.found_in_cells(reader, view, columns=COLUMNS, rows=ROWS)
        marked = [{**cell, "found": found.get((cell["col"], cell["line"]), 0)} for cell in cells]
        marks = cell_marks(marked, frame, color=color, ranks=ranks)
    else:
        marks = point_marks(
            map_queries.points(reader, view, most=MOST_POINTS).to_dicts(), frame, color=color, ranks=ranks
        )
    return render(
        request, "map.html.j2", chosen=chosen, whole=whole, marks=marks, frame=frame, asked=asked, color=color, q=q.strip(),
        n=n, single=n <= MOST_POINTS, zoomed=view.bounds != whole, width=WIDTH, height=HEIGHT,
        names=[frame.name(cluster) for cluster in clusters[:NAMES] if cluster["name"] and frame.holds(cluster)],
        legend=list(clusters[: len(CLUSTER_COLORS)]),
    )  # fmt: skip


@router.get("/neighborhood/{number}")
def neighborhood(
    request: Request, reader: ReaderOfRequest, number: Annotated[int, Path(ge=0, le=2**31 - 1)], name: SetName = None
) -> Response:
    """A feature among its neighbors and theirs."""
    chosen = choose(request, reader, name)
    if chosen is None:
        return render(request, "neighborhood.html.j2", chosen=None)
    row = feature_queries.feature(reader, chosen.sample_id, number)
    if not row:
        raise HTTPException(404, f"{chosen.name} has no feature {number}.")
    around = map_queries.neighborhood(reader, chosen.name, chosen.sample_id, number, most=12)
    pairs = map_queries.links_between(reader, chosen.name, number, [item["feature"] for item in around])
    return render(
        request, "neighborhood.html.j2", chosen=chosen, row=row[0], number=number, around=around,
        figure=neighborhood_marks(around, pairs, {"set": chosen.name}) if len(around) > 1 else None,
        width=WIDTH, height=HEIGHT,
    )  # fmt: skip


def _cells(request: Request, reader: Reader, view: View, whole: Bounds) -> list[dict[str, Any]]:
    """Cells of the map; those of the whole map are remembered, for people begin there and search there."""

    def make() -> list[dict[str, Any]]:
        return map_queries.cells(reader, view, columns=COLUMNS, rows=ROWS).to_dicts()

    if view.bounds != whole:
        return make()
    return connections(request).remember(reader, ("cells", view.feature_set), make)


def _bounds(text: str) -> Bounds | None:
    if not text:
        return None
    try:
        left, right, low, high = (float(part) for part in text.split(","))
    except ValueError:
        raise UsageError(f"at must be four numbers (x from, x to, y from, y to), not {text!r}.") from None
    if not (left < right and low < high) or max(abs(value) for value in (left, right, low, high)) > 1e12:
        raise UsageError(f"at must be x from, x to, y from, y to, each pair ascending, not {text!r}.")
    return left, right, low, high
