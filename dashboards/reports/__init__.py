"""Kinds of reports, one file each, found by name: from an open snapshot to a `Document`.

A kind is a file with `create`, whose parameters are what may be asked of it: `feature` (a number), `feature_set` (a name;
the first one where none is given) or `compared` (the result of a comparison, which `flows` works out). Kinds know tables
and wording; they do not know in which format the document is drawn, and they write nothing.
"""

from __future__ import annotations

import sys
from typing import Any, Protocol, cast

from dashboards.document import Document
from dashboards.queries import Reader
from labeling import registry

WORD = "kind of report"


class Report(Protocol):
    """One report that was asked for."""

    def write(self, reader: Reader, *, command: str) -> Document:
        """Say it all. `command` is what makes this report again.

        Raise UsageError for a feature or feature set that is not there, FeatlasError for a stage that has not run.
        """
        ...


def names() -> tuple[str, ...]:
    """Known kinds."""
    return registry.names(sys.modules[__name__])


def settings_of(kind: str) -> tuple[str, ...]:
    """What may be asked of a kind. Raise UsageError that lists the known kinds when there is none of the name."""
    return registry.settings_of(sys.modules[__name__], kind, kind=WORD)


def create(kind: str, **settings: Any) -> Report:
    """Make a report of a kind. Raise UsageError that lists the known kinds when there is none of the name."""
    return cast(Report, registry.create(sys.modules[__name__], kind, kind=WORD, **settings))
