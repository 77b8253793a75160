"""The windows of one split, which all shards of a stage share."""

from __future__ import annotations

import threading
from functools import lru_cache
from pathlib import Path

import polars as pl

from labeling import evidence
from labeling.types import Split, Windows
from labeling.windows import load_windows
from labeling.workspace import Workspace

_LOADING = threading.Lock()


def split_windows(root: Path, corpus_id: str, split: Split) -> Windows:
    """Windows of one split, loaded once a process; those of other splits are not looked at."""
    with _LOADING:  # shards that start together would each load them
        return _load(root, corpus_id, split)


@lru_cache(maxsize=2)
def _load(root: Path, corpus_id: str, split: Split) -> Windows:
    frame = evidence.scan(Workspace(root), "windows", corpus_id).filter(pl.col("split") == split)
    return load_windows(frame.collect())
