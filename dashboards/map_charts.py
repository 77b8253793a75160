"""The map and the surroundings of a feature as charts, with names that do not cover each other. Rows in, SVG out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from dashboards.charts import OTHER_COLOR, Spec, cluster_color, draw
from dashboards.label_places import Name, place_names, text_width
from dashboards.text import shorten, visible

Row = Mapping[str, Any]
PADDING = 8
NAME_SIZE = 12.5
STEP_COLORS = ("var(--accent)", "var(--k1)", OTHER_COLOR)
"""Of the feature itself, its neighbors and theirs."""
STEP_NAMES = ("this feature", "its neighbors", "their neighbors")


@dataclass(frozen=True)
class Plane:
    """A part of the map and the figure it is drawn in: places of the map to places of the figure and back."""

    left: float
    right: float
    low: float
    high: float
    width: float
    height: float

    def place(self, x: float, y: float) -> tuple[float, float]:
        across, up = (x - self.left) / (self.right - self.left), (y - self.low) / (self.high - self.low)
        return across * self.width, (1 - up) * self.height

    def back(self, x: float, y: float) -> tuple[float, float]:
        up = 1 - y / self.height
        return self.left + x / self.width * (self.right - self.left), self.low + up * (self.high - self.low)

    def write(self, names: Iterable[Row], size: float) -> list[dict[str, Any]]:
        """The names (`x`, `y`, `text`) that find a place, each where it is written."""
        wanted = (Name(visible(name["text"]), *self.place(name["x"], name["y"])) for name in names)
        placed = place_names(wanted, width=self.width, height=self.height, size=size)
        return [dict(zip(("x", "y"), self.back(name.x, name.y), strict=True)) | {"text": name.text} for name in placed]


def plane(points: Sequence[Row], *, width: float, height: float, padding: float = PADDING) -> Plane:
    """All points, with `padding` of the figure's units around them."""
    left, right = _ends([point["x"] for point in points], width, padding)
    low, high = _ends([point["y"] for point in points], height, padding)
    return Plane(left, right, low, high, width, height)


def _ends(values: Sequence[float], size: float, padding: float) -> tuple[float, float]:
    low, high = min(values), max(values)
    around = (high - low or 1.0) * padding / (size - 2 * padding)
    return low - around, high + around


def feature_map(points: Sequence[Row], names: Sequence[Row]) -> tuple[Markup, int]:
    """The map, and how many of the names stand on it: the others would have covered those before them.

    `points` have `x`, `y`, `text` (shown on hover) and `rank` (of the cluster by size, or None); `names` `x`, `y`, `text`.
    """
    values = [
        {"x": round(p["x"], 3), "y": round(p["y"], 3), "text": visible(p["text"]), "color": cluster_color(p["rank"])}
        for p in points
    ]
    shown = plane(values, width=900, height=560)
    where = _axes(shown)
    written = shown.write(names, NAME_SIZE)
    marks: Spec = {
        "data": {"values": values},
        "mark": {"type": "circle", "size": 22, "opacity": 0.85},
        "encoding": {
            **where,
            "color": {"field": "color", "type": "nominal", "scale": None},
            "description": {"field": "text", "type": "nominal"},
        },
    }
    spec = {"layer": [marks, *_written(written, where, NAME_SIZE)], "width": shown.width, "height": shown.height}
    return draw(spec, label="Map of the features, colored by cluster"), len(written)


def neighborhood(around: Sequence[Row], pairs: Sequence[Row]) -> tuple[Markup, int]:
    """A feature, its neighbors and theirs where they stand on the map, and how many of them have their label beside them.

    `around` have `feature`, `x`, `y`, `label`, `score` and `step` (0 the feature, 1, 2); `pairs` `one`, `other` and
    `similarity`, which is how thick their line is.
    """
    shown = plane(around, width=760, height=440, padding=26)
    where = _axes(shown)
    places = {item["feature"]: item for item in around}
    lines = [
        {"x": one["x"], "y": one["y"], "x2": other["x"], "y2": other["y"], "thick": 0.4 + 2.6 * max(p["similarity"], 0)}
        for p in pairs
        if (one := places.get(p["one"])) and (other := places.get(p["other"]))
    ]
    values = [
        {
            "x": item["x"],
            "y": item["y"],
            "kind": STEP_NAMES[item["step"]],
            "size": (190, 90, 40)[item["step"]],
            "text": visible(f"{item['feature']}: {_label(item, 90)}"),
        }
        for item in reversed(around)
    ]
    written = shown.write(_beside(around, shown), NAME_SIZE - 1)
    spec = {
        "layer": [_rules(lines, where), _marks(values, where), *_written(written, where, NAME_SIZE - 1)],
        "width": shown.width,
        "height": shown.height,
    }
    return draw(spec, label="The feature among its neighbors on the map"), len(written)


def _beside(around: Sequence[Row], shown: Plane) -> Iterable[dict[str, Any]]:
    """Labels of the feature and its neighbors, each to the right of its mark or, near the edge, to the left."""
    for item in around:
        if item["step"] == 2:
            continue
        text = f"{item['feature']}: {_label(item, 34)}"
        x, y = shown.place(item["x"], item["y"])
        half = text_width(visible(text), NAME_SIZE - 1) / 2 + 9
        moved = x + half if x + 2 * half < shown.width else x - half
        at = shown.back(moved, y)
        yield {"x": at[0], "y": at[1], "text": text}


def _label(item: Row, length: int) -> str:
    return shorten(item["label"], length, told=False) if item["label"] else "no label"


def _rules(lines: list[dict[str, Any]], where: Mapping[str, Spec]) -> Spec:
    thick = {"field": "thick", "type": "quantitative", "scale": None}
    return {
        "data": {"values": lines},
        "mark": {"type": "rule", "color": "var(--line-2)"},
        "encoding": {**where, "x2": {"field": "x2"}, "y2": {"field": "y2"}, "strokeWidth": thick},
    }


def _marks(values: list[dict[str, Any]], where: Mapping[str, Spec]) -> Spec:
    used = [name for name in STEP_NAMES if any(value["kind"] == name for value in values)]
    colors = [STEP_COLORS[STEP_NAMES.index(name)] for name in used]
    legend = {"orient": "top", "title": None}
    return {
        "data": {"values": values},
        "mark": {"type": "circle", "opacity": 1},
        "encoding": {
            **where,
            "color": {"field": "kind", "type": "nominal", "scale": {"domain": used, "range": colors}, "legend": legend},
            "size": {"field": "size", "type": "quantitative", "scale": None},
            "description": {"field": "text", "type": "nominal"},
        },
    }


def _axes(shown: Plane) -> dict[str, Spec]:
    def axis(field: str, title: str, ends: tuple[float, float]) -> Spec:
        bare = {"labels": False, "ticks": False, "domain": False, "grid": False}
        scale = {"domain": list(ends), "zero": False, "nice": False}
        return {"field": field, "type": "quantitative", "title": title, "axis": bare, "scale": scale}

    return {
        "x": axis("x", "map x (no unit: near means similar directions)", (shown.left, shown.right)),
        "y": axis("y", "map y (no unit)", (shown.low, shown.high)),
    }


def _written(names: list[dict[str, Any]], where: Mapping[str, Spec], size: float) -> list[Spec]:
    """Names over everything else, on a rim of the paper's color."""
    name = {"type": "text", "fontSize": size, "fontWeight": 600, "aria": False}
    halo = {**name, "stroke": "var(--paper)", "strokeWidth": 4, "strokeJoin": "round", "opacity": 0.85}
    text = {**where, "text": {"field": "text", "type": "nominal"}}
    return [
        {"data": {"values": names}, "mark": halo, "encoding": text},
        {"data": {"values": names}, "mark": {**name, "color": "var(--ink)"}, "encoding": text},
    ]
