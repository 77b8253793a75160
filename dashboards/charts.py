"""Charts as inline SVG, drawn without a browser: Vega-Lite in, markup out that follows the page's colors.

Colors are CSS variables of the page, so one drawing serves light and dark. Texts are escaped by Vega and made visible
here. It knows what a chart looks like, not where its numbers come from.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import polars as pl
from markupsafe import Markup

from dashboards.text import visible

Row = Mapping[str, Any]
Spec = dict[str, Any]

FONT = "system-ui, -apple-system, 'Segoe UI', sans-serif"
SERIES = {
    "true": ("True labels", "var(--accent)", [1, 0]),
    "shuffled": ("Shuffled labels", "var(--ink-3)", [1, 0]),
    "random_weights": ("Random weights", "var(--warm)", [5, 3]),
}
"""Series of a comparison: name, color, dashes."""
CLUSTER_COLORS = tuple(f"var(--k{number})" for number in range(10))
OTHER_COLOR = "var(--k-rest)"


def score_histogram(bins: Sequence[Row], *, title: str) -> Markup:
    """How scores spread. `bins` have `series` (a key of SERIES), `left`, `right` and `share` (0-1 of the series)."""
    points = [
        {"series": SERIES[b["series"]][0], "score": edge, "percent": 100 * b["share"], "order": 2 * i + side}
        for i, b in enumerate(bins)
        for side, edge in enumerate((b["left"], b["right"]))
    ]
    x = {
        "field": "score",
        "type": "quantitative",
        "title": title,
        "scale": {"domain": [0, 1]},
        "axis": {"format": ".1f"},
    }
    y = {"field": "percent", "type": "quantitative", "title": "share of labels (%)", "stack": None}
    order = {"field": "order", "type": "quantitative"}
    layers: list[Spec] = [
        {
            "transform": [{"filter": {"field": "series", "equal": SERIES["true"][0]}}],
            "mark": {"type": "area", "opacity": 0.16, "color": "var(--accent)"},
            "encoding": {"x": x, "y": y, "order": order},
        },
        {"mark": {"type": "line", "strokeWidth": 1.6}, "encoding": {"x": x, "y": y, "order": order, **_series(points)}},
        _chance_line("x"),
    ]
    return draw({"data": {"values": points}, "layer": layers, "width": 400, "height": 150}, label=f"Histogram: {title}")


def recall_by_strength(rows: Sequence[Row]) -> Markup:
    """Share of firing windows found, by strength. `rows` have `series`, `quantile` 1-5, `mean`, `low` and `high`."""
    values = [{**row, "series": SERIES[row["series"]][0]} for row in rows]
    x = {
        "field": "quantile",
        "type": "quantitative",
        "title": "strength of the firing window (1 weakest fifth, 5 strongest)",
        "scale": {"domain": [0.8, 5.2]},
        "axis": {"values": [1, 2, 3, 4, 5], "format": "d", "grid": False},
    }
    scale = {"domain": [0, 1]}
    y = {"field": "mean", "type": "quantitative", "title": "share found (recall)", "scale": scale}
    bars = {"field": "low", "type": "quantitative", "title": "share found (recall)", "scale": scale}
    layers: list[Spec] = [
        {
            "mark": {"type": "rule", "opacity": 0.6},
            "encoding": {"x": x, "y": bars, "y2": {"field": "high"}, **_series(values)},
        },
        {"mark": {"type": "line", "strokeWidth": 1.6}, "encoding": {"x": x, "y": y, **_series(values)}},
        {"mark": {"type": "point", "filled": True, "opacity": 1}, "encoding": {"x": x, "y": y, **_series(values)}},
    ]
    spec = {"data": {"values": values}, "layer": layers, "width": 400, "height": 170}
    return draw(spec, label="Share of firing windows that the judge finds, by their strength")


def differences(rows: Sequence[Row], *, title: str) -> Markup:
    """How much two sides differ from feature to feature. `rows` have `left`, `right` and `features` of each bin."""
    x = {"field": "left", "type": "quantitative", "title": title, "bin": {"binned": True}, "axis": {"format": "+.2f"}}
    bars: Spec = {
        "data": {"values": list(rows)},
        "mark": {"type": "bar", "color": "var(--accent)", "opacity": 0.75},
        "encoding": {
            "x": x,
            "x2": {"field": "right"},
            "y": {"field": "features", "type": "quantitative", "title": "features"},
        },
    }
    spec = {"layer": [bars, _chance_line("x", 0.0)], "width": 400, "height": 150}
    return draw(spec, label=f"Histogram of the differences: {title}")


def plot(frame: pl.DataFrame) -> Markup | None:
    """Whatever a frame's columns allow: two numbers as points, a text and a number as bars, one number as a histogram.

    None where there is no number to draw.
    """
    numbers = [name for name, dtype in frame.schema.items() if dtype.is_numeric()]
    texts = [name for name, dtype in frame.schema.items() if dtype == pl.String]
    if not numbers or frame.is_empty():
        return None
    if texts:
        return _bars(frame.head(40), texts, numbers[0])
    if len(numbers) >= 2:
        x, y = numbers[:2]
        encoding = {"x": _axis("x", x), "y": _axis("y", y)}
        mark: Spec = {"type": "circle", "color": "var(--accent)", "opacity": 0.6}
    else:
        x, y = numbers[0], numbers[0]
        encoding = {"x": {**_axis("x", x), "bin": {"maxbins": 40}},
                    "y": {"aggregate": "count", "type": "quantitative", "title": "rows"}}  # fmt: skip
        mark = {"type": "bar", "color": "var(--accent)"}
    values = [{"x": a, "y": b} for a, b in zip(_numbers(frame[x]), _numbers(frame[y]), strict=True)]
    spec = {"data": {"values": values}, "mark": mark, "encoding": encoding, "width": 560, "height": 300}
    return draw(spec, label="Plot of the answer")


def _bars(frame: pl.DataFrame, texts: Sequence[str], number: str) -> Markup:
    """A bar a row, named by its texts."""
    names = _distinct(frame.select(texts))
    values = [{"x": visible(name), "y": value} for name, value in zip(names, _numbers(frame[number]), strict=True)]
    bars = {
        "field": "x",
        "type": "nominal",
        "title": visible(", ".join(texts)),
        "sort": None,
        "axis": {"labelLimit": 220},
    }
    encoding = {"y": bars, "x": {**_axis("y", f"{number} (by {', '.join(texts)})"), "scale": {"zero": True}}}
    mark = {"type": "bar", "color": "var(--accent)"}
    return draw(
        {"data": {"values": values}, "mark": mark, "encoding": encoding, "width": 560}, label="Plot of the answer"
    )


def _numbers(values: pl.Series) -> list[float | None]:
    """Numbers as a drawing takes them: none of decimals, as which DuckDB's HUGEINT comes too."""
    return values.cast(pl.Float64).to_list()


def _distinct(names: pl.DataFrame) -> list[str]:
    """One name a row, of all its texts; rows that are alike are numbered, or their bars would be added up."""
    joined = [", ".join(text for text in row if text) for row in names.iter_rows()]
    seen: dict[str, int] = {}
    for place, name in enumerate(joined):
        seen[name] = seen.get(name, 0) + 1
        joined[place] = f"{name} ({seen[name]})" if seen[name] > 1 else name
    return joined


def _axis(field: str, title: str) -> Spec:
    return {"field": field, "type": "quantitative", "title": visible(title), "scale": {"zero": False}}


def cluster_color(rank: int | None) -> str:
    """Color of the cluster that is `rank`-th by size, 0-based; one quiet color for all the small ones."""
    return CLUSTER_COLORS[rank] if rank is not None and rank < len(CLUSTER_COLORS) else OTHER_COLOR


def draw(spec: Spec, *, label: str) -> Markup:
    """A Vega-Lite chart as SVG for a page. `label` says to screen readers what it shows."""
    import vl_convert

    whole = {"$schema": "https://vega.github.io/schema/vega-lite/v5.json", "config": _CONFIG, **spec}
    # No address may be loaded: the numbers are in the chart.
    svg = vl_convert.vegalite_to_svg(whole, allowed_base_urls=[])
    return Markup(_for_a_page(svg, label))  # Vega has escaped every text


def _for_a_page(svg: str, label: str) -> str:
    svg = re.sub(r"<[a-z][^<>]*>", _shortened, svg)
    svg = re.sub(r' (?:role|aria-hidden|aria-roledescription|pointer-events)="[^"]*"', "", svg)
    # what a mark says of itself becomes a tooltip; on groups and axes it only repeats what is drawn
    svg = re.sub(r'<path aria-label="([^"]*)"([^>]*)/>', r"<path\2><title>\1</title></path>", svg)
    svg = re.sub(r' aria-label="[^"]*"', "", svg)
    width, height = re.findall(r'(?:width|height)="([\d.]+)"', svg)[:2]
    opening = f'<svg class="chart" role="img" aria-label="{escape(label)}" viewBox="0 0 {width} {height}"'
    return re.sub(r"^<svg [^>]*>", f'{opening} width="{width}" height="{height}">', svg)


def _shortened(tag: re.Match[str]) -> str:
    """A tag with one decimal in its places; what is said or written keeps its own."""
    return re.sub(
        r' (?!aria-label=)[\w-]+="[^"]*"', lambda each: re.sub(r"(\d+\.\d)\d+", r"\1", each.group()), tag.group()
    )


def _series(rows: Sequence[Row]) -> Spec:
    """Color and dashes by series, with a legend of those that occur."""
    seen = {row["series"] for row in rows}
    used = [entry for entry in SERIES.values() if entry[0] in seen]
    names = [name for name, _, _ in used]
    field = {"field": "series", "type": "nominal", "title": None, "sort": names}
    legend = {"orient": "top", "symbolType": "stroke", "symbolOpacity": 1}
    return {
        "color": {**field, "scale": {"domain": names, "range": [color for _, color, _ in used]}, "legend": legend},
        "strokeDash": {**field, "scale": {"domain": names, "range": [dash for _, _, dash in used]}, "legend": legend},
    }


def _chance_line(axis: str, place: float = 0.5) -> Spec:
    mark = {"type": "rule", "color": "var(--ink-3)", "strokeDash": [2, 3]}
    return {"data": {"values": [{}]}, "mark": mark, "encoding": {axis: {"datum": place}}}


_CONFIG: Spec = {
    "font": FONT,
    "background": None,
    "view": {"stroke": None},
    "axis": {
        "labelColor": "var(--ink-2)",
        "titleColor": "var(--ink-2)",
        "titleFontWeight": "normal",
        "labelFontSize": 12,
        "titleFontSize": 12.5,
        "titlePadding": 9,
        "domainColor": "var(--line-2)",
        "tickColor": "var(--line-2)",
        "gridColor": "var(--line)",
        "tickCount": 5,
    },
    "legend": {"labelColor": "var(--ink-2)", "labelFontSize": 12.5, "columnPadding": 18, "labelLimit": 260},
}
