"""One run on one workspace: the store, the resolved config, and a row in `runs` that says how it ended."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import polars as pl

from flows.batches import answers_at_hand, batches_of, open_batches
from flows.budgets import open_budget
from flows.progress import Progress, Tell
from flows.shards import Job, ShardRunner
from flows.usage import Usage
from flows.worker_processes import WorkerProcesses
from labeling import evidence
from labeling.config import Config
from labeling.cores import idle_cores
from labeling.errors import BudgetReached, FeatlasError
from labeling.run_progress import RunProgress, clear_progress, write_progress
from labeling.store import Store
from labeling.workspace import Workspace

MOST_CORES = 8
"""Taken unasked: each worker needs about half a gigabyte."""


@dataclass
class Session:
    """What every stage needs. `failures` counts what went wrong without ending the run, by reason."""

    workspace: Workspace
    store: Store
    config: Config
    run_id: str
    progress: Progress
    runner: ShardRunner
    cores: int
    """CPU cores it may keep busy."""
    workers: WorkerProcesses | None = None
    """Where jobs are spread over processes of this machine."""
    command: str = ""
    started_at: datetime = field(default_factory=lambda: _now())
    failures: dict[str, int] = field(default_factory=dict)
    usage: Usage = field(default_factory=Usage)
    n_reused: int = 0
    """Requests whose answer the ledger had already."""
    n_from_batches: int = 0
    """Answers that were read from batches and counted."""
    n_pending: int = 0
    """Answers that are still in batches. What needs them is left for a later run; they are no failures."""
    budget_reached: str | None = None
    """What to tell the user when a limit ended the run early."""
    n_sent_again: int = 0
    """Requests that a killed run had under way; they may have been paid twice."""

    @property
    def processes(self) -> int:
        """Processes that jobs may run in at once."""
        return self.cores if self.workers is not None else 1

    def now(self) -> datetime:
        """UTC, without a time zone, as the store keeps times."""
        return _now()

    def record_evidence(self, table: str, key: str, shard: int) -> None:
        """Record a finished file of a large table, if there is one, so that `featlas doctor` knows whose it is."""
        file = evidence.shard_file(self.workspace, table, key, shard)
        if file.exists():
            rows = int(pl.scan_parquet(file, glob=False).select(pl.len()).collect().item())
            self.store.finish_shard(table, key, shard, rows=rows, file=file)

    def count_requests(self, usage: Usage, n_reused: int, n_sent_again: int) -> None:
        """Add what a shard asked language models."""
        self.usage += usage
        self.n_reused += n_reused
        self.n_sent_again += n_sent_again

    def has_answers(self, stage: str, jobs: Callable[[], Iterable[Job]], ask: Callable[[Job], int]) -> bool:
        """Whether all that the jobs ask is answered. Where requests are in batches, submit and wait, or count them.

        `ask` returns how many answers of a job are not there yet.
        """
        missing = answers_at_hand(self.workspace.root, self.config, self.progress, stage=stage, jobs=jobs, ask=ask)
        self.n_pending += missing
        batches = batches_of(self.workspace.root)
        if batches is not None and not missing:  # the jobs will find these answers in the ledger, but they are new
            self.n_reused -= batches.n_answered - self.n_from_batches
            self.n_from_batches = batches.n_answered
        return not missing

    def record_end(self) -> None:
        """State how the run ended, as far as it went: complete, or partial with what was lost."""
        lost = ", ".join(f"{count} {reason}" for reason, count in sorted(self.failures.items()))
        waiting = f"{self.n_pending} answers are not there yet: they are in batches" if self.n_pending else ""
        message = self.budget_reached or "; ".join(part for part in (lost, waiting) if part) or None
        _record(self, state="partial" if message else "complete", message=message)

    def count_failures(self, kind: str, reasons: dict[str, int]) -> None:
        """Add items that failed, such as `{"timeout": 3}`; the run then ends as partial."""
        for reason, count in reasons.items():
            key = f"{kind}: {reason}"
            self.failures[key] = self.failures.get(key, 0) + count


@contextmanager
def open_session(
    root: Path, config: Config, *, command: str, progress: Progress, runner: ShardRunner | None = None
) -> Iterator[Session]:
    """Open the workspace for writing and record the run. Raise WorkspaceInUse when another process writes to it.

    Without a runner, shards that compute on the CPU are spread over worker processes.
    """
    workspace, cores = Workspace(root).create(), config.sample.threads or min(MOST_CORES, idle_cores())
    with (
        open_budget(root, config.llm),
        open_batches(root, config.llm),
        Store(workspace) as store,
        WorkerProcesses(cores) as workers,
    ):
        session = Session(
            workspace=workspace,
            store=store,
            config=config,
            run_id=uuid.uuid4().hex[:16],
            progress=progress,
            runner=runner or workers,
            cores=cores,
            workers=workers if runner is None else None,
            command=command,
        )
        _close_killed_runs(store)
        _record(session, state="running")
        progress.tell = _teller(workspace, command)
        try:
            yield session
        except KeyboardInterrupt:
            _record(session, state="interrupted")
            raise
        except BudgetReached:
            session.record_end()
            raise
        except BaseException as error:
            text = str(error) if isinstance(error, FeatlasError) else type(error).__name__
            _record(session, state="failed", message=text)
            raise
        finally:
            progress.tell = None
            clear_progress(workspace)
        session.record_end()


def _teller(workspace: Workspace, command: str) -> Tell:
    """What writes down how far the run is, for the dashboard."""
    begun: dict[str, datetime] = {}

    def tell(step: str, done: int, total: int, unit: str) -> None:
        now = _now()
        since = begun.setdefault(step, now)
        write_progress(
            workspace,
            RunProgress(command, step, done, total, unit, since.isoformat(), now.isoformat(), os.getpid()),
        )

    return tell


def _close_killed_runs(store: Store) -> None:
    """Runs that did not come to say how they ended: only one process may write, so theirs is gone."""
    lost = store.read("runs", state="running")
    if len(lost):
        store.save("runs", lost.with_columns(pl.lit("killed").alias("state")))


def _record(session: Session, *, state: str, message: str | None = None) -> None:
    config = session.config
    session.store.save(
        "runs",
        pl.DataFrame(
            {
                "run_id": [session.run_id],
                "command": [session.command],
                "started_at": [session.started_at],
                "finished_at": [None if state == "running" else _now()],
                "state": [state],
                "config": [json.dumps(config.as_json())],
                "config_hash": [config.hash],
                "version": [version("featlas")],
                "message": [message],
            }
        ),
    )


def _now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None)
