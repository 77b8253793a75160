"""A process that is killed while it submits a batch: the next one finds out what the provider has, and pays once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from flows.fake_provider import LoopbackProvider
from labeling.ledger import Ledger
from labeling.llm import ask
from tests.labeling.llm_builders import KEY, KEY_NAMES, PROVIDERS, requests, texts, url_of
from tests.labeling.test_llm_batches import batch_model

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[2]
PROGRAM = """
import os, signal, sys
from pathlib import Path
from labeling.ledger import Ledger
from labeling.llm._batch_desk import BatchDesk
from labeling.llm._batches import connect_batches
from tests.labeling.llm_builders import requests

file, model, url, moment = sys.argv[1:]

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def connect(name):
    client = connect_batches(name, base_url=url, timeout_seconds=20)
    submit = client.submit
    def deadly(batch, some):
        if moment == "before":
            die()
        submit(batch, some)
        die()
    client.submit = deadly
    return client

with Ledger(Path(file)) as ledger:
    keys = ledger.register(requests(4, model=model))
    BatchDesk(ledger, connect).submit(keys, model)
"""


@pytest.mark.parametrize("name", PROVIDERS)
@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_kill_around_the_submission_leads_to_one_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, moment: str
) -> None:
    for key_name in KEY_NAMES:
        monkeypatch.setenv(key_name, KEY)
    file, model = tmp_path / "ledger.sqlite", f"{name}/tiny"
    with LoopbackProvider() as provider:
        died = subprocess.run(
            [sys.executable, "-c", PROGRAM, str(file), model, url_of(provider, name), moment],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            timeout=60,
            check=False,
        )
        assert died.returncode == -signal.SIGKILL
        assert provider.counts()["batches"] == (moment == "after")
        with Ledger(file) as ledger:
            assert [row.state for row in ledger.batches()] == ["preparing"]
            texts(ask(batch_model(ledger, provider, name), requests(4, model=model)))
            assert [row.state for row in ledger.batches()][-1] == "collected"
        assert provider.counts()["batches"] == 1
        assert provider.counts()["answered_twice"] == 0
