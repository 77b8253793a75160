"""Publish: copy what the stages wrote to the snapshot that queries, pages and reports read."""

from __future__ import annotations

import polars as pl

from flows.budgets import prices
from flows.session import Session
from labeling.ledger import Ledger
from labeling.store import Store
from labeling.workspace import Workspace


def publish(session: Session) -> None:
    """Take in the ledger and publish a snapshot. Readers see the old one or the new one, never half of one."""
    session.record_end()  # so that the snapshot says how the run that made it ended
    session.store.publish(_requests(session.workspace, session.config.llm.prices))


def republish(workspace: Workspace) -> None:
    """Bring the database of an earlier version up to date and publish it again.

    Raise WorkspaceInUse when another process writes to it.
    """
    with Store(workspace) as store:
        store.publish(_requests(workspace, own_prices=None))


def _requests(workspace: Workspace, own_prices: str | None) -> pl.DataFrame | None:
    if not workspace.ledger.exists():
        return None
    with Ledger(workspace.ledger) as ledger:
        return ledger.export(prices(own_prices).cost_usd)
