"""How templates are read and what they may call: one place for the report and the pages.

Every expression is escaped, made visible and never silently missing.
"""

from __future__ import annotations

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from dashboards import charts, text, wording

TEMPLATES = Path(__file__).parent / "templates"


def make_environment() -> Environment:
    """Templates of this folder, with the filters that turn values into words."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": text.number,
        "count": text.count,
        "percent": text.percent,
        "dollars": text.dollars,
        "seconds": text.seconds,
        "shorten": text.shorten,
        "lines": lambda value: escape(text.visible_lines(value)),  # markup already, or its lines would become one
        "plural": text.plural,
        "place": lambda value: round(100 * min(max(value, 0.0), 1.0), 1),
        "interval": lambda row, digits=2: text.interval(row["low"], row["high"], digits),
    }
    environment.globals |= {
        "STATUSES": wording.STATUSES,
        "control": wording.control,
        "metric": wording.metric,
        "cluster_color": charts.cluster_color,
    }
    return environment


def _shown(value: object) -> object:
    """What every expression of a template passes: nothing on the page is invisible, and nothing missing is empty."""
    if isinstance(value, Markup):
        return value
    return text.MISSING if value is None else text.visible(value) if isinstance(value, str) else value
