"""Kill runs of `featlas` at random moments and start them again, until enough were killed; compare the tables at the end."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from flows.benches._featlas_runs import LONGEST_RUN_SECONDS, FeatlasRun, FeatlasRuns
from flows.benches._lives import Books, Life, ProviderCounts, Tally, read_books
from flows.benches._provider import Provider
from labeling.workspace import Workspace

if TYPE_CHECKING:
    import polars as pl

TABLES = ("explanations", "judgments", "scores", "score_groups", "llm_requests")
LEFT_OUT = {"run_id", "created_at", "answered_at", "latency_seconds", "attempts", "batch"}
"""Columns that tell which run made something, when, how fast, in how many attempts, and in which batch by a random id."""
LOOK_SECONDS = 0.05
EARLY, LATE = 1 / 6, 1 / 6
"""Shares of the kills that come before the first call to the provider, in the second half of the time until then (what
comes before is loading libraries), and after the last question. The others are spread over the time in between."""
LEAST_LEFT = 0.2
"""Share of the time between first call and last question that is taken to be left, whatever is answered already."""


@dataclass(frozen=True)
class Way:
    """How a model is asked."""

    model: str
    mode: str

    @property
    def name(self) -> str:
        return f"{self.mode}, {self.model.partition('/')[0]}"


@dataclass(frozen=True)
class Moment:
    """A time in a run."""

    after_first_call: bool
    """Counted from the run's first call to the provider, else from its start: how long loading takes depends on what else
    the machine does."""
    seconds: float


@dataclass(frozen=True)
class Undisturbed:
    """A run that was left alone: how long it takes, and what comes of it."""

    seconds: float
    start_seconds: float
    """From its start to its first call."""
    asking_seconds: float
    """From then to its last question."""
    n_requests: int
    tables: Mapping[str, pl.DataFrame]

    def moment(self, generator: Random, done: float) -> Moment:
        """When to kill a run that finds the share `done` of the requests answered, 0-1."""
        kind, asking = generator.random(), self.asking_seconds * max(LEAST_LEFT, 1 - done)
        if kind < EARLY:
            return Moment(False, generator.uniform(0.5, 1.0) * self.start_seconds)
        if kind < EARLY + LATE:
            return Moment(
                True, generator.uniform(asking, asking + self.seconds - self.start_seconds - self.asking_seconds)
            )
        return Moment(True, generator.uniform(0.0, asking))


@dataclass
class Campaign:
    """Lives of one workspace, asked in one way."""

    sampled: Path
    """A workspace whose features are sampled, and nothing else. It is only copied."""
    config: Path
    folder: Path
    """An empty one, for copies."""
    way: Way
    provider: Provider
    runs: FeatlasRuns
    generator: Random
    say: Callable[[str], None]
    tally: Tally = field(default_factory=Tally)

    def measure(self, kills: int, *, until: float) -> Tally:
        """Kill so many runs; fewer when the monotonic clock reaches `until` before. Raise FeatlasError when a run fails."""
        calm = self._leave_alone()
        self._say(
            f"{calm.n_requests} requests in a run of {calm.seconds:.1f} s that asks from {calm.start_seconds:.1f} s on "
            f"for {calm.asking_seconds:.1f} s"
        )
        while self.tally.kills < kills and time.monotonic() < until:
            self._live(calm, kills, until=until)
        return self.tally

    def _leave_alone(self) -> Undisturbed:
        workspace, before = self._copy(), self._counts()
        started = time.monotonic()
        run = self._start(workspace)
        self._await_call(run, before["calls"])
        first = last = time.monotonic() - started
        asked = 0
        while not run.ends_within(LOOK_SECONDS) and time.monotonic() < started + LONGEST_RUN_SECONDS:
            if asked < (asked := self._counts()["requests"] - before["requests"]):
                last = time.monotonic() - started
        run.output()
        seconds, asked = time.monotonic() - started, self._counts()["requests"] - before["requests"]
        tables = read_tables(workspace)
        shutil.rmtree(workspace.root)
        return Undisturbed(seconds, first, last - first, asked, tables)

    def _await_call(self, run: FeatlasRun, before: int) -> None:
        """Wait until the provider was called once more, or the run has ended."""
        until = time.monotonic() + LONGEST_RUN_SECONDS
        while run.is_running and self._counts()["calls"] == before and time.monotonic() < until:
            time.sleep(LOOK_SECONDS)

    def _live(self, calm: Undisturbed, kills: int, *, until: float) -> None:
        workspace, life = self._copy(), Life(self._asked())
        while True:
            before = self._counts()["calls"]
            run = self._start(workspace)
            if self.tally.kills + life.tally.kills >= kills or time.monotonic() >= until:
                break
            moment = calm.moment(self.generator, len(life.books.answered) / calm.n_requests)
            if moment.after_first_call:
                self._await_call(run, before)
            if run.ends_within(moment.seconds) or not run.kill():
                break
            life.killed(read_books(workspace.ledger, folder=self.folder), self._asked())
            self._tell(self.tally.kills + life.tally.kills, moment, life.books)
        printed = json.loads(run.output())["llm"]["sent_again"]
        life.ended(read_books(workspace.ledger, folder=self.folder), self._asked(), printed=printed)
        self.tally += life.tally
        self._compare(calm, read_tables(workspace))
        shutil.rmtree(workspace.root)

    def _tell(self, kill: int, moment: Moment, books: Books) -> None:
        since = "the first call" if moment.after_first_call else "the start"
        self._say(
            f"kill {kill}, {moment.seconds:.2f} s after {since}: {len(books.answered)} requests answered, "
            f"{books.n_under_way} under way, {books.n_open_batches} batches under way"
        )

    def _compare(self, calm: Undisturbed, tables: Mapping[str, pl.DataFrame]) -> None:
        differing = [name for name in TABLES if not tables[name].equals(calm.tables[name])]
        self.tally.tables += len(tables)
        self.tally.differing += len(differing)
        if differing:
            self._say(f"not the tables of the undisturbed run: {', '.join(differing)}")

    def _start(self, workspace: Workspace) -> FeatlasRun:
        url = self.provider.anthropic_url if self.way.model.startswith("anthropic/") else self.provider.url
        return self.runs.start(
            ("label", "score"), "--config", str(self.config), "--workspace", str(workspace.root), "--no-prefect", "--json",
            "--model", self.way.model, "--mode", self.way.mode, "--base-url", url,
        )  # fmt: skip

    def _copy(self) -> Workspace:
        place = self.folder / "workspace"
        shutil.copytree(self.sampled, place)
        return Workspace(place)

    def _asked(self) -> ProviderCounts:
        return ProviderCounts(self.provider.questions(), self._counts()["batches"])

    def _counts(self) -> Mapping[str, int]:
        return self.provider.counts()

    def _say(self, text: str) -> None:
        self.say(f"{self.way.name}: {text}")


def read_tables(workspace: Workspace) -> dict[str, pl.DataFrame]:
    """The tables that language models fill, without what may differ from run to run."""
    from labeling.snapshot import query  # brings polars and DuckDB

    return {name: _comparable(query(workspace, f"SELECT * FROM {name}")) for name in TABLES}


def _comparable(frame: pl.DataFrame) -> pl.DataFrame:
    kept = [name for name in frame.columns if name not in LEFT_OUT]
    flat = [name for name in kept if not frame.schema[name].is_nested()]
    return frame.select(kept).sort(flat, nulls_last=True)
