"""Put metric tables of several ranges of features side by side."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from evals.metrics import MetricTable


def join_tables(tables: Sequence[MetricTable]) -> MetricTable:
    """One table of all features. The tables must hold the same metrics.

    How much documents shared between two tables move the mean is not known from the tables; it is taken to be as much
    as if the parts moved together, which can only widen an interval.
    """
    scored = np.stack([(~np.isnan(t.value)).sum(axis=1) for t in tables])
    share = scored / np.maximum(scored.sum(axis=0), 1)
    spread = np.stack([np.sqrt(t.shared_variance) for t in tables])
    joined = {
        name: np.concatenate([getattr(t, name) for t in tables], axis=1)
        for name in ("value", "low", "high", "reason", "n_items", "n_lost")
    }
    return MetricTable(
        metric=tables[0].metric,
        tau_share=tables[0].tau_share,
        shared_variance=(share * spread).sum(axis=0) ** 2,
        **joined,
    )
