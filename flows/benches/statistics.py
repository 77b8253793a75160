"""The bench `statistics`: CPU time of scores with intervals, tests and comparisons for very many features, and whether
p-values find true labels and spare wrong ones.

Judgments are drawn at random in the default design: 50 firing, 25 hard and 25 random windows a feature, each graded by a
judge with given chances to say yes. Nothing is read or asked.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from flows.benches import BenchOptions, Row, at_least, at_most, plain

if TYPE_CHECKING:
    import numpy as np

    from evals.items import Float, Items

TARGET_SECONDS = 60.0
TPR, FPR = 0.92, 0.02
"""Chance that the judge says yes where a feature fires, and where not, given its true label."""
DESIGN = {
    **{f"q{q}": (10, 100) for q in range(1, 6)},
    "hard_token": (9, 2000),
    "hard_neighbor": (8, 1500),
    "hard_text": (8, 200),
    "random": (25, 95_500),
}
"""Judged windows of each stratum, and how many it has."""
Value = TypeVar("Value")


@dataclass(frozen=True)
class StatisticsBench:
    features: int = 16_384
    draws: int = 1000
    tested: int = 3000
    """Features whose p-values are looked at."""
    seed: int = 0

    def measure(self) -> list[Row]:
        import numpy as np

        from evals.metrics import score_features

        generator = np.random.default_rng(self.seed)
        items = graded_items(self.features, TPR, FPR, generator)
        warm_up = items.take(slice(0, 64))
        score_features(warm_up, generator=generator, draws=self.draws)
        seconds, table = _timed(lambda: score_features(items, generator=generator, draws=self.draws))
        headline, low, high = (numbers[table.row("headline")] for numbers in (table.value, table.low, table.high))
        name = f"{self.features:,} features x {items.width} judgments, {self.draws:,} draws"
        return [
            at_most(f"all metrics with intervals: {name}, CPU", seconds, TARGET_SECONDS, "s"),
            plain("a feature", 1000 * seconds / self.features, "ms"),
            plain("peak memory", _peak_mib(), "MiB"),
            *self._downstream(headline, low, high, generator),
            at_most("intervals of zero width", float((table.high - table.low <= 0).sum()), 0, ""),
            *self._tests(generator),
        ]

    def _downstream(self, headline: Float, low: Float, high: Float, generator: np.random.Generator) -> list[Row]:
        import numpy as np

        from evals.comparison import compare_paired
        from evals.shrinkage import shrink
        from evals.significance import NULL_DRAWS, against_null

        n = len(headline)
        tercile = np.arange(n) % 3
        null = generator.normal(0.47, 0.03, 3 * NULL_DRAWS)
        tested, _ = _timed(lambda: against_null(headline, tercile, null, np.arange(len(null)) % 3))
        shrunk, _ = _timed(lambda: shrink(headline, low, high))
        other = headline + generator.normal(0, 0.05, n)
        compared, _ = _timed(lambda: compare_paired(headline, other, generator=generator))
        return [
            plain("p and q of all, CPU", tested, "s"),
            plain("shrinkage of all, CPU", shrunk, "s"),
            plain("comparison of all with another labeling, CPU", compared, "s"),
        ]

    def _tests(self, generator: np.random.Generator) -> list[Row]:
        """Wrong labels get yes at one rate everywhere; the null is made of others like them."""
        import numpy as np

        from evals.significance import against_null

        tercile = np.arange(self.tested) % 3
        null = self._headlines(FPR * 2, FPR * 2, generator)
        true = against_null(self._headlines(TPR, FPR, generator), tercile, null, tercile)
        wrong = against_null(self._headlines(FPR * 2, FPR * 2, generator), tercile, null, tercile)
        return [
            at_least(
                f"true labels with q < 0.05, judge {TPR:.2f} / {FPR:.2f}", float(true.significant.mean()), 0.9, ""
            ),
            at_most("wrong labels with q < 0.05", float(wrong.significant.mean()), 0.05, ""),
            plain("wrong labels above the null's 95th percentile", float(wrong.above_null.mean()), ""),
        ]

    def _headlines(self, firing: float, silent: float, generator: np.random.Generator) -> Float:
        from evals.metrics import score_features

        items = graded_items(self.tested, firing, silent, generator)
        table = score_features(items, generator=generator, intervals=False)
        headline: Float = table.value[table.row("headline")]
        return headline


def graded_items(n: int, firing: float, silent: float, generator: np.random.Generator) -> Items:
    """`n` features in the default design; grades near 0.85 or 0.15, yes with the given chances."""
    import numpy as np

    from evals.items import Items
    from labeling.types import QUANTILES, STRATA

    strata = np.repeat([STRATA.index(s) for s in DESIGN], [count for count, _ in DESIGN.values()])
    population = np.repeat([size for _, size in DESIGN.values()], [count for count, _ in DESIGN.values()])
    shape = (n, len(strata))
    level = np.array([QUANTILES.index(STRATA[s]) + 1.0 if STRATA[s] in QUANTILES else 0.0 for s in strata])
    fires = level > 0
    yes = generator.random(shape) < np.where(fires, firing, silent)
    grade = np.clip(np.where(yes, 0.85, 0.15) + generator.normal(0, 0.07, shape), 0, 1)
    return Items(
        probability=np.where(yes, np.maximum(grade, 0.5), np.minimum(grade, 0.49)),
        activation=level + np.where(fires, generator.random(shape) / 2, 0),
        stratum=np.broadcast_to(strata, shape).astype(np.int8),
        population=np.broadcast_to(population, shape).astype(np.int64),
        document=generator.integers(0, 50_000, shape),
        panel=np.zeros(shape, dtype=bool),
        tau=np.full(n, 0.5),
        tau25=np.full(n, 2.9),
        firing_windows=np.full(n, 500),
        firing_windows25=np.full(n, 300),
        n_windows=np.full(n, sum(size for _, size in DESIGN.values())),
    )


def _timed(work: Callable[[], Value]) -> tuple[float, Value]:
    """CPU seconds of all threads."""
    started = time.process_time()
    value = work()
    return time.process_time() - started, value


def _peak_mib() -> float:
    """Largest resident memory of this process. Linux counts it in KiB, macOS in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform != "darwin" else 1024 * 1024)


def create(*, options: BenchOptions) -> StatisticsBench:
    """Make the bench. Raise UsageError for options that it does not use."""
    options.only("statistics", "seed")
    return StatisticsBench(seed=options.seed or 0)
