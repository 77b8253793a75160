"""HTML: one page that needs nothing but itself, runs no script and follows the reader's light or dark."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from jinja2 import Environment
from markupsafe import Markup

from dashboards.document import Block, Code, Document, Measured
from dashboards.environment import TEMPLATES, make_environment


@dataclass(frozen=True)
class Html:
    ending: str = ".html"

    def render(self, document: Document) -> Mapping[str, bytes]:
        style = (TEMPLATES / "report.css").read_text(encoding="utf-8")
        page = _environment().get_template("report.html.j2").render(
            style=Markup(style),
            style_hash=base64.b64encode(hashlib.sha256(style.encode()).digest()).decode(),
            document=document,
        )  # fmt: skip
        return {document.name + self.ending: page.encode()}


def create() -> Html:
    """The format `html`."""
    return Html()


def _environment() -> Environment:
    """The templates' environment, which can also draw blocks: the macro of `blocks.html.j2` with the name of their kind."""
    environment = make_environment()

    def draw(block: Block) -> Markup:
        return Markup(getattr(blocks, block.kind)(block))

    environment.globals |= {"draw": draw, "newline": Markup("\n")}
    environment.tests |= {
        "measured": lambda cell: isinstance(cell, Measured),
        "code": lambda piece: isinstance(piece, Code),
    }
    environment.filters["drawing"] = Markup  # made by charts, which escape what they draw
    blocks = environment.get_template("blocks.html.j2").module
    return environment
