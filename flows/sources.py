"""From the config's feature sets to open feature sources: one forward pass for all that share model and tokens."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

from labeling import sources
from labeling.allocator import give_back_freed_memory
from labeling.config import Config, FeatureSetConfig
from labeling.registry import create
from labeling.sources import FeatureSource


@dataclass(frozen=True)
class SourceGroup:
    """Feature sets that are sampled together. A job carries it, so it holds plain values only."""

    feature_sets: tuple[FeatureSetConfig, ...]
    max_tokens: int
    threads: int
    """CPU threads of each process that opens it."""


def group_feature_sets(config: Config, *, threads: int) -> list[SourceGroup]:
    """Feature sets by what one forward pass can serve, in the order of the config."""
    groups: dict[tuple[object, ...], list[FeatureSetConfig]] = {}
    for feature_set in config.features:
        key = (
            feature_set.source,
            feature_set.model,
            feature_set.path,
            feature_set.device,
            feature_set.dtype,
            feature_set.prepend_bos,
            config.max_tokens(feature_set),
        )
        groups.setdefault(key, []).append(feature_set)
    return [SourceGroup(tuple(members), config.max_tokens(members[0]), threads) for members in groups.values()]


def open_source(group: SourceGroup) -> FeatureSource:
    """The source of a group. Models are loaded once a process, however many shards ask."""
    return _open(replace(group, max_tokens=0))


def close_sources() -> None:
    """Let go of models that no stage after sampling needs."""
    _open.cache_clear()
    give_back_freed_memory()


@lru_cache(maxsize=1)
def _open(group: SourceGroup) -> FeatureSource:
    first = group.feature_sets[0]
    source: FeatureSource = create(
        sources, first.source, kind="feature source", feature_sets=group.feature_sets, threads=group.threads
    )
    return source
