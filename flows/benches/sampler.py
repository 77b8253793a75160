"""The bench `sampler`: CPU seconds of the streaming sampler beside those of the model and the dictionary it follows.

All three are timed in the same run on the same batches of the embedded model, with one thread. The state starts empty,
as it does for every shard of documents, so the dear first batches are part of it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, TypeVar

from flows.benches import BenchOptions, Row, at_most, plain
from flows.benches._embedded_text import read_windows

if TYPE_CHECKING:
    import polars as pl

    from labeling.sources.torch import TorchSource

TARGET_PERCENT = 5.0
TARGET_GROWTH = 1.1
"""Twice the tokens may cost the sampler at most this much more a token: noise, not growth."""
Value = TypeVar("Value")


@dataclass(frozen=True)
class Cost:
    """CPU seconds of one pass over a text."""

    tokens: int
    forward: float
    encode: float
    update: float
    state_mib: float

    @property
    def percent(self) -> float:
        return 100 * self.update / (self.forward + self.encode)

    @property
    def update_each_token(self) -> float:
        """Microseconds."""
        return 1e6 * self.update / self.tokens


@dataclass(frozen=True)
class SamplerBench:
    """Medians of some passes over a text, and over half of it."""

    tokens: int = 60_000
    repeats: int = 3

    def measure(self) -> list[Row]:
        source = _open_source()
        windows = read_windows(source, self.tokens)
        half = windows.filter(windows["n_tokens"].cum_sum() <= self.tokens // 2)
        _pass_over(source, half[:64])  # allocates and warms what later passes find ready
        short = [_pass_over(source, half) for _ in range(self.repeats)]
        long = [_pass_over(source, windows) for _ in range(self.repeats)]
        percent, shorter = (median(cost.percent for cost in some) for some in (long, short))
        each, before = (median(cost.update_each_token for cost in some) for some in (long, short))
        return [
            plain("tokens read", long[0].tokens, "tokens"),
            plain("forward, CPU", median(cost.forward for cost in long), "s"),
            plain("encode, CPU", median(cost.encode for cost in long), "s"),
            plain("sampler, CPU", median(cost.update for cost in long), "s"),
            at_most("sampler over forward + encode", percent, TARGET_PERCENT, "%"),
            plain("the same, half the tokens", shorter, "%"),
            plain("sampler a token, CPU", each, "us"),
            plain("the same, half the tokens", before, "us"),
            at_most("sampler a token, over half the tokens", each / before, TARGET_GROWTH, "x"),
            plain("sampler state", long[0].state_mib, "MiB"),
            at_most("sampler state, over half the tokens", long[0].state_mib / short[0].state_mib, 1.0, "x"),
        ]


def create(*, options: BenchOptions) -> SamplerBench:
    """Make the bench. Raise UsageError for options that it does not use."""
    options.only("sampler")
    return SamplerBench()


def _open_source() -> TorchSource:
    """The demo's first feature set, with one thread."""
    from labeling.config import demo_config
    from labeling.sources.torch import create as open_source

    config = demo_config(environment={}, overrides={})
    return open_source(feature_sets=config.features[:1], threads=1)


def _pass_over(source: TorchSource, windows: pl.DataFrame) -> Cost:
    """Read the windows once, as one shard of documents."""
    import torch

    from labeling.config import SampleConfig
    from labeling.events import EventCollector
    from labeling.sampler import Sizes, summarize
    from labeling.types import SPLITS

    settings = SampleConfig()
    sizes = Sizes(source.feature_sets[0].n_features, top=settings.top, reservoir=settings.reservoir, seed=settings.seed)
    ids = torch.from_numpy(windows["window_id"].to_numpy().copy())
    split = torch.tensor([SPLITS.index(name) for name in windows["split"].to_list()])
    collector = EventCollector(ids, split=split, width=settings.window)
    tokens, spent = 0, {"forward": 0.0, "encode": 0.0, "update": 0.0}
    for batch, activations in _timed(source.hidden(windows, sequence=settings.sequence), spent, "forward"):
        for events in _timed(source.encode(batch, activations), spent, "encode"):
            started = time.process_time()
            collector.add(events.feature, window=events.window, position=events.position, value=events.value)
            spent["update"] += time.process_time() - started
            tokens += events.n_tokens
    started = time.process_time()
    state = summarize(collector.sorted(), sizes)
    spent["update"] += time.process_time() - started
    return Cost(tokens, **spent, state_mib=sum(tensor.nbytes for tensor in state.tensors().values()) / 2**20)


def _timed(items: Iterator[Value], spent: dict[str, float], name: str) -> Iterator[Value]:
    """The same items; the CPU seconds it takes to make them are added to `spent[name]`."""
    while True:
        started = time.process_time()
        item = next(items, None)
        spent[name] += time.process_time() - started
        if item is None:
            return
        yield item
