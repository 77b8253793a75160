"""Requests of a batch belong to it, whichever process looks after it, until it has answered or is over."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from labeling.ledger import BatchRow, Ledger
from labeling.ledger_batches import BATCH_STATES, UNDER_WAY, BatchState
from labeling.types import Completion, CompletionFailure
from tests.labeling.llm_builders import requests

ROW = BatchRow("b1", "openai", "openai/tiny", None, "preparing", 3, 1.0)
ANSWER = Completion("yes", "stop", 100, 0, 7, 1.5)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger(tmp_path / "ledger.sqlite") as opened:
        opened.save_batch(ROW)
        yield opened


def test_batches_are_kept_and_replaced_by_their_id(ledger: Ledger) -> None:
    earlier = BatchRow("b0", "anthropic", "anthropic/m", "msgbatch_1", "ended", 9, 0.5, 0.6, 0.7, "9 succeeded")
    submitted = replace(ROW, state="submitted", provider_batch="batch_1", submitted_at=2.0)
    ledger.save_batch(earlier)
    ledger.save_batch(submitted)
    assert ledger.batches() == [earlier, submitted]
    assert ledger.summary().batches == (earlier, submitted)


def test_a_batch_takes_what_is_neither_answered_nor_under_way(ledger: Ledger) -> None:
    keys = ledger.register(requests(6))
    ledger.claim(keys[0])
    ledger.claim(keys[1])
    ledger.finish(keys[1], ANSWER)
    ledger.claim(keys[2])
    ledger.finish(keys[2], CompletionFailure("timeout", retryable=True))
    assert ledger.claim_many([*keys[:4], keys[3]], batch="b1") == [keys[2], keys[3]]
    assert ledger.claim_many(keys, batch="b1") == [keys[4], keys[5]]
    assert ledger.requests_of_batch("b1") == keys[2:]


def test_a_batch_must_be_saved_before_its_requests(ledger: Ledger) -> None:
    keys = ledger.register(requests(1))
    with pytest.raises(KeyError, match="no batch 'b2'; save it"):
        ledger.claim_many(keys, batch="b2")


@pytest.mark.parametrize("state", BATCH_STATES)
def test_requests_are_under_way_as_long_as_their_batch_is(ledger: Ledger, state: BatchState) -> None:
    (key,) = ledger.register(requests(1))
    ledger.claim_many([key], batch="b1")
    ledger.save_batch(replace(ROW, state=state))
    with Ledger(ledger.path) as other:
        assert other.interrupted() == (state not in UNDER_WAY)
        claim = other.claim(key)
        assert (claim.granted, claim.interrupted) == (state not in UNDER_WAY,) * 2


def test_an_answered_request_leaves_its_batch_and_remembers_it(ledger: Ledger) -> None:
    keys = ledger.register(requests(3))
    ledger.claim_many(keys, batch="b1")
    ledger.finish(keys[0], ANSWER, cost_usd=0.25)
    ledger.release(keys[1], may_be_answered=False)
    assert ledger.requests_of_batch("b1") == [keys[2]]
    assert ledger.claim(keys[1]).granted
    (row,) = ledger.export().to_dicts()
    assert (row["batch"], row["attempts"], row["cost_usd"]) == ("b1", 1, 0.25)


def test_half_a_surrogate_in_a_providers_words_about_a_batch_is_stored(ledger: Ledger) -> None:
    ledger.save_batch(replace(ROW, state="failed", detail="no\ud800"))
    assert ledger.batches()[0].detail == "no?"
