"""Colors of the style sheets: text is readable on every ground it stands on, in the light and in the dark."""

from __future__ import annotations

import re

import pytest

from dashboards.environment import TEMPLATES

Color = tuple[float, ...]
"""Red, green, blue, 0-255."""
CSS = "".join((TEMPLATES / name).read_text(encoding="utf-8") for name in ("report.css", "pages.css"))
GROUNDS = ("paper", "card")
TEXT, DRAWING = 4.5, 3.0
"""Least contrast of small text and of what is drawn, by WCAG 2.2, 1.4.3 and 1.4.11."""


def properties(scheme: str) -> dict[str, str]:
    """Custom properties of a color scheme; dark ones stand in for light ones."""
    dark = r"@media \(prefers-color-scheme: dark\) \{\s*:root \{(.*?)\}\s*\}"
    blocks = re.findall(r":root \{(.*?)\}", re.sub(dark, "", CSS, flags=re.S), re.S)
    blocks += re.findall(dark, CSS, re.S) if scheme == "dark" else []
    return dict(re.findall(r"--([\w-]+):\s*([^;]+);", "".join(blocks)))


def color(value: str) -> Color:
    if not value.startswith("#"):
        return tuple(float(part) for part in value.split())
    digits = value[1:] if len(value) == 7 else "".join(2 * digit for digit in value[1:])
    return tuple(float(int(digits[place : place + 2], 16)) for place in (0, 2, 4))


def over(front: Color, ground: Color, alpha: float) -> Color:
    return tuple(alpha * a + (1 - alpha) * b for a, b in zip(front, ground, strict=True))


def contrast(one: Color, other: Color) -> float:
    """Contrast ratio, 1-21, by WCAG 2.2."""

    def luminance(shown: Color) -> float:
        parts = [part / 255 for part in shown]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def text_colors() -> set[str]:
    """Properties that some rule draws text with."""
    found = set(re.findall(r"(?<![\w-])color:\s*var\(--([\w-]+)\)", CSS))
    for selector, rule in re.findall(r"([^{}]+)\{([^{}]*)\}", CSS):
        if re.search(r"\btext\b(?!-)", selector):
            found |= set(re.findall(r"fill:\s*var\(--([\w-]+)\)", rule))
    return found


def test_black_on_white_has_the_largest_contrast() -> None:
    assert contrast(color("#000"), color("#ffffff")) == pytest.approx(21)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_is_readable_on_every_ground(scheme: str) -> None:
    known = properties(scheme)
    names = text_colors() - {"heat-ink"}
    assert {"ink", "ink-2", "ink-3", "accent", "warm", "bad"} <= names
    found = {(name, on): contrast(color(known[name]), color(known[on])) for name in names for on in GROUNDS}
    assert {pair: round(ratio, 2) for pair, ratio in found.items() if ratio < TEXT} == {}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_are_readable_however_strongly_they_fire(scheme: str) -> None:
    known = properties(scheme)
    alphas = [float(alpha) for alpha in re.findall(r"rgb\(var\(--heat\) / ([\d.]+)\)", CSS)]
    assert len(alphas) == 10
    ink, heat = color(known["heat-ink"]), color(known["heat"])
    shaded = [over(heat, color(known[on]), alpha) for on in GROUNDS for alpha in alphas]
    assert min(contrast(ink, ground) for ground in shaded) >= TEXT


def test_every_step_of_the_map_is_seen_in_the_dark() -> None:
    known = properties("dark")
    assert min(contrast(color(known[f"h{step}"]), color(known["card"])) for step in range(1, 9)) >= DRAWING


def test_every_color_of_text_is_a_property_with_a_value_in_both_schemes() -> None:
    assert re.findall(r"(?<![\w-])color:(?!\s*(?:var\(|inherit))[^;}]+", CSS) == []
