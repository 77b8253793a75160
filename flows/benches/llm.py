"""The bench `llm`: what the dispatcher and the ledger add to the calls they make, and what they survive.

Everything goes through a ledger file and the OpenAI SDK, over real HTTP, to `flows.fake_provider` in a process of its
own. Loading the SDK, opening connections and the first calls come before the clock starts. It takes some minutes.
"""

from __future__ import annotations

import asyncio
import gc
import tempfile
import time
import tracemalloc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from flows.benches import BenchOptions, Row, at_least, at_most, kills, plain
from flows.benches._provider import Provider, serve
from flows.benches.kills import KillsBench
from flows.llm import LLMSettings, send, shards_at_once
from flows.worker_processes import WorkerProcesses
from labeling.errors import FeatlasError
from labeling.ledger import Ledger
from labeling.ledger_model import LedgerModel
from labeling.llm import ask, connect
from labeling.llm._dispatch import RetryPolicy
from labeling.llm._endpoint import Endpoint
from labeling.types import CompletionFailure, LLMRequest, LLMResult

MODEL = "openai/tiny"
KEY_NAME = "OPENAI_API_KEY"
SCHEMA = {
    "type": "object",
    "properties": {"label": {"type": "string"}},
    "required": ["label"],
    "additionalProperties": False,
}
SYSTEM = "Say in a few words what the marked words of these texts have in common. " * 20


@dataclass(frozen=True)
class Load:
    """Requests that all take the same time, and what they take together at best."""

    requests: int
    in_flight: int
    latency_seconds: float

    @property
    def best_seconds(self) -> float:
        return self.requests * self.latency_seconds / self.in_flight


@dataclass(frozen=True)
class LLMBench:
    """Sizes of what is measured; the defaults are those that are promised."""

    loads: tuple[Load, ...] = (Load(640, 64, 1.0), Load(5_000, 512, 3.0))
    shards: int = 20
    shard: Load = Load(100, 64, 1.0)
    """A number of requests that leaves places free when its last ones are under way."""
    calls: int = 1_000
    """Of each loop whose CPU time is compared."""
    repeats: int = 3
    faulty: int = 2_000
    limited_seconds: float = 60.0
    pending: tuple[int, int] = (10_000, 1_000_000)
    kills: KillsBench | None = field(default_factory=KillsBench)
    """None leaves them out."""

    def measure(self) -> list[Row]:
        return [
            *(measure_wall(load) for load in self.loads),
            *measure_shards(self.shards, self.shard),
            *measure_cpu(self.calls, self.repeats),
            *measure_faults(self.faulty),
            *measure_limit(self.limited_seconds),
            *measure_memory(*self.pending),
            *(self.kills.measure() if self.kills is not None else ()),
        ]


def create(*, options: BenchOptions) -> LLMBench:
    """Make the bench. Raise UsageError for options that it does not use."""
    options.only("llm", "kills", "seed")
    return LLMBench(kills=kills.create(options=options))


class EnoughError(FeatlasError):
    """Ends a run that has been measured for long enough."""


@dataclass(frozen=True)
class Questions(Sequence[LLMRequest]):
    """So many different requests, each made when it is asked for."""

    size: int
    name: str = "question"
    stop_at: int | None = None
    """From this one on there is an error instead, which ends the run."""

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> LLMRequest:  # type: ignore[override]  # no slices are taken
        if not 0 <= index < self.size:
            raise IndexError(index)
        if self.stop_at is not None and index >= self.stop_at:
            raise EnoughError
        return LLMRequest(MODEL, SYSTEM, f"{self.name} {index}: " + "some text to read, " * 80, SCHEMA, 100, "label")


@dataclass(frozen=True)
class Asker:
    """A model at a provider, behind a ledger in a new file."""

    provider: Provider
    in_flight: int
    timeout_seconds: float = 60.0
    retry: RetryPolicy = field(default_factory=RetryPolicy)

    def ask(self, ledger: Ledger, requests: Sequence[LLMRequest]) -> list[LLMResult]:
        inner = connect(
            MODEL,
            base_url=self.provider.url,
            max_in_flight=self.in_flight,
            timeout_seconds=self.timeout_seconds,
            retry=self.retry,
        )
        return ask(LedgerModel(inner, ledger), requests)


@contextmanager
def new_ledger() -> Iterator[Ledger]:
    with tempfile.TemporaryDirectory() as folder, Ledger(Path(folder) / "ledger.sqlite") as ledger:
        yield ledger


def measure_wall(load: Load) -> Row:
    with serve(f"--latency={load.latency_seconds}") as provider, new_ledger() as ledger:
        asker = Asker(provider, load.in_flight)
        asker.ask(ledger, Questions(1, "warm"))  # loads the SDK
        started = time.perf_counter()
        asker.ask(ledger, Questions(load.requests))
        taken = time.perf_counter() - started
    name = f"wall over best, {load.in_flight} in flight at {load.latency_seconds:g} s, {load.requests:,} requests"
    return at_most(name, taken / load.best_seconds, 1.10, "x")


@dataclass(frozen=True)
class Shard:
    """What a shard of a stage asks."""

    root: Path
    questions: Questions
    settings: LLMSettings


def measure_shards(count: int, load: Load) -> list[Row]:
    """Shards as a stage runs them, each with requests, a ledger connection and an end of its own."""
    with serve(f"--latency={load.latency_seconds}") as provider, tempfile.TemporaryDirectory() as folder:
        settings = LLMSettings(base_url=provider.url, max_in_flight=load.in_flight)
        jobs = [Shard(Path(folder), Questions(load.requests, f"shard {n}"), settings) for n in range(count)]
        _ask_shard(Shard(Path(folder), Questions(1, "warm"), settings))
        started = time.perf_counter()
        done = WorkerProcesses(1)(_ask_shard, jobs, name="bench", overlap=shards_at_once(MODEL, settings))
        answered = sum(answers for _, answers in done)
        taken = time.perf_counter() - started
    name = f"wall over best, {count} shards of {load.requests} requests, {load.in_flight} in flight"
    return [
        at_most(name, taken / (count * load.best_seconds), 1.10, "x"),
        at_most("shards: lost", count * load.requests - answered, 0, "requests"),
    ]


def _ask_shard(shard: Shard) -> int:
    results = send(shard.root, shard.questions, shard.settings).results
    return sum(not isinstance(result, CompletionFailure) for result in results)


def measure_cpu(calls: int, repeats: int) -> list[Row]:
    """CPU seconds of this process, ours and those of a bare loop in turn."""
    with serve("--latency=0.05") as provider, new_ledger() as ledger:
        asker = Asker(provider, 32)
        asker.ask(ledger, Questions(64, "warm"))
        asyncio.run(call_bare(provider.url, Questions(64, "warm"), workers=32))
        ours, bare = [], []
        for number in range(repeats):
            started = time.process_time()
            asyncio.run(call_bare(provider.url, Questions(calls, f"bare {number}"), workers=32))
            bare.append((time.process_time() - started) / calls)
            started = time.process_time()
            asker.ask(ledger, Questions(calls, f"ours {number}"))
            ours.append((time.process_time() - started) / calls)
    return [
        plain("CPU a request, bare loop over the same SDK client", 1e3 * median(bare), "ms"),
        plain("CPU a request, with dispatcher and ledger", 1e3 * median(ours), "ms"),
        at_most("CPU a request, over the bare loop's", median(ours) / median(bare), 1.25, "x"),
    ]


async def call_bare(url: str, requests: Sequence[LLMRequest], *, workers: int) -> None:
    """The loop that somebody would write who only wants the answers."""
    from labeling.llm.openai import open_sdk

    client = open_sdk(Endpoint("openai", "tiny", url, KEY_NAME, "none", True), timeout_seconds=60)
    waiting = iter(range(len(requests)))

    async def work() -> None:
        for index in waiting:
            request = requests[index]
            await client.chat.completions.create(
                model="tiny",
                messages=[{"role": "system", "content": request.system}, {"role": "user", "content": request.user}],
                max_completion_tokens=request.max_output_tokens,
                response_format={
                    "type": "json_schema",
                    "json_schema": {"name": "answer", "schema": dict(request.schema), "strict": True},
                },
            )

    await asyncio.gather(*(work() for _ in range(workers)))
    await client.close()


def measure_faults(count: int) -> list[Row]:
    retry = RetryPolicy(first_wait_seconds=0.05, longest_wait_seconds=0.5)
    with serve("--fault-share=0.3") as provider, new_ledger() as ledger:
        results = Asker(provider, 64, timeout_seconds=1.0, retry=retry).ask(ledger, Questions(count))
        counts, summary = provider.counts(), ledger.summary()
    failed = [result for result in results if isinstance(result, CompletionFailure)]
    without_reason = sum(not failure.reason for failure in failed)
    lost = count - summary.answered - summary.failed
    return [
        plain("30 % of attempts faulty: requests", count, "requests"),
        plain("30 % faulty: attempts that met a fault", 100 * counts["faults"] / counts["requests"], "%"),
        plain("30 % faulty: answered", summary.answered, "requests"),
        plain("30 % faulty: failed with a reason", len(failed) - without_reason, "requests"),
        at_most("30 % faulty: failed without a reason", without_reason, 0, "requests"),
        at_most("30 % faulty: neither answered nor failed in the ledger", lost, 0, "requests"),
        at_most("30 % faulty: answered twice", counts["answered_twice"], 0, "requests"),
    ]


def measure_limit(seconds: float) -> list[Row]:
    """As many requests as 600 a minute allow in the time, and how long they take."""
    per_minute, count = 600, int(seconds * 10)
    with serve("--latency=1", f"--requests-per-minute={per_minute}") as provider, new_ledger() as ledger:
        started = time.perf_counter()
        Asker(provider, 64).ask(ledger, Questions(count))
        minutes = (time.perf_counter() - started) / 60
        counts = provider.counts()
    return [
        at_least("600 requests/min announced: used", 100 * count / (per_minute * minutes), 90, "%"),
        at_most("600 requests/min announced: answered 429", 100 * counts["rate_limited"] / counts["requests"], 1, "%"),
    ]


def measure_memory(few: int, many: int) -> list[Row]:
    """Largest memory that Python objects take while the first requests of a long sequence are answered."""
    peaks = {}
    with serve() as provider:
        for count in (few, few, many):  # the first time also pays for what is loaded and kept
            with new_ledger() as ledger:
                peaks[count] = _peak_mib(Asker(provider, 64), ledger, Questions(count, stop_at=few // 5))
    return [
        plain(f"memory with {few:,} requests pending", peaks[few], "MiB"),
        plain(f"memory with {many:,} requests pending", peaks[many], "MiB"),
        at_most(f"memory, {many:,} over {few:,} pending", peaks[many] / peaks[few], 1.2, "x"),
    ]


def _peak_mib(asker: Asker, ledger: Ledger, requests: Questions) -> float:
    gc.collect()
    tracemalloc.start()
    try:
        with suppress(EnoughError):
            asker.ask(ledger, requests)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    return peak / 2**20
