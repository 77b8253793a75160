"""Changes of the schema of the small tables: one numbered SQL file each, in the order they are applied.

A file that was released is never edited: databases out there have it applied. Add the next number instead.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path


@dataclass(frozen=True)
class Migration:
    """One schema change: `0001_tables.sql` is version 1, named `tables`."""

    version: int
    name: str
    sql: str


@cache
def migrations() -> tuple[Migration, ...]:
    """All schema changes this version knows, oldest first."""
    files = sorted(Path(__file__).parent.glob("[0-9]*_*.sql"))
    return tuple(read_migration(file) for file in files)


def read_migration(file: Path) -> Migration:
    number, name = file.stem.split("_", 1)
    return Migration(version=int(number), name=name, sql=file.read_text(encoding="utf-8"))


def latest_version() -> int:
    """Schema version of this version of the program."""
    return migrations()[-1].version
