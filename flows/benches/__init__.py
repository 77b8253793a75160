"""Benches: what is promised in numbers, measured. One file each; `featlas bench NAME` finds it by its file name.

A file defines `create(*, options)`, which returns a `Bench`. Times are CPU seconds unless a row says otherwise: they
depend less than wall-clock time on what else the machine does. Importing a bench loads nothing heavy.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Protocol

from labeling.errors import UsageError


@dataclass(frozen=True)
class Row:
    """One number with what it should be. The names of the fields are those of `featlas bench --json`."""

    name: str
    value: float | None
    """None when there was nothing to measure; a target is missed then."""
    unit: str
    target: str | None
    """`>= 0.74`, `<= 120` or `0.45 to 0.55`; None when nothing is promised."""
    ok: bool


class Bench(Protocol):
    def measure(self) -> list[Row]:
        """Measure now. Raise FeatlasError when that can't be done."""


def plain(name: str, value: float | None, unit: str) -> Row:
    """A number that is reported without a promise."""
    return Row(name, _known(value), unit, None, True)


def at_least(name: str, value: float | None, limit: float, unit: str) -> Row:
    known = _known(value)
    return Row(name, known, unit, f">= {limit:g}", known is not None and known >= limit)


def at_most(name: str, value: float | None, limit: float, unit: str) -> Row:
    known = _known(value)
    return Row(name, known, unit, f"<= {limit:g}", known is not None and known <= limit)


def between(name: str, value: float | None, low: float, high: float, unit: str) -> Row:
    known = _known(value)
    return Row(name, known, unit, f"{low:g} to {high:g}", known is not None and low <= known <= high)


def _known(value: float | None) -> float | None:
    """NaN is no number, and JSON has no word for it."""
    return None if value is None or math.isnan(value) else float(value)


@dataclass(frozen=True)
class BenchOptions:
    """What the command line may say about a bench; None where it says nothing."""

    workspace: Path | None = None
    """Measure what is there already."""
    corpus: str | None = None
    """File or folder of text to measure on."""
    kills: int | None = None
    """Runs to kill."""
    seed: int | None = None
    """Of the moments at which they are killed."""
    size: str | None = None
    """Another size than the bench's own."""
    python: str | None = None
    """Interpreter of an environment where the program to compare with is installed."""

    def only(self, bench: str, *used: str) -> None:
        """Raise UsageError when an option is given that the bench does not use."""
        for option in fields(self):
            value = getattr(self, option.name)
            if value is not None and option.name not in used:
                raise UsageError(
                    f"The bench {bench!r} takes no --{option.name}, but it is {value}. Leave it out; "
                    "`featlas bench --help` says which benches take it."
                )
