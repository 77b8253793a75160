"""The bench `kills`: runs that ask language models are killed at random moments and started again; is anything lost or
paid for twice?

A small workspace is sampled once. Copies of it are labeled and scored, interactively and in batches, by processes of
their own against `flows.fake_provider`, over real HTTP. Two are at work at a time. It takes some minutes.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from random import Random

from flows.benches import BenchOptions, Row, at_least, at_most, plain
from flows.benches._featlas_runs import FeatlasRuns
from flows.benches._killed_runs import Campaign, Way
from flows.benches._lives import Tally
from flows.benches._provider import serve
from flows.progress import terminal_progress

INTERACTIVE = (Way("openai/gpt-4o-mini", "interactive"),)
BATCH = (Way("anthropic/claude-haiku-4-5", "batch"), Way("openai/gpt-4o-mini", "batch"))
"""Models whose price is known, so that costs are compared too."""
PROVIDER = ("--latency=0.15", "--call-seconds=0.3", "--batch-seconds=1", "--no-prompt-cache", "--varied")
CONFIG = """
[[features]]
name = "first"
model = "embedded/minilm"
hook = "encoder.layer.2"
dictionary = "embedded/minilm-l2-2048"

[[features]]
name = "second"
model = "embedded/minilm-random"
hook = "encoder.layer.2"
dictionary = "embedded/minilm-random-l2-512"

[corpus]
source = "embedded"
max_tokens = 12000

[sample]
seed = 1
panel = 100
threads = 1

[label]
explainer = ["top_and_random"]
features = "{first}-{last}"

[score]
scorers = ["detection"]
features = "{first}-{last}"
control_features = 3
bootstrap = 60

[llm]
max_in_flight = 8
"""
MIDDLE = 256
"""Feature at which a new shard begins: features on both sides of it make two."""


@dataclass(frozen=True)
class KillsBench:
    """`kills` are shared equally by interactive runs and batches."""

    kills: int = 30
    seed: int = 0
    features: int = 14
    """Of each of two feature sets; about half of them are worth labeling."""
    most_seconds: float = 600.0
    """No new run is killed after this time."""

    def measure(self) -> list[Row]:
        started = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="featlas-bench-") as folder, FeatlasRuns(Path(folder)) as runs:
            shares = self._shares()
            tallies = _KillsOfARun(Path(folder), runs, self.seed, started + self.most_seconds).measure(
                self.features, shares
            )
        interactive = sum((tallies[way] for way in INTERACTIVE), Tally())
        batch = sum((tallies[way] for way in BATCH), Tally())
        return [
            plain("kills: seed", self.seed, ""),
            *rows("interactive", interactive, sum(shares[way] for way in INTERACTIVE)),
            *rows("batch", batch, sum(shares[way] for way in BATCH)),
            at_most("kills in batch: batches submitted twice", batch.batches_unknown, 0, f"of {batch.batches} batches"),
            plain("kills: wall clock", time.monotonic() - started, "s"),
        ]

    def _shares(self) -> dict[Way, int]:
        half = self.kills // 2
        return {INTERACTIVE[0]: self.kills - half, BATCH[0]: half - half // 2, BATCH[1]: half // 2}


def create(*, options: BenchOptions) -> KillsBench:
    """Make the bench. Raise UsageError for options that it does not use."""
    options.only("kills", "kills", "seed")
    return KillsBench(kills=options.kills or KillsBench.kills, seed=options.seed or KillsBench.seed)


def rows(name: str, tally: Tally, kills: int) -> list[Row]:
    """What was counted in one way of asking."""
    start = f"kills, {name}"
    return [
        at_least(f"{start}: runs killed", tally.kills, kills, f"in {tally.lives} workspaces"),
        plain(f"{start}: ... with requests or batches under way", tally.kills_at_work, "kills"),
        at_most(f"{start}: tables unlike an undisturbed run's", tally.differing, 0, f"of {tally.tables} tables"),
        at_most(f"{start}: asked again although answered", tally.asked_though_answered, 0, "requests"),
        at_most(f"{start}: answers lost", tally.answers_lost, 0, "requests"),
        plain(f"{start}: under way by themselves at the kills", tally.under_way, "requests"),
        plain(f"{start}: sent again", tally.sent_again, "requests"),
        at_most(f"{start}: sent again, more than were under way", tally.sent_again_too_often, 0, "requests"),
        at_most(f"{start}: printed another number sent again", tally.misprinted, 0, f"of {tally.lives} runs"),
        at_most(f"{start}: answers nobody asked for", tally.never_asked, 0, "requests"),
    ]


@dataclass(frozen=True)
class _KillsOfARun:
    folder: Path
    runs: FeatlasRuns
    seed: int
    until: float
    """By the monotonic clock."""

    def measure(self, features: int, shares: dict[Way, int]) -> dict[Way, Tally]:
        config, sampled = self.folder / "kills.toml", self.folder / "sampled"
        half = features // 2
        config.write_text(CONFIG.format(first=MIDDLE - half, last=MIDDLE + half - 1), encoding="utf-8")
        self.runs.start(("sample",), "--config", str(config), "--workspace", str(sampled), "--no-prefect").output()
        say = terminal_progress().say

        def measure_in_turn(ways: tuple[Way, ...]) -> dict[Way, Tally]:
            return {way: self._campaign(config, sampled, way, shares[way], say) for way in ways}

        with ThreadPoolExecutor(2) as pool:
            try:
                parts = [pool.submit(measure_in_turn, ways) for ways in (INTERACTIVE, BATCH)]
                return {way: tally for part in parts for way, tally in part.result().items()}
            except BaseException:
                self.runs.stop()  # else the other one would go on for minutes
                raise

    def _campaign(self, config: Path, sampled: Path, way: Way, kills: int, say: Callable[[str], None]) -> Tally:
        folder = self.folder / way.name.replace(", ", "-")
        folder.mkdir()
        with serve(*PROVIDER) as provider:
            campaign = Campaign(
                sampled, config, folder, way, provider, self.runs, Random(f"{self.seed} {way.name}"), say
            )
            return campaign.measure(kills, until=self.until)
