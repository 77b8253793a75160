"""Publish: copy what the stages wrote to the snapshot that queries, pages and reports read."""

from __future__ import annotations

from flows.budgets import prices
from flows.session import Session
from labeling.ledger import Ledger


def publish(session: Session) -> None:
    """Take in the ledger and publish a snapshot. Readers see the old one or the new one, never half of one."""
    session.record_end()  # so that the snapshot says how the run that made it ended
    requests = None
    if session.workspace.ledger.exists():
        with Ledger(session.workspace.ledger) as ledger:
            requests = ledger.export(prices(session.config.llm.prices).cost_usd)
    session.store.publish(requests)
