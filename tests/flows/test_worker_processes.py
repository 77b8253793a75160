"""Shards in worker processes: the same results in the same order, errors as they are, and nobody left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from flows.worker_processes import WorkerProcesses
from labeling.errors import FeatlasError, UsageError
from tests.waiting import wait_until


@dataclass(frozen=True)
class Number:
    value: int


def place_and_square(job: Number) -> tuple[int, int]:
    time.sleep(0.01 * (job.value % 3))
    return os.getpid(), job.value**2


def refuse(job: Number) -> None:
    if job.value == 3:
        raise UsageError("3 is not allowed")


def die(job: Number) -> None:
    if job.value == 2:
        os.kill(os.getpid(), signal.SIGKILL)


def threads_seen(job: Number) -> str | None:
    return os.environ.get("POLARS_MAX_THREADS")


def note_and_wait(job: Path) -> None:
    (job / str(os.getpid())).touch()
    time.sleep(60)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


JOBS = [Number(value) for value in range(9)]


@pytest.fixture(scope="module")
def two() -> Iterator[WorkerProcesses]:
    with WorkerProcesses(2) as workers:
        yield workers


def test_results_come_in_the_order_of_the_jobs(two: WorkerProcesses) -> None:
    done = list(two(place_and_square, JOBS, name="squares", parallel=True))
    assert [(job, square) for job, (_, square) in done] == [(job, job.value**2) for job in JOBS]
    assert os.getpid() not in {pid for _, (pid, _) in done}


def test_each_worker_has_one_thread(two: WorkerProcesses) -> None:
    assert {seen for _, seen in two(threads_seen, JOBS[:4], name="threads", parallel=True)} == {"1"}


def test_what_must_not_run_at_once_runs_here(two: WorkerProcesses) -> None:
    assert {pid for _, (pid, _) in two(place_and_square, JOBS, name="squares")} == {os.getpid()}


def test_one_job_or_one_core_needs_no_workers(two: WorkerProcesses) -> None:
    assert {pid for _, (pid, _) in two(place_and_square, JOBS[:1], name="squares", parallel=True)} == {os.getpid()}
    with WorkerProcesses(1) as one:
        assert {pid for _, (pid, _) in one(place_and_square, JOBS, name="squares", parallel=True)} == {os.getpid()}


def test_an_error_of_a_job_arrives_as_it_was_raised(two: WorkerProcesses) -> None:
    with pytest.raises(UsageError, match="3 is not allowed"):
        list(two(refuse, JOBS, name="refusals", parallel=True))


def test_a_worker_that_was_killed_is_told_in_one_paragraph() -> None:
    with pytest.raises(FeatlasError, match=r"A worker process died in deaths.*resumes"), WorkerProcesses(2) as workers:
        list(workers(die, JOBS, name="deaths", parallel=True))


def test_an_interrupt_ends_workers_at_once(tmp_path: Path) -> None:
    started = time.monotonic()
    signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 2.0)
    with pytest.raises(KeyboardInterrupt), WorkerProcesses(2) as workers:
        next(workers(note_and_wait, [tmp_path, tmp_path], name="waits", parallel=True))
    pids = [int(file.name) for file in tmp_path.iterdir()]
    assert pids
    assert not any(alive(pid) for pid in pids)
    assert time.monotonic() - started < 30


def interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


ORPHANS = """
from pathlib import Path
from flows.worker_processes import WorkerProcesses
from tests.flows.test_worker_processes import note_and_wait
if __name__ == "__main__":
    folder = Path({folder!r})
    list(WorkerProcesses(2)(note_and_wait, [folder, folder], name="waits", parallel=True))
"""


def test_workers_end_when_the_process_that_started_them_is_killed(tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    program = tmp_path / "parent.py"
    program.write_text(ORPHANS.format(folder=str(tmp_path / "notes")))
    root = Path(__file__).resolve().parents[2]
    parent = subprocess.Popen([sys.executable, str(program)], env={**os.environ, "PYTHONPATH": str(root)})
    try:
        wait_until(lambda: len(list((tmp_path / "notes").iterdir())) == 2)
    finally:
        parent.kill()
        parent.wait()
    pids = [int(file.name) for file in (tmp_path / "notes").iterdir()]
    wait_until(lambda: not any(alive(pid) for pid in pids))
