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
    input_tokens: int | None
    """This and the other sums are over the requests of which it is known; None when it is of none that were billed."""
    cached_input_tokens: int | None
    output_tokens: int | None
    n_tokens_unknown: int
    """Requests that were billed and whose server did not say how many tokens they took."""
    cost_usd: float | None
    n_cost_unknown: int
    """Requests that were billed at a price, or for tokens, that are not known."""
    batches: tuple[BatchRow, ...]
    """Batches under way, oldest first."""


def summarize(connection: sqlite3.Connection) -> LedgerSummary:
    states = dict(connection.execute("SELECT state, count(*) FROM requests GROUP BY state"))
    reasons = connection.execute("SELECT reason, count(*) FROM requests WHERE state = 'failed' GROUP BY 1 ORDER BY 1")
    (totals,) = connection.execute(
        "SELECT sum(input_tokens), sum(cached_input_tokens), sum(output_tokens), sum(cost_usd), count(latency_seconds), "
        "count(input_tokens + output_tokens), count(cost_usd) FROM requests"
    )
    *sums, billed, counted, priced = totals
    if not billed:
        sums = [0, 0, 0, 0.0]
    input_tokens, cached_input_tokens, output_tokens, cost_usd = sums
    return LedgerSummary(
        pending=states.get("pending", 0),
        sent=states.get("sent", 0),
        answered=states.get("answered", 0),
        failed=states.get("failed", 0),
        failed_by_reason=dict(reasons.fetchall()),
        input_tokens=input_tokens,
        cached_input_tokens=cached_input_tokens,
        output_tokens=output_tokens,
        n_tokens_unknown=billed - counted,
        cost_usd=cost_usd,
        n_cost_unknown=billed - priced,
        batches=tuple(row for row in read_batches(connection) if row.state in UNDER_WAY),
    )
