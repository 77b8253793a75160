"""Looks in the provider's listing for a batch that may or may not be there: its reply was lost, or the process died.

Where the provider keeps our id, the batch is known by it; elsewhere by its requests. It changes nothing anywhere.
"""

from __future__ import annotations

from collections.abc import Collection, Set
from dataclasses import dataclass

from labeling.ledger import BatchRow
from labeling.llm._batches import BatchClient
from labeling.llm._patience import RepeatedCalls

CLOCK_SKEW_SECONDS = 600.0
"""How far the provider's clock may be behind ours."""


@dataclass(frozen=True)
class Search:
    """What the provider's listing says."""

    provider_batch: str | None
    undecided: bool = False
    """One that may be it has not ended, and only its results would tell."""

    @property
    def found_nothing(self) -> bool:
        return self.provider_batch is None and not self.undecided


def search(
    client: BatchClient,
    row: BatchRow,
    keys: Set[str],
    *,
    known: Collection[str],
    calls: RepeatedCalls,
    settle_seconds: float,
) -> Search:
    """Look for a batch of these requests; twice, because it may be on its way.

    `known` are the provider's ids of other batches of ours. Raise CallFailed when the listing can't be read.
    """
    found = calls.patiently(lambda: _search_once(client, row, keys, known))
    if found.found_nothing:
        calls.sleep(settle_seconds)
        found = calls.patiently(lambda: _search_once(client, row, keys, known))
    return found


def _search_once(client: BatchClient, row: BatchRow, keys: Set[str], known: Collection[str]) -> Search:
    undecided = False
    for seen in client.recent(row.created_at - CLOCK_SKEW_SECONDS):
        if seen.name == row.batch:
            return Search(seen.provider_batch)
        if seen.name is not None or seen.provider_batch in known or seen.n_requests != len(keys):
            continue
        if not seen.ended:
            undecided = True
        elif {key for key, _ in client.results(seen.provider_batch)} == keys:
            return Search(seen.provider_batch)
    return Search(None, undecided)
