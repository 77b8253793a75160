"""`featlas doctor` looks into the ledger."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from labeling.doctor import ledger_findings
from labeling.ledger import Ledger
from labeling.workspace import Workspace
from tests.labeling.llm_builders import request


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    with Ledger(Workspace(tmp_path).ledger) as ledger:
        ledger.register([request('1 "a window"\n2 "a <<marked>> one"'), request("no excerpt")])
    return Workspace(tmp_path)


def test_a_sound_ledger_and_a_missing_one_have_no_findings(workspace: Workspace, tmp_path: Path) -> None:
    assert ledger_findings(workspace) == []
    assert ledger_findings(Workspace(tmp_path / "elsewhere")) == []


@pytest.mark.parametrize("text", ["a window", "a marked one", "no excerpt"])
def test_a_missing_text_is_found(workspace: Workspace, text: str) -> None:
    with closing(sqlite3.connect(workspace.ledger)) as connection:
        connection.execute("DELETE FROM texts WHERE text = ?", (text,))
        connection.commit()
    (finding,) = ledger_findings(workspace)
    assert finding.message == "1 requests have prompts of which a text is missing."


def test_a_damaged_ledger_is_a_finding_and_no_crash(workspace: Workspace) -> None:
    workspace.ledger.write_bytes(b"not SQLite at all" * 100)
    (finding,) = ledger_findings(workspace)
    assert "is damaged" in finding.message
