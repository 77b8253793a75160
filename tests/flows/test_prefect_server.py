"""Flows on a real Prefect server, started here on loopback with a home of its own and ended by its process id."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import polars as pl
import pytest
import torch

from labeling.dictionaries.featlas import TopKDictionary, save
from labeling.evidence import scan
from labeling.snapshot import query
from labeling.workspace import Workspace
from tests.waiting import wait_until

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
KEY = "sk-not-to-be-stored"
CONFIG = """
[[features]]
name = "mini"
model = "embedded/minilm"
hook = "encoder.layer.2"
dictionary = "{dictionary}"
[corpus]
max_tokens = 12000
[sample]
shard_tokens = 2000
threads = 1
panel = 50
[label]
explainer = "token_pattern"
[score]
scorers = "pattern"
bootstrap = 50
[cluster]
resolution = [1.0]
"""
SMALL_TABLES = {
    "features": "*",
    "feature_splits": "*",
    "feature_tokens": "*",
    "explanations": "* EXCLUDE (run_id, created_at)",
    "scores": "* EXCLUDE (run_id)",
    "neighbors": "*",
    "clusters": "*",
    "cluster_members": "*",
    "map_points": "*",
}


@dataclass(frozen=True)
class Server:
    url: str
    environment: dict[str, str]

    def command(self, *arguments: str, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    def prefect(self, *arguments: str) -> str:
        done = self.command("-m", "prefect", "--no-prompt", *arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def runs(self, kind: str) -> list[dict[str, Any]]:
        """All flow or task runs as the server shows them."""
        request = urllib.request.Request(
            f"{self.url}/{kind}_runs/filter", data=b"{}", headers={"content-type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            found: list[dict[str, Any]] = json.load(answer)
        return found


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    home = tmp_path_factory.mktemp("prefect")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    url = f"http://127.0.0.1:{port}/api"
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "FEATLAS_"))}
    environment = kept | {
        "PREFECT_HOME": str(home),
        "PREFECT_API_URL": url,
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "PREFECT_WORKER_QUERY_SECONDS": "1",
        "PYTHONPATH": str(ROOT),
        "OPENAI_API_KEY": KEY,
    }
    start = ["-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", port, "--no-ui"]
    with (home / "log.txt").open("w") as log, running(start, environment, log):
        wait_until(lambda: _answers(f"{url}/health"), seconds=120)
        yield Server(url, environment)


@contextmanager
def running(arguments: list[str], environment: dict[str, str], log: IO[str]) -> Iterator[None]:
    """A process for as long as the block lasts; ended by its own id."""
    process = subprocess.Popen([sys.executable, *arguments], cwd=ROOT, env=environment, stdout=log, stderr=log)
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A config with a dictionary of 64 random directions."""
    folder = tmp_path_factory.mktemp("mini")
    directions = torch.nn.functional.normalize(torch.randn(64, 384, generator=torch.Generator().manual_seed(0)))
    save(TopKDictionary(directions, torch.zeros(64), directions, torch.zeros(384), k=1), folder / "dictionary", card={})
    file = folder / "featlas.toml"
    file.write_text(CONFIG.format(dictionary=folder / "dictionary"), encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def undisturbed(server: Server, config: Path) -> Path:
    """The workspace of a run without Prefect."""
    return _run(server, config, config.parent / "undisturbed", "--no-prefect")


def _run(server: Server, config: Path, workspace: Path, *options: str) -> Path:
    program = "import sys; from flows.cli import main; sys.argv[0] = 'featlas'; main()"
    done = server.command("-c", program, "run", "--config", str(config), "--workspace", str(workspace), *options)
    assert done.returncode in (0, 3), done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert "leaked" not in done.stderr
    return workspace


def tables(workspace: Path) -> dict[str, list[tuple[Any, ...]]]:
    """Everything the stages wrote, without the ids and times of runs."""
    place = Workspace(workspace)
    small = {name: query(place, f"SELECT {columns} FROM {name}") for name, columns in SMALL_TABLES.items()}
    large = {name: scan(place, name).collect() for name in ("windows", "contexts", "panel", "panel_activity")}
    return {
        name: sorted(frame.select(pl.all().map_elements(str, pl.String)).rows())
        for name, frame in (small | large).items()
    }


HOW = {
    "fine": ([[0, 0], [1, 1], [2, 4]], None, [1, 1, 1]),
    "crash": ([[0, 0], [2, 4]], "ValueError", [1, 2, 1]),
    "mend": ([[0, 0]], "FeatlasError", [1, 1]),
    "overlap": ([[0, 0], [1, 1], [2, 4]], None, [1, 1, 1]),
    "mend-overlap": ([[0, 0]], "FeatlasError", [1, 1]),
}
"""What is recorded, the error, and the attempts at each shard, by what the shards do."""


@pytest.fixture(scope="module")
def seen(server: Server, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What runs of each kind have done, all in one process."""
    done = server.command("-m", "tests.flows.shards_on_prefect", str(tmp_path_factory.mktemp("shards")), *HOW)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


@pytest.mark.parametrize("how", HOW)
def test_shards_are_task_runs_and_a_failed_one_loses_no_other(server: Server, seen: dict[str, Any], how: str) -> None:
    recorded, error, attempts = HOW[how]
    assert seen[how] == {"recorded": recorded, "error": error, "attempts": attempts}
    expected = {f"{how} shard {n}": "COMPLETED" for n, _ in recorded}
    expected |= {f"{how} shard 1": "FAILED"} if error else {}
    wait_until(lambda: _states(server, how) == expected, seconds=30)


def _states(server: Server, prefix: str) -> dict[str, str]:
    return {r["name"]: r["state_type"] for r in server.runs("task") if r["name"].startswith(f"{prefix} shard")}


def test_a_run_through_prefect_writes_the_same_tables_and_tells_no_key(
    server: Server, config: Path, undisturbed: Path
) -> None:
    workspace = _run(server, config, config.parent / "through-prefect")
    assert tables(workspace) == tables(undisturbed)
    flows = server.runs("flow")
    names = {run["name"] for run in flows}
    assert {"sample_contexts", "label_features", "score_labels", "cluster_features"} <= names
    wait_until(lambda: "sample shard 3" in {run["name"] for run in server.runs("task")}, seconds=30)
    assert KEY not in json.dumps([*flows, *server.runs("task")])


def test_an_error_for_people_is_one_paragraph_and_keeps_its_exit_code(server: Server, tmp_path: Path) -> None:
    config = tmp_path / "featlas.toml"
    config.write_text(CONFIG.format(dictionary=tmp_path / "nowhere"), encoding="utf-8")
    program = "import sys; from flows.cli import main; main()"
    done = server.command("-c", program, "run", "--config", str(config), "--workspace", str(tmp_path / "workspace"))
    assert done.returncode == 2
    assert "nowhere' does not exist" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert "leaked" not in done.stderr


def test_a_scheduled_run_that_is_killed_is_finished_by_the_next_one(
    server: Server, config: Path, undisturbed: Path, tmp_path: Path
) -> None:
    workspace = config.parent / "scheduled"
    server.prefect("work-pool", "create", "featlas", "--type", "process")
    server.prefect("deploy", "--all")
    with (
        (tmp_path / "worker.txt").open("w") as log,
        running(["-m", "prefect", "worker", "start", "--pool", "featlas"], server.environment, log),
    ):
        killed = _schedule(server, config, workspace)
        wait_until(lambda: any(workspace.glob("sampler/*/codes-00002.safetensors")), seconds=300)
        os.kill(int((workspace / "featlas.lock").read_text()), signal.SIGKILL)
        wait_until(lambda: _state(server, killed) == "CRASHED", seconds=300)
        earlier = {run["id"] for run in server.runs("task")}
        again = _schedule(server, config, workspace)
        wait_until(lambda: _state(server, again) in ("COMPLETED", "FAILED", "CRASHED"), seconds=300)
    assert _state(server, again) == "COMPLETED", (tmp_path / "worker.txt").read_text()
    names = {run["name"] for run in server.runs("task") if run["id"] not in earlier}
    assert {"sample shard 4", "write report"} <= names
    assert not {"sample shard 0", "sample shard 1"} & names
    assert tables(workspace) == tables(undisturbed)


def _schedule(server: Server, config: Path, workspace: Path) -> str:
    """Ask for a run of the deployment now; return the id of the flow run."""
    parameters = ["--param", f"config={config}", "--param", f"workspace={workspace}"]
    before = {run["id"] for run in server.runs("flow")}
    server.prefect("deployment", "run", "run_batch/nightly", *parameters)
    # the runs of the next nights are on the list too; this one alone has no automatic schedule
    (new,) = [r for r in server.runs("flow") if r["id"] not in before and not r["auto_scheduled"]]
    return str(new["id"])


def _state(server: Server, run: str) -> str:
    (state,) = [r["state_type"] for r in server.runs("flow") if r["id"] == run]
    return str(state)
