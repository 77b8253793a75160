"""Addresses of pages: one spelling, so that every page has one stable address. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote, urlencode


def link(path: str, parameters: Mapping[str, object] | None = None, **more: object) -> str:
    """A path of this server with its parameters, in order; those without a value are left out."""
    given = {**(parameters or {}), **more}
    kept = [(name, _text(value)) for name, value in given.items() if value not in (None, "", False)]
    return quote(path) + (f"?{urlencode(kept)}" if kept else "")


def _text(value: object) -> str:
    return "1" if value is True else str(value)
