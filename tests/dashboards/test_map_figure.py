"""Addresses of the map's views."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

from dashboards.map_figure import Frame
from dashboards.map_queries import Bounds


def bounds_of(address: str) -> Bounds:
    left, right, low, high = (float(part) for part in parse_qs(urlsplit(address).query)["at"][0].split(","))
    return left, right, low, high


def test_a_view_can_be_narrowed_down_to_one_place_without_end() -> None:
    bounds: Bounds = (-20.0, 20.0, -10.0, 10.0)
    for _ in range(60):
        bounds = bounds_of(Frame(bounds, {}).closer(12.3456789, -7.6543211))
        assert bounds[0] < 12.3456789 < bounds[1]
        assert bounds[2] < -7.6543211 < bounds[3]


def test_closer_and_farther_lead_back_to_the_same_view() -> None:
    view: Bounds = (1.0000001, 1.0000005, 2.0000001, 2.0000003)
    closer = bounds_of(Frame(view, {}).closer(1.0000003, 2.0000002))
    back = bounds_of(Frame(closer, {}).farther())
    assert max(abs(one - other) for one, other in zip(back, view, strict=True)) < 1e-13
