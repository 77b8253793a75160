"""The bench `pages`: how long the dashboard takes to answer, and how much memory it uses, on a store of a million features;
how long the report of 131,072 features takes, and how large it is.

`featlas serve` runs as a process of its own and is asked over HTTP on this machine, one request after the other, each kind
of page with other features, filters and words every time. What is compared is the 95th percentile of the time that the server
says a page took it; the CPU time beside it does not depend on what else the machine does.
"""

from __future__ import annotations

import http.client
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlencode

from flows.benches import BenchOptions, Row, at_most, plain
from flows.benches._big_store import SET, Size, write_big_store
from flows.benches._processes import featlas_program
from labeling.errors import FeatlasError

REQUESTS = 40
START_SECONDS = 120.0
"""Wait at most so long for the server."""
MILLISECONDS = {"feature": 100, "neighborhood": 100, "list": 300, "scoreboard": 300, "overview": 300, "map": 1000}
MADE_ONCE = ("overview", "map, whole")
"""Pages whose first view is promised; others too remember something, or look into files once."""


@dataclass(frozen=True)
class PagesBench:
    """Pages of a generated store, or of the workspace that is named."""

    workspace: Path | None = None
    size: Size = field(default_factory=Size)
    reported: Size = field(default_factory=lambda: Size(features=131_072, with_evidence=13_107, windows=39_321))
    """Of the store that the report is of, where no workspace is named."""
    requests: int = REQUESTS

    def measure(self) -> list[Row]:
        with tempfile.TemporaryDirectory(prefix="featlas-bench-") as folder:
            place = self.workspace or Path(folder) / "workspace"
            if not (place / "snapshot.duckdb").exists():
                write_big_store(place, self.size)
            with _served(place) as (port, seconds_to_start, pid):
                cpu_to_start = _cpu_seconds(pid)
                times = {name: self._times(port, make) for name, make in _addresses(self.size).items()}
                memory = _resident_mib(pid)
            if self.workspace is None:
                place = Path(folder) / "reported"
                write_big_store(place, self.reported)
            report = _report_rows(
                place, Path(folder) / "report", self.reported if self.workspace is None else self.size
            )
        rows = [at_most("start until the first page", seconds_to_start, 3.0, "s")]
        rows.append(plain("start until the first page, CPU", cpu_to_start, "s"))
        for name, (first, *taken) in times.items():
            limit = MILLISECONDS[name.split(",")[0].split()[0]]
            first_view = f"{name}, first view of a snapshot"
            rows.append(
                at_most(first_view, first.total, limit, "ms")
                if name in MADE_ONCE
                else plain(first_view, first.total, "ms")
            )
            rows.append(at_most(f"{name}, 95th percentile", _percentile([t.total for t in taken], 0.95), limit, "ms"))
            rows.append(plain(f"{name}, median", _percentile([t.total for t in taken], 0.5), "ms"))
            rows.append(plain(f"{name}, CPU, 95th percentile", _percentile([t.cpu for t in taken], 0.95), "ms"))
            rows.append(plain(f"{name}, CPU, median", _percentile([t.cpu for t in taken], 0.5), "ms"))
        return [*rows, at_most("memory of the server", memory, 1024, "MiB"), *report]

    def _times(self, port: int, make: Callable[[random.Random], str]) -> list[Taken]:
        """What each request took; the first one also makes whatever is made once a snapshot."""
        choose = random.Random(0)
        return [_get(port, make(choose)) for _ in range(1 + self.requests)]


@dataclass(frozen=True)
class Taken:
    """What the server says that a page took it, in milliseconds."""

    total: float
    cpu: float


def create(*, options: BenchOptions) -> PagesBench:
    """Make the bench. Raise UsageError for options that it does not use."""
    options.only("pages", "workspace")
    return PagesBench(workspace=options.workspace)


def _addresses(size: Size) -> dict[str, Callable[[random.Random], str]]:
    """A maker of addresses for each kind of page."""

    def asked(path: str, **parameters: object) -> str:
        return f"{path}?{urlencode({'set': SET, **parameters})}"

    def listed(choose: random.Random, **more: object) -> str:
        word, low = f"word{choose.randint(1, 300)}", round(choose.uniform(0.3, 0.7), 2)
        return asked("/features", q=word, low=low, status="ok", **more)

    return {
        "feature page": lambda choose: asked(f"/feature/{choose.randrange(size.with_evidence)}"),
        "feature, its judgments": lambda choose: asked(f"/feature/{choose.randrange(size.with_evidence)}/judgments"),
        "neighborhood": lambda choose: asked(f"/neighborhood/{choose.randrange(size.features)}"),
        "list, search and two filters": listed,
        "list, the same, a page far away": lambda choose: listed(choose, after=f"{choose.uniform(0.5, 0.8)}~7"),
        "list, search in tokens": lambda choose: listed(choose, **{"in": "text"}),
        "scoreboard": lambda choose: asked("/scoreboard", columns=choose.choice(["core", "cost"])),
        "overview": lambda _: asked("/"),
        "map, whole": lambda choose: asked("/map", color=choose.choice(["cluster", "score"])),
        "map, highlighted": lambda choose: asked("/map", q=f"word{choose.randint(1, 5000)}"),
    }


def _report_rows(place: Path, target: Path, size: Size) -> list[Row]:
    """The command `report` as a process of its own, start included, and the size of its page."""
    started = time.perf_counter()
    command = [featlas_program(), "report", "--workspace", str(place), "--to", str(target)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    seconds = time.perf_counter() - started
    megabytes = (target / "report.html").stat().st_size / 1e6
    return [
        at_most(f"report of {size.features:,} features", seconds, 60.0, "s"),
        at_most("size of its page", megabytes, 10.0, "MB"),
    ]


@contextmanager
def _served(place: Path) -> Iterator[tuple[int, float, int]]:
    """Port of a server of the workspace, seconds until it had answered, and its process."""
    started = time.perf_counter()
    command = [featlas_program(), "serve", "--workspace", str(place), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=sys.stderr, text=True) as server:
        try:
            assert server.stdout is not None
            said = server.stdout.readline()
            found = re.search(r":(\d+) ", said)
            if found is None:
                raise FeatlasError(f"`featlas serve` did not start: {said or 'it ended'}")
            port = int(found.group(1))
            _get(port, "/sql", patience=START_SECONDS)
            yield port, time.perf_counter() - started, server.pid
        finally:
            server.terminate()
            server.wait(timeout=20)


def _get(port: int, address: str, *, patience: float = 60.0) -> Taken:
    """Ask for a page. Raise FeatlasError for another answer than a page."""
    end = time.monotonic() + patience
    while True:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=patience)
        try:
            connection.request("GET", address)
            answer = connection.getresponse()
            answer.read()
        except ConnectionError:
            if time.monotonic() > end:
                raise
            time.sleep(0.02)
            continue
        finally:
            connection.close()
        if answer.status != 200:
            raise FeatlasError(f"{address} was answered with status {answer.status}.")
        said = dict(re.findall(r"(\w+);dur=([\d.]+)", answer.headers["Server-Timing"]))
        return Taken(float(said["total"]), float(said["cpu"]))


def _percentile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)]


def _cpu_seconds(pid: int) -> float | None:
    """CPU time that a process has used; None where the kernel doesn't tell."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    except OSError:
        return None
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _resident_mib(pid: int) -> float | None:
    """Memory of a process as the kernel counts it; None where it doesn't tell."""
    try:
        text = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    except OSError:
        return None
    found = re.search(r"VmRSS:\s+(\d+) kB", text)
    return int(found.group(1)) / 1024 if found else None
