"""Which features a command works on: `all`, `0-199`, `3,17`, `[3, 17]` or `sql: select feature from ...` as a value.

It knows neither the store nor the config: a selection by SQL keeps its text, and whoever holds the store runs it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from labeling.errors import UsageError

FORMS = '"all", "0-199", "3,17,40-49", [3, 17] or "sql: select feature from ..."'
"""The forms a selection may be written in, for messages."""


@dataclass(frozen=True)
class Selection:
    """Features by number, by SQL, or (neither given) all of them."""

    ranges: tuple[tuple[int, int], ...] = ()
    """First and last feature of each range, both included, 0-based, ascending and disjoint."""
    sql: str | None = None
    """A SELECT whose first column is the feature; to be run by the store."""

    @property
    def is_all(self) -> bool:
        return not self.ranges and self.sql is None

    def within(self, n_features: int) -> range | list[int]:
        """Features chosen from a dictionary of `n_features`. Raise UsageError when one does not exist.

        A selection by SQL has no numbers yet: run it and pass its rows to `select_features`.
        """
        if self.sql is not None:
            raise ValueError("a selection by SQL is resolved by the store")
        if self.is_all:
            return range(n_features)
        if self.ranges[-1][1] >= n_features:
            raise UsageError(
                f"There is no feature {self.ranges[-1][1]} (features = {str(self)!r}): "
                f"the dictionary has features 0 to {n_features - 1}. Choose among these."
            )
        return [feature for first, last in self.ranges for feature in range(first, last + 1)]

    def __str__(self) -> str:
        """The canonical way to write it; reading that again gives the same selection."""
        if self.sql is not None:
            return f"sql: {self.sql}"
        spans = (str(first) if first == last else f"{first}-{last}" for first, last in self.ranges)
        return ",".join(spans) or "all"


EVERYTHING = Selection()


def parse_selection(written: object) -> Selection:
    """Read a selection as a config file or a command line gives it. Raise UsageError for anything else."""
    if isinstance(written, Selection):
        return written
    if isinstance(written, str):
        return _from_text(written.strip())
    if isinstance(written, list | tuple) and written and all(type(f) is int and f >= 0 for f in written):
        return select_features(written)
    raise _unreadable(written)


def select_features(features: Sequence[int]) -> Selection:
    """A selection of exactly these features; order and repeats do not matter. Raise UsageError for none at all."""
    if not features:
        raise UsageError("This selects no feature. Widen it; `all` takes every one.")
    return Selection(ranges=_merge([(feature, feature) for feature in features]))


def _from_text(text: str) -> Selection:
    if text == "all":
        return Selection()
    if text.startswith("sql:"):
        sql = text.removeprefix("sql:").strip()
        if not sql:
            raise _unreadable(text)
        return Selection(sql=sql)
    return Selection(ranges=_merge([_span(part, whole=text) for part in text.strip("[]").split(",")]))


def _span(part: str, *, whole: str) -> tuple[int, int]:
    found = re.fullmatch(r"\s*([0-9]{1,18})\s*(?:-\s*([0-9]{1,18})\s*)?", part)
    if found is None:
        raise _unreadable(whole)
    first, last = int(found[1]), int(found[2] or found[1])
    if last < first:
        raise _unreadable(whole)
    return first, last


def _merge(spans: Sequence[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    merged: list[tuple[int, int]] = []
    for first, last in sorted(spans):
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(last, merged[-1][1]))
        else:
            merged.append((first, last))
    return tuple(merged)


def _unreadable(written: object) -> UsageError:
    return UsageError(f"A selection of features can't be {written!r}; allowed: {FORMS}.")
