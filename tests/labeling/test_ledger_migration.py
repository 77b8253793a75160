"""A ledger of an earlier version is brought to this one, or left as it was."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from labeling.errors import FeatlasError
from labeling.ledger import Ledger, request_key
from labeling.ledger_schema import ADDED_IN_3
from labeling.types import Completion, CompletionFailure, NumberToken
from tests.labeling.ledger_version_1 import ANSWERED, EXCERPTS, FAILED, PENDING, SENT, write_version_1
from tests.labeling.llm_builders import request

OPEN = """
import sys
from pathlib import Path
from labeling.ledger import Ledger
print("now", flush=True)
Ledger(Path(sys.argv[1])).close()
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write_version_1(tmp_path / "ledger.sqlite")
    return tmp_path / "ledger.sqlite"


def test_a_ledger_of_version_1_keeps_every_request_with_its_state(path: Path) -> None:
    with Ledger(path) as ledger:
        for one in (PENDING, SENT, ANSWERED, FAILED):
            assert ledger.request(request_key(one)) == one
        answer = Completion("yes", "stop", 100, 20, 7, 1.5, 3, 2)
        assert ledger.answers([request_key(one) for one in (PENDING, SENT, ANSWERED, FAILED)]) == {
            request_key(ANSWERED): answer
        }
        assert ledger.failures([request_key(FAILED)]) == {
            request_key(FAILED): CompletionFailure(
                "truncated", True, "length: y", Completion("yes", "stop", 100, 20, 7, 1.5, 3, 3), attempts=3
            )
        }
        summary = ledger.summary()
        assert (summary.pending, summary.sent, summary.answered, summary.failed) == (1, 1, 1, 1)
        assert (summary.cost_usd, summary.n_cost_unknown) == (None, 2)
        assert ledger.interrupted() == 1


def write_version_2(path: Path) -> None:
    """A ledger of version 2: one of this version without what was added since."""
    with Ledger(path) as ledger:
        (key,) = ledger.register([ANSWERED])
        ledger.claim(key)
        ledger.finish(key, Completion("yes", "stop", 100, 20, 7, 1.5))
    with closing(sqlite3.connect(path)) as connection:
        for column in ADDED_IN_3:
            connection.execute(f"ALTER TABLE requests DROP COLUMN {column.split()[0]}")
        connection.execute("PRAGMA user_version = 2")


def test_a_ledger_of_version_2_keeps_its_answers_and_takes_log_probabilities(tmp_path: Path) -> None:
    write_version_2(tmp_path / "ledger.sqlite")
    wanting = replace(PENDING, top_logprobs=20)
    tokens = (NumberToken(0, 1, (("7", 1.0),)),)
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        assert ledger.request(request_key(ANSWERED)) == ANSWERED
        assert ledger.answers([request_key(ANSWERED)])[request_key(ANSWERED)].number_tokens is None
        (key,) = ledger.register([wanting])
        ledger.claim(key)
        ledger.finish(key, Completion("7", "stop", 1, 0, 1, 1.0, number_tokens=tokens))
        assert ledger.request(key) == wanting
        assert ledger.answers([key])[key].number_tokens == tokens


def test_a_migrated_ledger_has_the_tables_of_a_new_one(path: Path, tmp_path: Path) -> None:
    def tables(file: Path) -> set[tuple[str, str]]:
        Ledger(file).close()
        with closing(sqlite3.connect(file)) as connection:
            return set(connection.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL"))

    write_version_2(tmp_path / "two.sqlite")
    assert tables(path) == tables(tmp_path / "new.sqlite") == tables(tmp_path / "two.sqlite")


def test_a_ledger_of_version_1_is_also_migrated_to_be_read(path: Path) -> None:
    with Ledger(path, read_only=True) as ledger:
        assert ledger.summary().answered == 1


@pytest.mark.parametrize("damage", ["UPDATE requests SET prompt = x'00'", "DELETE FROM prefixes"])
def test_a_ledger_of_version_1_that_is_damaged_is_refused_and_left_as_it_is(path: Path, damage: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(damage)
        connection.commit()
    with pytest.raises(FeatlasError, match=r"is damaged .*left as it is"):
        Ledger(path)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (1,)
        assert connection.execute("SELECT count(*) FROM requests WHERE prefix = 'p'").fetchone() == (4,)


@pytest.mark.slow
def test_a_migration_that_is_killed_starts_over(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    write_version_1(path, more=30_000)
    for wait in (0.0, 0.1, 0.3, 0.6):
        process = subprocess.Popen([sys.executable, "-c", OPEN, str(path)], stdout=subprocess.PIPE)
        assert process.stdout is not None
        assert process.stdout.readline() == b"now\n"
        time.sleep(wait)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        with closing(sqlite3.connect(path)) as connection:
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            assert connection.execute("SELECT count(*) FROM requests").fetchone() == (30_004,)
            assert version in (1, 3)
    with Ledger(path) as ledger:
        assert ledger.summary().pending == 30_001
        assert ledger.request(request_key(request(f"{EXCERPTS} 29999"))).user == f"{EXCERPTS} 29999"
