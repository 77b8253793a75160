"""Charts as markup of a page."""

from __future__ import annotations

import xml.etree.ElementTree as ET

from dashboards.charts import cluster_color, differences, recall_by_strength, score_histogram
from dashboards.map_charts import feature_map
from tests.dashboards.build import NASTY

BINS = [
    {"series": series, "left": i / 4, "right": (i + 1) / 4, "share": 0.25}
    for series in ("true", "shuffled", "random_weights")
    for i in range(4)
]


def test_a_histogram_names_its_axes_units_and_series() -> None:
    svg = score_histogram(BINS, title="headline score of a label")
    for words in (
        "headline score of a label",
        "share of labels (%)",
        "True labels",
        "Shuffled labels",
        "Random weights",
    ):
        assert f">{words}</text>" in svg


def test_a_series_that_is_not_there_is_not_in_the_legend() -> None:
    assert "Random weights" not in score_histogram(BINS[:8], title="score")


def test_recall_is_drawn_with_its_axes_named() -> None:
    rows = [{"series": "true", "quantile": q, "mean": 0.5, "low": 0.4, "high": 0.6} for q in range(1, 6)]
    svg = recall_by_strength(rows)
    assert "share found (recall)" in svg
    assert "1 weakest fifth, 5 strongest" in svg


def test_labels_on_the_map_are_text_and_well_formed() -> None:
    points = [{"x": i, "y": i * i, "text": NASTY, "rank": i} for i in range(3)]
    svg, _ = feature_map(points, [{"x": 0, "y": 0, "text": NASTY}])
    root = ET.fromstring(svg)
    assert sum(element.tag == "title" for element in root.iter()) == 3
    assert not any(element.tag == "script" for element in root.iter())
    assert "\x00" not in svg
    assert "\u202e" not in svg


def test_a_chart_follows_the_page_and_loads_nothing() -> None:
    svg, _ = feature_map([{"x": 0, "y": 0, "text": "a", "rank": None}], [])
    assert cluster_color(None) == "var(--k-rest)"
    assert 'fill="var(--k-rest)"' in svg
    assert "http" not in svg
    assert "style=" not in svg
    assert 'role="img"' in svg


def test_numbers_that_are_written_keep_their_decimals() -> None:
    bins = [{"left": (n - 2) / 50, "right": (n - 1) / 50, "features": n} for n in range(4)]
    assert ">+0.02</text>" in differences(bins, title="A − B")
    svg, _ = feature_map([{"x": 0.12345, "y": 0, "text": "version 1.2345", "rank": 0}], [])
    assert "<title>version 1.2345</title>" in svg
