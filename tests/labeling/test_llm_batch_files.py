"""Files that batches leave at OpenAI: deleted once their results are stored, and never before."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import pytest

from flows.fake_provider import CallFault, LoopbackProvider
from labeling.errors import FeatlasError
from labeling.ledger import BatchRow, Ledger
from labeling.llm import ask
from tests.flows.provider_clients import openai_client
from tests.labeling.llm_builders import KEY, KEY_NAMES, requests, texts
from tests.labeling.test_llm_batches import batch_model, desk, reasons
from tests.waiting import wait_until

MODEL = "openai/tiny"


@pytest.fixture(autouse=True)
def _keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in KEY_NAMES:
        monkeypatch.setenv(name, KEY)


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "ledger.sqlite")


def test_nothing_is_left_at_the_provider(ledger: Ledger) -> None:
    with LoopbackProvider(faults=lambda asked: "500" if asked.user.endswith("1") else None) as provider:
        assert reasons(ask(batch_model(ledger, provider, "openai"), requests(3))) == [None, "server_error", None]
        assert provider.files() == []


def test_what_could_not_be_read_is_kept_until_it_is_stored(ledger: Ledger) -> None:
    keys = ledger.register(requests(2))
    with LoopbackProvider(call_faults={"content": ["400"]}) as provider:
        own = desk(ledger, provider, "openai")
        own.submit(keys, MODEL)
        wait_until(lambda: [row.state for row in own.look()] == ["ended"])
        assert (len(provider.files()), ledger.answers(keys)) == (2, {})
        assert own.look() == []
        assert (len(provider.files()), len(ledger.answers(keys))) == (0, 2)


def test_a_file_that_can_not_be_deleted_is_only_logged(ledger: Ledger, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING), LoopbackProvider(call_faults={"delete": ["403"]}) as provider:
        texts(ask(batch_model(ledger, provider, "openai"), requests(2)))
        assert len(provider.files()) == 2
    assert "could not delete the files of batch" in caplog.text
    assert ledger.batches()[0].state == "collected"


@pytest.mark.parametrize("fault", ["400", "429", "500", "reset", "401"])
def test_the_upload_goes_when_no_batch_was_made_of_it(ledger: Ledger, fault: CallFault) -> None:
    with LoopbackProvider(call_faults={"create": [fault] * 8}) as provider:
        try:
            ask(batch_model(ledger, provider, "openai"), requests(2))
        except FeatlasError:
            assert fault != "400"
        assert provider.files() == []
    assert provider.counts()["batches"] == 0


def test_the_upload_goes_when_the_provider_refuses_what_is_in_it(ledger: Ledger) -> None:
    with LoopbackProvider(batch_enqueued_tokens=1) as provider:
        with pytest.raises(FeatlasError):
            ask(batch_model(ledger, provider, "openai"), requests(1))
        assert provider.files() == []


def left_by_a_dead_process(ledger: Ledger, row: BatchRow) -> None:
    ledger.save_batch(replace(row, state="preparing", provider_batch=None, submitted_at=None, detail="process 1:0"))


def test_a_batch_whose_reply_was_lost_with_the_process_is_found_by_what_it_carries(ledger: Ledger) -> None:
    with LoopbackProvider() as provider:
        model = batch_model(ledger, provider, "openai", wait=False)
        ask(model, requests(2))
        (row,) = model.submit()
        left_by_a_dead_process(ledger, row)
        assert f"{row.batch}.jsonl" in provider.files()
        texts(ask(batch_model(ledger, provider, "openai"), requests(2)))
        assert (provider.counts()["batches"], provider.files()) == (1, [])


def test_an_upload_that_a_dead_process_made_no_batch_of_is_deleted_and_nothing_else(ledger: Ledger) -> None:
    keys = ledger.register(requests(2))
    with LoopbackProvider() as provider:
        lost = BatchRow("a" * 32, "openai", MODEL, None, "preparing", 2, 1.7e9, detail="process 1:0")
        with openai_client(provider) as client:
            client.files.create(file=(f"{lost.batch}.jsonl", b"{}"), purpose="batch")
            client.files.create(file=("somebody's.jsonl", b"{}"), purpose="batch")
        ledger.save_batch(lost)
        ledger.claim_many(keys, batch=lost.batch)
        texts(ask(batch_model(ledger, provider, "openai"), requests(2)))
        assert provider.files() == ["somebody's.jsonl"]
