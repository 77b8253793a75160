"""The bench `sampler`: what stage sample costs beside the model and the dictionary it cannot do without, and its memory.

The whole stage runs as a user runs it: sampler, codes, tables of all features and the contexts of 1,000 features, over the
forward pass and encoding in the same run. CPU seconds, one thread; on a GPU, where there is one, wall-clock seconds.
`--size million` measures a dictionary of 1,048,576 features instead. What memory does as the corpus grows is measured by
the bench `tables`.
"""

from __future__ import annotations

from dataclasses import dataclass

from flows.benches import BenchOptions, Row, at_most, plain
from flows.benches._million import measure as measure_wide
from flows.benches._whole_stage import Stage, measure

TARGET_RATIO = 1.05
TARGET_BYTES = 4_096
TARGET_MINUTES, TARGET_GIB = 30.0, 8.0
"""For 50,000 tokens of the largest dictionary."""
CONTEXT_FEATURES = 1_000
STAGES = (
    Stage(n_features=4_096, k=16, tokens=300_000, context_features=CONTEXT_FEATURES),
    Stage(n_features=65_536, k=32, tokens=100_000, context_features=CONTEXT_FEATURES),
)
GPU_STAGE = Stage(n_features=65_536, k=32, tokens=1_000_000, context_features=CONTEXT_FEATURES, device="cuda")


@dataclass(frozen=True)
class SamplerBench:
    """The stage at some widths, and the state of a feature that has all it can have."""

    stages: tuple[Stage, ...] = STAGES

    def measure(self) -> list[Row]:
        rows = [row for stage in self.stages for row in _stage_rows(stage, f"{stage.n_features:,} features")]
        name = "sampler state a feature, all lists and histograms full"
        return [*rows, at_most(name, _fullest_bytes(), TARGET_BYTES, "bytes"), *_gpu_rows()]


@dataclass(frozen=True)
class MillionBench:
    """One shard of documents with the largest dictionary."""

    tokens: int = 50_000
    n_features: int = 1 << 20

    def measure(self) -> list[Row]:
        cost = measure_wide(n_features=self.n_features, tokens=self.tokens)
        of_target = cost.tokens / 50_000
        minutes = (cost.reading + cost.sampling) / 60
        return [
            plain("tokens read", cost.tokens, "tokens"),
            at_most("forward + encode + sampler, CPU", minutes, TARGET_MINUTES * of_target, "min"),
            plain("sampler and codes over forward + encode", 100 * cost.sampling / cost.reading, "%"),
            at_most("peak memory", cost.peak_mib / 1024, TARGET_GIB, "GiB"),
            at_most("sampler state a feature", cost.state_bytes / self.n_features, TARGET_BYTES, "bytes"),
        ]


def create(*, options: BenchOptions) -> SamplerBench | MillionBench:
    """Make the bench. Raise UsageError for options that it does not use."""
    options.only("sampler", "size")
    return SamplerBench() if options.size is None else MillionBench()


def _stage_rows(stage: Stage, name: str) -> list[Row]:
    cost = measure(stage)
    return [
        plain(f"{name}: tokens read", cost.tokens, "tokens"),
        plain(f"{name}: forward + encode", cost.reading, "s"),
        at_most(f"{name}: the stage over forward + encode", cost.ratio, TARGET_RATIO, "x"),
        plain(f"{name}: of that, sampler and codes", cost.share("sampling"), "%"),
        plain(f"{name}: of that, merging and tables of all features", cost.share("tables"), "%"),
        plain(f"{name}: of that, contexts of {CONTEXT_FEATURES:,} features", cost.share("contexts"), "%"),
        plain(f"{name}: reading the corpus, beside that", cost.share("corpus"), "%"),
        plain(f"{name}: peak memory", cost.peak_mib, "MiB"),
    ]


def _fullest_bytes() -> float:
    """Bytes of a feature whose lists are full and whose histograms have a count in every bin, at the default sizes.

    State does not depend on how many features there are, except through what they have.
    """
    import torch

    from labeling.bins import BINS_PER_OCTAVE, HISTOGRAM_BINS
    from labeling.config import SampleConfig
    from labeling.events import EventCollector
    from labeling.sampler import Sizes, summarize
    from labeling.types import SPLITS

    settings, n_features = SampleConfig(), 64
    window = torch.arange(2 * HISTOGRAM_BINS * len(SPLITS))
    split, step = window % len(SPLITS), window // len(SPLITS) % HISTOGRAM_BINS
    value = torch.exp2((0.5 - step) / BINS_PER_OCTAVE)
    collector = EventCollector(window, split=split, width=settings.window)
    for feature in range(n_features):
        collector.add(torch.full_like(window, feature), window=window, position=torch.zeros_like(window), value=value)
    sizes = Sizes(n_features, top=settings.top, reservoir=settings.reservoir, seed=0)
    tensors = summarize(collector.sorted(), sizes).tensors()
    return sum(tensor.nbytes for name, tensor in tensors.items() if name != "sizes") / n_features


def _gpu_rows() -> list[Row]:
    import torch

    if not torch.cuda.is_available():
        return [plain("GPU: there is none here", None, "")]
    cost = measure(GPU_STAGE)
    return [
        at_most("GPU: the stage over forward + encode", cost.ratio, TARGET_RATIO, "x"),
        plain("GPU: tokens a second, the whole stage", cost.tokens / (cost.reading * cost.ratio), "1/s"),
    ]
