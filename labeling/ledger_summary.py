"""The whole ledger in a few numbers: states, tokens, cost, why requests failed, which batches are under way."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from labeling.ledger_batches import UNDER_WAY, BatchRow, read_batches


@dataclass(frozen=True)
class LedgerSummary:
    """Counts over the whole ledger. Tokens and cost are those of everything that was billed, failures too."""

    pending: int
    sent: int
    answered: int
    failed: int
    failed_by_reason: dict[str, int]
    input_tokens: int
    cached_input_tokens: int
    output_tokens: int
    cost_usd: float
    """Sum over the requests whose cost is known."""
    n_cost_unknown: int
    """Requests that were billed at a price that is not known."""
    batches: tuple[BatchRow, ...]
    """Batches under way, oldest first."""


def summarize(connection: sqlite3.Connection) -> LedgerSummary:
    states = dict(connection.execute("SELECT state, count(*) FROM requests GROUP BY state"))
    reasons = connection.execute("SELECT reason, count(*) FROM requests WHERE state = 'failed' GROUP BY 1 ORDER BY 1")
    (totals,) = connection.execute(
        "SELECT ifnull(sum(input_tokens), 0), ifnull(sum(cached_input_tokens), 0), ifnull(sum(output_tokens), 0), "
        "total(cost_usd), count(input_tokens) - count(cost_usd) FROM requests"
    )
    return LedgerSummary(
        pending=states.get("pending", 0),
        sent=states.get("sent", 0),
        answered=states.get("answered", 0),
        failed=states.get("failed", 0),
        failed_by_reason=dict(reasons.fetchall()),
        input_tokens=totals[0],
        cached_input_tokens=totals[1],
        output_tokens=totals[2],
        cost_usd=totals[3],
        n_cost_unknown=totals[4],
        batches=tuple(row for row in read_batches(connection) if row.state in UNDER_WAY),
    )
