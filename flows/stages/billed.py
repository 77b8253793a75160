"""What earlier answers of a model were billed, beside what their prompts' characters made expect. Reads the ledger."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
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
    ratio_error: float | None = None
    """One standard error of the ratio; None for a single answer."""
    output_tokens: float | None = None
    """Mean of an answer."""
    output_error: float | None = None
    """One standard error of the mean; None for a single answer."""
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
    expected = np.array([(len(request.system) + len(request.user)) / 4 for request in requests], dtype=float)
    if not expected.sum():
        return Billed()
    read, written = rows["input_tokens"].to_numpy(), rows["output_tokens"].to_numpy()
    ratio = float(read.sum() / expected.sum())
    return Billed(
        n_answers=len(rows),
        ratio=ratio,
        ratio_error=_mean_error((read - ratio * expected) / expected.mean()),
        output_tokens=float(written.mean()),
        output_error=_mean_error(written),
        cached_share=int(rows["cached_input_tokens"].sum()) / int(read.sum()),
    )


def _mean_error(values: npt.NDArray[Any]) -> float | None:
    """Standard error of the mean of the values; None for a single one."""
    return None if len(values) < 2 else float(values.std(ddof=1)) / math.sqrt(len(values))
