"""`featlas ledger` tells what was asked, beside a run and without changing anything."""

from __future__ import annotations

import json
import re
import sqlite3
from contextlib import closing
from pathlib import Path

import polars as pl
import pytest

from labeling.evidence import LLM_REQUESTS
from labeling.ledger import BatchRow, Ledger
from labeling.types import Completion, CompletionFailure
from labeling.workspace import Workspace
from tests.flows.mini import Ran, featlas
from tests.labeling.llm_builders import request, requests

ANSWER = Completion("=yes", "stop", 1200, 1000, 7, 1.5)
REFUSED = CompletionFailure("refusal", False, "it said no\x1b[2J", Completion("I won't.\x07", "refusal", 10, 0, 5, 0.1))


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """An answered request, two failed ones, one in a batch, one never sent."""
    with Ledger(Workspace(tmp_path).ledger, price=lambda model, answer: 0.25) as ledger:
        ledger.save_batch(BatchRow("b" * 32, "openai", "openai/tiny", "batch_1", "submitted", 1, 1.0, 2.0))
        keys = ledger.register(requests(5))
        ledger.claim_many(keys[3:4], batch="b" * 32)
        ledger.claim_each(keys[:3])
        ledger.finish_many([(keys[0], ANSWER), (keys[1], REFUSED), (keys[2], CompletionFailure("timeout", True))])
    return tmp_path


def ledger(workspace: Path, *arguments: object) -> Ran:
    return featlas("ledger", "--workspace", workspace, *arguments)


def test_it_counts_states_tokens_cost_failures_and_batches(workspace: Path) -> None:
    ran = ledger(workspace)
    assert (ran.code, ran.err) == (0, "")
    rows = dict(
        line.split("  ", 1) if not line.startswith("  ") else line[2:].split("  ", 1) for line in ran.out.splitlines()
    )
    found = {name.strip(): text.strip() for name, text in rows.items()}
    assert found == {
        "answered": "1",
        "failed": "2",
        "refusal": "1",
        "timeout": "1",
        "under way": "1",
        "interrupted": "0",
        "pending": "1",
        "tokens in": "1,210, 1,000 of them from a cache",
        "tokens out": "12",
        "cost": "$0.5000",
        "batches under way": "1",
        "bbbbbbbbbbbb": "submitted, 1 requests to openai/tiny",
    }


def test_the_counts_are_also_json(workspace: Path) -> None:
    said = json.loads(ledger(workspace, "--json").out)
    assert (said["answered"], said["failed_by_reason"]) == (1, {"refusal": 1, "timeout": 1})
    assert [batch["provider_batch"] for batch in said["batches"]] == ["batch_1"]
    assert (said["cost_usd"], said["interrupted"]) == (0.5, 0)


def test_it_works_while_a_run_writes(workspace: Path) -> None:
    with Ledger(Workspace(workspace).ledger) as run, run._writing():
        assert ledger(workspace).code == 0


def test_it_renders_the_prompt_of_a_key_or_of_its_start(workspace: Path) -> None:
    with Ledger(Workspace(workspace).ledger) as opened:
        (key,) = opened.register([request('1 "a window"', system="Judge.")])
    ran = ledger(workspace, "prompt", key[:20])
    assert ran.code == 0
    assert f"--- request {key}, openai/tiny, label, at most 100 tokens, repeat 0" in ran.out
    assert '[system]\nJudge.\n\n[user]\n1 "a window"\n\n[answer]\n{"type": "object"' in ran.out
    said = json.loads(featlas("ledger", "prompt", key, "--workspace", workspace, "--json").out)
    assert (said["request_key"], said["user"], said["purpose"]) == (key, '1 "a window"', "label")


def test_a_prompt_that_does_not_match_its_hash_is_not_shown(workspace: Path) -> None:
    with Ledger(Workspace(workspace).ledger) as opened:
        (key,) = opened.register(requests(1))
    with closing(sqlite3.connect(Workspace(workspace).ledger)) as connection:
        connection.execute("UPDATE texts SET text = 'forged' WHERE text = 'question 0'")
        connection.commit()
    ran = ledger(workspace, "prompt", key)
    assert (ran.code, ran.out) == (1, "")
    assert "does not match its hash" in ran.paragraph()


@pytest.mark.parametrize(
    ("start", "said"), [("zz", "no request whose key starts with 'zz'"), ("", "Several keys start")]
)
def test_a_start_that_is_not_of_one_key_is_a_usage_error(workspace: Path, start: str, said: str) -> None:
    ran = ledger(workspace, "prompt", start)
    assert ran.code == 2
    assert said in ran.paragraph()


def test_failures_come_with_the_text_that_came_back_and_cannot_move_the_cursor(workspace: Path) -> None:
    out = ledger(workspace, "failures").out
    assert "refusal, 1 attempts\nit said no\\x1b[2J\n[answer, refusal]\nI won't.\\x07" in out
    assert "timeout, 1 attempts\n(no details)" in out
    said = json.loads(ledger(workspace, "failures", "--json").out)
    assert {(one["reason"], (one["answer"] or {}).get("text")) for one in said} == {
        ("refusal", "I won't.\x07"),
        ("timeout", None),
    }
    assert len(json.loads(ledger(workspace, "failures", "--json", "--limit", 1).out)) == 1


def test_the_export_is_the_table_llm_requests(workspace: Path, tmp_path: Path) -> None:
    file = tmp_path / "out.parquet"
    assert ledger(workspace, "export", file).code == 0
    frame = pl.read_parquet(file)
    assert dict(frame.schema) == dict(LLM_REQUESTS.schema)
    assert sorted(frame["state"]) == ["answered", "failed", "failed"]
    assert frame["cost_usd"].sum() == 0.5
    assert ledger(workspace, "export", tmp_path / "out.csv").code == 0
    assert "'=yes" in (tmp_path / "out.csv").read_text()


def test_an_export_to_another_kind_of_file_is_a_usage_error(workspace: Path, tmp_path: Path) -> None:
    ran = ledger(workspace, "export", tmp_path / "out.xls")
    assert ran.code == 2
    assert ".parquet or .csv" in ran.paragraph()


def test_an_export_to_a_folder_that_is_not_there_is_a_usage_error(workspace: Path, tmp_path: Path) -> None:
    ran = ledger(workspace, "export", tmp_path / "nowhere" / "x.parquet")
    assert ran.code == 2
    assert "can't be written: No such file or directory" in ran.paragraph()


def test_a_workspace_without_a_ledger_is_told_and_stays_so(tmp_path: Path) -> None:
    ran = ledger(tmp_path)
    assert ran.code == 1
    assert "There is no ledger" in ran.paragraph()
    assert list(tmp_path.iterdir()) == []


def test_tokens_and_costs_that_are_not_known_are_said_to_be(tmp_path: Path) -> None:
    with Ledger(Workspace(tmp_path).ledger) as opened:
        keys = opened.register(requests(1))
        opened.claim_each(keys)
        opened.finish(keys[0], Completion("yes", "stop", None, None, None, 1.0, cache_write_input_tokens=None))
    out = ledger(tmp_path).out
    unknown = "not known: 1 request whose server did not say"
    assert re.search(rf"^tokens in +{unknown}$", out, re.MULTILINE)
    assert re.search(rf"^tokens out +{unknown}$", out, re.MULTILINE)
    assert re.search(r"^cost +not known: 1 request whose price or tokens are not known$", out, re.MULTILINE)


def test_a_sum_that_lacks_some_requests_says_how_many(tmp_path: Path) -> None:
    known = Completion("yes", "stop", 100, 0, 10, 1.0)
    with Ledger(Workspace(tmp_path).ledger) as opened:
        keys = opened.register(requests(3))
        opened.claim_each(keys)
        opened.finish(keys[0], known, cost_usd=0.5)
        for key in keys[1:]:
            opened.finish(key, known)
    assert re.search(
        r"^cost +\$0\.5000, without 2 requests whose price or tokens are not known$", ledger(tmp_path).out, re.MULTILINE
    )
