"""The bench `start`: how long `featlas --help` takes in a fresh process."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median

from flows.benches import BenchOptions, Row, at_most, plain
from flows.benches._processes import featlas_program, run_child
from labeling.errors import FeatlasError

TARGET_SECONDS = 0.2


@dataclass(frozen=True)
class Start:
    """Medians of some runs; one more run before them warms the disk's cache."""

    repeats: int = 9

    def measure(self) -> list[Row]:
        program = featlas_program()
        runs = [run_child([program, "--help"]) for _ in range(self.repeats + 1)][1:]
        failed = [run.exit_code for run in runs if run.exit_code]
        if failed:
            raise FeatlasError(f"`{program} --help` ended with exit code {failed[0]}; run it to see why.")
        return [
            at_most("featlas --help, CPU", median(run.cpu_seconds for run in runs), TARGET_SECONDS, "s"),
            plain("featlas --help, wall clock", median(run.wall_seconds for run in runs), "s"),
            plain("featlas --help, peak memory", median(run.peak_mib for run in runs), "MiB"),
        ]


def create(*, options: BenchOptions) -> Start:
    """Make the bench. Raise UsageError for options that it does not use."""
    options.only("start")
    return Start()
