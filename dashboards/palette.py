"""Colors of the pages as values, for drawings that leave the page: charts name colors, and a style sheet gives them."""

from __future__ import annotations

import re
from functools import lru_cache

from dashboards.environment import TEMPLATES

FONT = "DejaVu Sans, Helvetica, Arial, sans-serif"


@lru_cache
def light() -> dict[str, str]:
    """Colors of the light page by name, such as `accent`."""
    style = (TEMPLATES / "report.css").read_text(encoding="utf-8")
    root = style[style.index(":root") : style.index("}")]
    return {name: value.strip() for name, value in re.findall(r"--([\w-]+):\s*(#[0-9a-f]{3,6})", root)}


def color(named: str) -> str:
    """`var(--accent)` as a value; anything else as it is."""
    found = re.fullmatch(r"var\(--([\w-]+)\)", named)
    return light()[found.group(1)] if found else named


def standalone(svg: str, *, font: str = FONT, paper: bool = True) -> str:
    """A chart that needs no page: colors as values and, with `paper`, on the page's ground."""
    svg = re.sub(r"var\(--([\w-]+)\)", lambda found: light()[found.group(1)], svg)
    svg = re.sub(r'font-family="[^"]*"', f'font-family="{font}"', svg)
    if 'xmlns="' not in svg.split(">", 1)[0]:
        svg = svg.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1)
    opening, rest = svg.split(">", 1)
    ground = f'<rect width="100%" height="100%" fill="{light()["paper"]}"/>' if paper else ""
    return f"{opening}>{ground}{rest}"
