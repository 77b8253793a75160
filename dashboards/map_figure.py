"""Where the map's marks stand, which color they have and where they lead. Rows in, marks out; the template draws them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dashboards.charts import cluster_color
from dashboards.links import link
from dashboards.map_queries import Bounds
from dashboards.text import number, percent, shorten

WIDTH, HEIGHT = 960, 600
COLUMNS, ROWS = 96, 60
"""Cells of the map seen from afar: 10 x 10 units each."""
ZOOM = 4
"""A click on a cell shows this much closer."""
CLOSEST = 1e-12
"""Half the narrowest view, as a share of its place: numbers can hardly tell more apart, and features may share a place."""
LETTER, LINE = 7.0, 15.0
"""Width of a letter and height of a line of a name, in the figure's units."""
STEPS = 8
"""Shades of the scale for scores and densities."""
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Mark:
    """A circle, in the figure's units. `css` is its class, `color` a cluster's color where colors mean clusters."""

    x: float
    y: float
    radius: float
    text: str
    href: str
    color: str | None = None
    css: str = ""


@dataclass(frozen=True)
class Line:
    x1: float
    y1: float
    x2: float
    y2: float
    width: float


@dataclass(frozen=True)
class Frame:
    """The part of the map in view, and the parameters that lead back to it."""

    bounds: Bounds
    asked: Mapping[str, object]

    def place(self, x: float, y: float) -> tuple[float, float]:
        left, right, low, high = self.bounds
        return WIDTH * (x - left) / (right - left), HEIGHT * (1 - (y - low) / (high - low))

    def holds(self, row: Row) -> bool:
        left, right, low, high = self.bounds
        return bool(left <= row["x"] <= right and low <= row["y"] <= high)

    def name(self, cluster: Row) -> dict[str, Any]:
        """A cluster's name where it is written."""
        x, y = self.place(cluster["x"], cluster["y"])
        return {"x": x, "y": y, "text": shorten(cluster["name"], 28, told=False)}

    def closer(self, x: float, y: float) -> str:
        """Address of the view around a place."""
        left, right, low, high = self.bounds
        least = CLOSEST * max(abs(x), abs(y), 1.0)
        wide, tall = max((right - left) / ZOOM / 2, least), max((high - low) / ZOOM / 2, least)
        return self._at((x - wide, x + wide, y - tall, y + tall))

    def farther(self) -> str:
        left, right, low, high = self.bounds
        wide, tall = (right - left) * ZOOM / 2, (high - low) * ZOOM / 2
        x, y = (left + right) / 2, (low + high) / 2
        return self._at((x - wide, x + wide, y - tall, y + tall))

    def moved(self, right_by: int, up_by: int) -> str:
        """Address of the view half a width or height aside."""
        left, right, low, high = self.bounds
        wide, tall = right_by * (right - left) / 2, up_by * (high - low) / 2
        return self._at((left + wide, right + wide, low + tall, high + tall))

    def _at(self, bounds: Bounds) -> str:
        return link("/map", self.asked, at=",".join(repr(float(value)) for value in bounds))


def cell_marks(cells: Sequence[Row], frame: Frame, *, color: str, ranks: Mapping[int, int]) -> tuple[Mark, ...]:
    """One circle a cell, as large as it holds features. Found cells are drawn last."""
    most = max((cell["n"] for cell in cells), default=1)
    marks = []
    for cell in sorted(cells, key=lambda cell: cell["found"] > 0):
        x, y = cell["x"], cell["y"]
        radius = 1.4 + 3.6 * math.sqrt(cell["n"] / most)
        told = f"{cell['n']:,} features; one of them: {shorten(cell['label'] or 'no label', 90, told=False)}"
        told += f"; mean score {number(cell['score'], 2)}; fire on {percent(cell['rate'])} of tokens"
        marks.append(_mark(frame, x, y, radius, told, frame.closer(x, y), cell, color, ranks, found=cell["found"] > 0))
    return tuple(marks)


def point_marks(points: Sequence[Row], frame: Frame, *, color: str, ranks: Mapping[int, int]) -> tuple[Mark, ...]:
    """One circle a feature."""
    marks = []
    for point in sorted(points, key=lambda point: bool(point["found"])):
        href = link(f"/feature/{point['feature']}", set=frame.asked["set"])
        found = bool(point["found"])
        marks.append(_mark(frame, point["x"], point["y"], 4.0, _told(point), href, point, color, ranks, found=found))
    return tuple(marks)


def neighborhood_marks(
    around: Sequence[Row], pairs: Sequence[Row], asked: Mapping[str, object]
) -> tuple[tuple[Line, ...], tuple[tuple[Mark, str], ...]]:
    """Lines between neighbors, thicker where they are more similar, and marks with the nearest ones' labels beside them."""
    xs, ys = [item["x"] for item in around], [item["y"] for item in around]
    wide, tall = (max(xs) - min(xs)) * 0.12 or 1.0, (max(ys) - min(ys)) * 0.12 or 1.0
    frame = Frame((min(xs) - wide, max(xs) + 2.5 * wide, min(ys) - tall, max(ys) + tall), asked)
    places = {item["feature"]: frame.place(item["x"], item["y"]) for item in around}
    lines = tuple(
        Line(*places[pair["one"]], *places[pair["other"]], 0.5 + 3 * max(pair["similarity"], 0.0)) for pair in pairs
    )
    marks, written = [], list[tuple[float, float, float]]()
    for item in around:
        href = link(f"/neighborhood/{item['feature']}", asked)
        mark = Mark(*places[item["feature"]], (9, 6, 4)[item["step"]], _told(item), href, css=f"step{item['step']}")
        name = shorten(item["label"] or "no label", 34, told=False) if item["step"] < 2 else ""
        marks.append((mark, name if name and _has_room(mark, name, written) else ""))
    return lines, tuple(reversed(marks))


def _has_room(mark: Mark, name: str, written: list[tuple[float, float, float]]) -> bool:
    """Whether a name beside a mark covers none that is written; then it is added. Places are left, right and height."""
    left, right = mark.x + mark.radius, mark.x + mark.radius + LETTER * (len(name) + 1)
    if any(left < other[1] and other[0] < right and abs(mark.y - other[2]) < LINE for other in written):
        return False
    written.append((left, right, mark.y))
    return True


def _mark(
    frame: Frame, x: float, y: float, radius: float, told: str, href: str, row: Row, color: str,
    ranks: Mapping[int, int], *, found: bool,
) -> Mark:  # fmt: skip
    left, top = frame.place(x, y)
    css = "found" if found else ""
    if color == "cluster":
        return Mark(left, top, radius, told, href, cluster_color(ranks.get(row["cluster"])), css)
    step = _score_step(row["score"]) if color == "score" else _density_step(row["rate"])
    return Mark(left, top, radius, told, href, None, f"{css} {'unknown' if step is None else f'h{step}'}".strip())


def _score_step(score: float | None) -> int | None:
    """Shade 1 to STEPS: from 0.4, which is below chance, to 0.9."""
    return None if score is None else 1 + round((STEPS - 1) * min(max((score - 0.4) / 0.5, 0.0), 1.0))


def _density_step(rate: float | None) -> int | None:
    """Shade 1 to STEPS on a logarithmic scale: from one token in 100,000 to one in ten."""
    if not rate:
        return None
    return 1 + round((STEPS - 1) * min(max((math.log10(rate) + 5) / 4, 0.0), 1.0))


def _told(row: Row) -> str:
    label = shorten(row["label"], 90, told=False) if row["label"] else "no label"
    return f"{row['feature']}: {label}; score {number(row['score'], 2)}; fires on {percent(row['rate'])} of tokens"
