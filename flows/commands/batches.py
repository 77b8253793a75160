"""Command `batches`: list the batches of a workspace, fetch what has ended, cancel one."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from flows.commands.options import json_option, workspace_option
from labeling.errors import UsageError

if TYPE_CHECKING:
    from labeling.ledger import BatchRow
    from labeling.llm._batch_desk import BatchDesk

same_workspace_option = click.option(
    "--workspace", "-w", type=click.Path(path_type=Path), help="Folder of the run. Default: as given to `batches`."
)
base_url_option = click.option("--base-url", help="A server that speaks the provider's protocol.")


@click.group(invoke_without_command=True)
@workspace_option
@json_option
@click.pass_context
def batches(context: click.Context, workspace: Path, as_json: bool) -> None:
    """List the batches in which language models were asked: id, state, model, requests, age, what happened.

    States: preparing (being submitted), submitted, ended, collected (its results are in the ledger), failed, canceled.
    It only reads and holds up no run.
    """
    context.obj = workspace
    if context.invoked_subcommand is not None:
        return
    rows = _read(workspace)
    if as_json:
        click.echo(json.dumps([asdict(row) for row in rows], indent=2))
    else:
        click.echo(
            "\n".join(_lines(rows, time.time())) or "No language model was asked in batches from this workspace."
        )


@batches.command()
@base_url_option
@same_workspace_option
@json_option
@click.pass_context
def collect(context: click.Context, base_url: str | None, workspace: Path | None, as_json: bool) -> None:
    """Fetch the results of all batches that have ended. The next run of the stage that asked uses them.

    A batch whose submission was cut short is looked for at the provider.
    """
    place = workspace or context.obj
    before = {row.batch: row for row in _read(place)}
    with _desk(place, base_url) as desk:
        left = desk.look()
    changed = [row for row in _read(place) if row != before.get(row.batch)]
    if as_json:
        click.echo(json.dumps({"changed": [asdict(row) for row in changed], "under_way": len(left)}, indent=2))
        return
    for line in _lines(changed, time.time()):
        click.echo(line)
    click.echo(f"{len(left):,} under way" if left else "Nothing is under way.")


@batches.command()
@click.argument("batch")
@base_url_option
@same_workspace_option
@click.pass_context
def cancel(context: click.Context, batch: str, base_url: str | None, workspace: Path | None) -> None:
    """Ask the provider to stop a batch. BATCH is its id in the list, or the start of it.

    What was answered until then is kept and billed. The batch ends a little later; `featlas batches collect`, or the next
    run, fetches what there is.
    """
    place = workspace or context.obj
    row = _find(_read(place), batch)
    with _desk(place, base_url, locked=False) as desk:  # a run may be waiting for this batch
        desk.cancel(row)
    click.echo(f"{row.batch}: cancellation was asked for; `featlas batches collect` fetches what was answered.")


def _read(workspace: Path) -> list[BatchRow]:
    from labeling.ledger import Ledger
    from labeling.workspace import Workspace

    with Ledger(Workspace(workspace).ledger, read_only=True) as ledger:
        return ledger.batches()


@contextmanager
def _desk(workspace: Path, base_url: str | None, *, locked: bool = True) -> Iterator[BatchDesk]:
    """A desk on the ledger; `locked` keeps runs away, because both would commit the same results."""
    from flows.budgets import prices
    from flows.llm import server_lines
    from labeling.config_files import LAST_RUN
    from labeling.ledger import Ledger
    from labeling.ledger_batches import UNDER_WAY
    from labeling.llm._batch_desk import BatchDesk
    from labeling.llm._batches import connect_batches
    from labeling.lock import WorkspaceLock
    from labeling.workspace import Workspace

    place = Workspace(workspace)
    lock = WorkspaceLock(place.lock) if locked else None
    try:
        llm = _last_llm(workspace)
        url, source = base_url or llm.get("base_url"), "the command line" if base_url else LAST_RUN
        with Ledger(place.ledger, price=prices(llm.get("prices")).cost_usd) as ledger:
            timeout = float(llm.get("timeout_seconds", 120.0))
            models = [row.model for row in ledger.batches() if row.state in UNDER_WAY]
            for line in server_lines(models, url, source):
                click.echo(line, err=True)
            yield BatchDesk(ledger, lambda model: connect_batches(model, base_url=url, timeout_seconds=timeout))
    finally:
        if lock is not None:
            lock.release()


def _last_llm(workspace: Path) -> dict[str, str]:
    """Section [llm] of the workspace's last run: where the batches were sent."""
    from flows.commands.options import last_config

    config = last_config(workspace)
    return dict(json.loads(config)["llm"]) if config else {}


def _find(rows: list[BatchRow], start: str) -> BatchRow:
    found = [row for row in rows if start in (row.batch, row.provider_batch)]
    found = found or [row for row in rows if row.batch.startswith(start.lower())]
    if len(found) == 1:
        return found[0]
    known = ", ".join(row.batch[:12] for row in (found or rows)[:5])
    raise UsageError(
        f"{len(found)} batches have an id that starts with {start!r}; name one. `featlas batches` lists them: {known}."
    )


def _lines(rows: list[BatchRow], now: float) -> list[str]:
    cells = [
        (
            row.batch[:12],
            row.state,
            row.model,
            f"{row.n_requests:,} requests",
            _age(now - row.created_at),
            row.detail or "",
        )
        for row in rows
    ]
    wide = [max((len(line[column]) for line in cells), default=0) for column in range(5)]
    return [
        "  ".join([*(f"{text:<{width}}" for text, width in zip(line, wide, strict=False)), line[-1]]).rstrip()
        for line in cells
    ]


def _age(seconds: float) -> str:
    hours, minutes = divmod(max(0, int(seconds)) // 60, 60)
    return f"{hours} h {minutes:02} min ago" if hours else f"{minutes} min ago"
