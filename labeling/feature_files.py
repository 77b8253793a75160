"""Which shards of a large table can hold the rows of one feature, by the ranges that the files state themselves.

A view opens every file of its table; what is asked about one feature needs one or two of them. It knows nothing of pages.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from labeling.evidence import TABLES, shard_files
from labeling.evidence_views import shards_query
from labeling.statements import glob_escaped
from labeling.workspace import Workspace

Query = Callable[[str, Sequence[Any]], pl.DataFrame]
"""Runs a SELECT with parameters."""
Stamp = tuple[int, int]
SETTLED_NANOSECONDS = 1_000_000_000
"""A folder that was changed more recently may change again without a newer time."""

RANGES = """
SELECT file_name,
       min(TRY_CAST(stats_min_value AS BIGINT)) FILTER (path_in_schema = 'feature') AS first_feature,
       max(TRY_CAST(stats_max_value AS BIGINT)) FILTER (path_in_schema = 'feature') AS last_feature,
       min(stats_min_value) FILTER (path_in_schema = 'sample_id') AS first_sample,
       max(stats_max_value) FILTER (path_in_schema = 'sample_id') AS last_sample,
       bool_or(stats_min_value IS NULL OR stats_max_value IS NULL) AS unknown
FROM parquet_metadata(?) WHERE path_in_schema IN ('feature', 'sample_id') GROUP BY file_name
"""


@dataclass(frozen=True)
class Held:
    """What a shard holds: samples and features from the first to the last, in the order of text and of numbers."""

    first_feature: int
    last_feature: int
    first_sample: str
    last_sample: str

    def may_hold(self, sample_id: str, feature: int) -> bool:
        return self.first_feature <= feature <= self.last_feature and self.first_sample <= sample_id <= self.last_sample


@dataclass(frozen=True)
class Shard:
    """A file as it was when it was looked into. `held` is None where it does not say what it holds, or holds no row."""

    stamp: Stamp
    held: Held | None
    empty: bool


class FeatureFiles:
    """Remembers what each shard of a workspace holds; looks again into those that changed. Safe for threads."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._lock = threading.Lock()
        self._folders: dict[str, int] = {}
        self._shards: dict[str, dict[Path, Shard]] = {}

    def rows(self, query: Query, table: str, sample_id: str, feature: int) -> str:
        """SELECT over the shards of a large table that can hold rows of a feature: more rows than the feature's own."""
        files = self.files(query, table, sample_id, feature)
        return f"({shards_query(TABLES[table], [glob_escaped(file) for file in files])})"

    def files(self, query: Query, table: str, sample_id: str, feature: int) -> list[Path]:
        """Shards that can hold rows of a feature, in the order of their names."""
        with self._lock:
            self._look(query, table)
            return [file for file, shard in self._shards[table].items() if _may_hold(shard, sample_id, feature)]

    def _look(self, query: Query, table: str) -> None:
        changed_at = _changed_at(self._workspace.evidence(table))
        if self._folders.get(table) == changed_at:
            return
        known = self._shards.get(table, {})
        stamps = {file: _stamp(file) for file in shard_files(self._workspace, table)}
        fresh = [file for file, stamp in stamps.items() if file not in known or known[file].stamp != stamp]
        looked = {**known, **_look_into(query, {file: stamps[file] for file in fresh})}
        self._shards[table] = {file: looked[file] for file in stamps}
        self._folders.pop(table, None)
        if time.time_ns() - changed_at > SETTLED_NANOSECONDS:
            self._folders[table] = changed_at


def _look_into(query: Query, stamps: dict[Path, Stamp]) -> dict[Path, Shard]:
    if not stamps:
        return {}
    # A file whose name has wildcard characters is asked for in its escaped spelling.
    spelled = {glob_escaped(file): file for file in stamps}
    rows = {Path(row.pop("file_name")): row for row in query(RANGES, [list(spelled)]).to_dicts()}
    return {file: Shard(stamp, _held(rows.get(file)), empty=file not in rows) for file, stamp in stamps.items()}


def _held(row: dict[str, Any] | None) -> Held | None:
    if row is None or row.pop("unknown") or None in row.values():
        return None
    return Held(**row)


def _may_hold(shard: Shard, sample_id: str, feature: int) -> bool:
    if shard.held is None:
        return not shard.empty
    return shard.held.may_hold(sample_id, feature)


def _changed_at(folder: Path) -> int:
    """When a file was last put into a folder or taken away; 0 where there is no folder."""
    try:
        return folder.stat().st_mtime_ns
    except FileNotFoundError:
        return 0


def _stamp(file: Path) -> Stamp:
    status = file.stat()
    return status.st_mtime_ns, status.st_size
