"""The batches of one run: what its stages note is submitted together, waited for, and read before a stage goes on.

Like the budget, they are found by the workspace, because jobs carry plain values. A stage asks twice: once ahead, which
only notes what is missing, and once in earnest, when all answers are in the ledger.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from flows.budgets import budget_of, prices
from flows.progress import Progress
from flows.shards import Job
from labeling.config import Config, LLMConfig
from labeling.ledger import BatchRow, Ledger
from labeling.llm._batch_desk import BatchDesk
from labeling.llm._batch_model import BatchModel
from labeling.llm._batches import connect_batches
from labeling.llm._dispatch import RetryPolicy
from labeling.workspace import Workspace

_OPEN: dict[Path, RunBatches] = {}


class RunBatches:
    """Batches of the run on a workspace. The ledger is opened when it is first needed."""

    def __init__(self, root: Path, settings: LLMConfig) -> None:
        self._root, self._settings = root, settings
        self._ledger: Ledger | None = None
        self._models: dict[str, BatchModel] = {}

    @property
    def desk(self) -> BatchDesk:
        if self._ledger is None:
            self._ledger = Ledger(Workspace(self._root).ledger, price=prices(self._settings.prices).cost_usd)
            self._desk = BatchDesk(
                self._ledger,
                lambda model: connect_batches(
                    model, base_url=self._settings.base_url, timeout_seconds=self._settings.timeout_seconds
                ),
                budget=budget_of(self._root, self._settings),
                retry=retry_policy(self._settings),
            )
        return self._desk

    def model(self, name: str) -> BatchModel:
        """The model that notes requests for the next batch."""
        if name not in self._models:
            desk = self.desk
            assert self._ledger is not None
            retry_failed = self._settings.retry_failed
            self._models[name] = BatchModel(name, self._ledger, desk, wait=False, retry_failed=retry_failed)
        return self._models[name]

    @property
    def n_answered(self) -> int:
        """Answers that this run read from batches."""
        return 0 if self._ledger is None else self._desk.n_answered

    def under_way(self, models: Iterable[str]) -> list[BatchRow]:
        """Batches of some models that are not read yet, whichever run submitted them."""
        if self._ledger is None and not Workspace(self._root).ledger.exists():
            return []
        return [row for model in models for row in self.desk.under_way(model)]

    def look(self, models: Iterable[str]) -> list[BatchRow]:
        """Read what has ended; return what is still under way."""
        return [row for model in models for row in self.desk.look(model)]

    def submit(self) -> list[BatchRow]:
        """Send what was noted."""
        return [row for model in self._models.values() for row in model.submit()]

    def close(self) -> None:
        if self._ledger is not None:
            self._ledger.close()


@contextmanager
def open_batches(root: Path, settings: LLMConfig) -> Iterator[RunBatches]:
    root = root.absolute()
    if root in _OPEN:
        yield _OPEN[root]
        return
    _OPEN[root] = RunBatches(root, settings)
    try:
        yield _OPEN[root]
    finally:
        _OPEN.pop(root).close()


def retry_policy(settings: LLMConfig) -> RetryPolicy:
    return RetryPolicy(max_attempts=settings.max_attempts, longest_retry_after_seconds=settings.max_retry_after_seconds)


def batches_of(root: Path) -> RunBatches | None:
    """The batches of the run on a workspace; None outside of a run."""
    return _OPEN.get(root.absolute())


def answers_at_hand(
    root: Path,
    config: Config,
    progress: Progress,
    *,
    stage: str,
    jobs: Callable[[], Iterable[Job]],
    ask: Callable[[Job], int],
) -> int:
    """Make sure that all answers of a stage are in the ledger, where batches play a part. Return how many are missing.

    `ask` asks what a job would ask and returns how many answers are not there yet. With `llm.wait` what is missing is
    waited for, and 0 returned. Raise BudgetReached at a limit, after what fits was sent and, with `llm.wait`, read.
    """
    batches, settings = batches_of(root), config.llm
    models = sorted({model for model in (config.label.model, config.score.model) if model is not None})
    if batches is None or (settings.mode != "batch" and not batches.under_way(models)):
        return 0
    batches.look(models)
    while missing := sum(ask(job) for job in jobs()):
        new = batches.submit()
        if new:
            progress.say(f"{stage}: submitted {_in_words(new)}")
        if batches.desk.held_back is not None:
            progress.say(f"{stage}: {batches.desk.held_back}")
        if settings.wait:
            total = sum(row.n_requests for row in batches.under_way(models))
            for model in models:
                batches.desk.wait(model, lambda left, total=total: _say_left(progress, stage, left, total))  # type: ignore[misc]
        if batches.desk.budget_reached is not None:
            raise batches.desk.budget_reached
        if not settings.wait:
            progress.say(f"{stage}: {missing:,} answers are not there yet; the same command collects them later")
            return missing
    return 0


def _in_words(rows: Sequence[BatchRow]) -> str:
    names = ", ".join(row.batch[:12] for row in rows[:3]) + (", ..." if len(rows) > 3 else "")
    total = sum(row.n_requests for row in rows)
    return f"{total:,} requests in {len(rows):,} {'batch' if len(rows) == 1 else 'batches'} ({names})"


def _say_left(progress: Progress, stage: str, left: Sequence[BatchRow], total: int) -> None:
    waiting = sum(row.n_requests for row in left)
    progress.advance(f"{stage}: wait for batches", done=max(0, total - waiting), total=total, unit="requests")
