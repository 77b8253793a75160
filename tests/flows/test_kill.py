"""Runs that are killed at any moment and started again end in the tables of an undisturbed run, and pay nothing twice."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tests.flows.mini import MODEL, Mini, differing, tables

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[2]
FEATLAS = (sys.executable, "-c", "from flows.cli import main; main()")
KEY = "sk-loopback-123456"
MOST_IN_FLIGHT = 4


def start(mini: Mini, *arguments: str) -> subprocess.Popen[str]:
    """Run `featlas run` in a process group of its own."""
    command = [*FEATLAS, "run", "--config", str(mini.config), "--workspace", str(mini.workspace), *arguments]
    environment = {**os.environ, "OPENAI_API_KEY": KEY, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip


def finish(mini: Mini, *arguments: str) -> str:
    out, err = (process := start(mini, *arguments)).communicate(timeout=300)
    assert process.returncode == 0, err
    return out


def kill_after(mini: Mini, seconds: float, *arguments: str) -> bool:
    """Kill -9 a run after some seconds. False when it was done before."""
    process = start(mini, *arguments)
    try:
        process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return True
    return False


def test_a_run_that_is_killed_again_and_again_ends_in_the_tables_of_an_undisturbed_one(
    mini: Mini, mini_tables: dict[str, pl.DataFrame], tmp_path: Path
) -> None:
    """Also: two undisturbed runs of the same seed, in two processes, give equal tables."""
    calm, killed = Mini(mini.config, tmp_path / "calm"), Mini(mini.config, tmp_path / "killed")
    started = time.monotonic()
    finish(calm)
    took = time.monotonic() - started
    assert differing(mini_tables, tables(calm.workspace)) == []
    generator = np.random.default_rng()  # any moment
    kills = 0
    for seconds in np.sort(generator.uniform(0.1, 0.6, size=2)) * took:  # what is left takes less and less
        kills += kill_after(killed, float(seconds))
    finish(killed)
    assert kills >= 1
    assert differing(mini_tables, tables(killed.workspace)) == []
    assert killed.ask("SELECT count(*) FROM runs WHERE state = 'killed'").item() >= 1


@pytest.fixture
def provider() -> Iterator[tuple[str, str]]:
    """Address of a provider in a process of its own, for requests and for its counts."""
    command = [sys.executable, "-m", "flows.fake_provider", "--latency", "0.15", "--no-prompt-cache"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    place = json.loads(process.stdout.readline())
    yield place["openai"], f"{place['anthropic']}/counts"
    process.kill()
    process.communicate()


def counts(place: str) -> dict[str, int]:
    with urllib.request.urlopen(place) as reply:
        return dict(json.loads(reply.read()))


def test_killing_a_run_that_asks_a_language_model_pays_only_for_what_was_in_flight(
    tmp_path: Path, mini: Mini, provider: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    url, place = provider
    arguments = (
        "--explainer", "top_and_random", "--scorer", "detection", "--model", f"openai/{MODEL}", "--base-url", url,
        "--features", mini.ok_features(4), "--set", f"llm.max_in_flight={MOST_IN_FLIGHT}",
    )  # fmt: skip
    (tmp_path / "calm").mkdir()
    (tmp_path / "killed").mkdir()
    calm, killed = mini.copy(tmp_path / "calm"), mini.copy(tmp_path / "killed")
    started = time.monotonic()
    finish(calm, *arguments)
    took, paid = time.monotonic() - started, counts(place)["requests"]
    generator = np.random.default_rng()
    kills = sum(kill_after(killed, float(s), *arguments) for s in generator.uniform(0.3, 0.95, size=2) * took)
    finish(killed, *arguments)
    assert kills >= 1
    after = counts(place)
    extra = after["requests"] - 2 * paid
    assert 0 <= extra <= MOST_IN_FLIGHT * kills
    assert differing(tables(calm.workspace), tables(killed.workspace)) == []
    assert killed.featlas("run", *arguments).code == 0
    assert counts(place)["requests"] == after["requests"]
