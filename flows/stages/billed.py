"""What earlier answers of a model were billed, beside what their prompts' characters made expect. Reads the ledger."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from labeling.ledger import Ledger
from labeling.workspace import Workspace

ANSWERS_READ = 200
"""Latest answers that are looked at."""


@dataclass(frozen=True)
class Billed:
    """None means that the ledger has no answer to learn from."""

    n_answers: int = 0
    ratio: float | None = None
    """Billed prompt tokens over characters / 4."""
    output_tokens: float | None = None
    """Mean of an answer."""
    cached_share: float = 0.0
    """Share 0-1 of prompt tokens that came from the provider's prompt cache."""


def billed_before(workspace: Workspace, model: str, purpose: str) -> Billed:
    """Learn from the latest answers to one model's requests of one purpose."""
    if not workspace.ledger.exists():
        return Billed()
    with Ledger(workspace.ledger) as ledger:
        rows = (
            ledger.export()
            .filter(
                (pl.col("model") == model)
                & (pl.col("purpose") == purpose)
                & (pl.col("state") == "answered")
                & (pl.col("attempts") == 1)  # else tokens of several answers are added up
                & (pl.col("input_tokens") > 0)  # null where the server did not say
                & pl.col("output_tokens").is_not_null()
            )
            .sort("answered_at")
            .tail(ANSWERS_READ)
        )
        requests = [ledger.request(key) for key in rows["request_key"]]
    characters = sum(len(request.system) + len(request.user) for request in requests)
    if rows.is_empty() or not characters:
        return Billed()
    read = int(rows["input_tokens"].sum())
    return Billed(
        n_answers=len(rows),
        ratio=4 * read / characters,
        output_tokens=int(rows["output_tokens"].sum()) / len(rows),
        cached_share=int(rows["cached_input_tokens"].sum()) / read,
    )
