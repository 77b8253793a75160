"""Formats of reports, one file each, found by name: from a `Document` to the files that hold it.

A format is a file with `create`. It makes every string visible and harmless in its own way; what a report says is none of
its business.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Protocol, cast

from dashboards.document import Document
from labeling import registry

WORD = "format"


class Format(Protocol):
    ending: str
    """Of the file's name, with its dot."""

    def render(self, document: Document) -> Mapping[str, bytes]:
        """The document's file, first, and files that belong beside it, by name.

        Raise FeatlasError when a package that it takes is not installed.
        """
        ...


def names() -> tuple[str, ...]:
    """Known formats."""
    return registry.names(sys.modules[__name__])


def create(name: str) -> Format:
    """Make a format. Raise UsageError that lists the known ones when there is none of the name."""
    return cast(Format, registry.create(sys.modules[__name__], name, kind=WORD))


def endings() -> dict[str, str]:
    """Names of formats by the ending of their files."""
    return {create(name).ending: name for name in names()}
