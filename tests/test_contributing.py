"""The scorer that CONTRIBUTING.md shows is a whole scorer: put into its folder, it passes the contract and runs."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import evals.scorers
from evals.scorers import Scorer
from labeling import registry
from tests.contracts import test_scorers as contract
from tests.flows.mini import Mini, write_config

NAME = "shared_words"
GUIDE = Path(__file__).resolve().parent.parent / "CONTRIBUTING.md"


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder of scorers beside the real one, with the file of the guide in it."""
    (code,) = re.findall(r"^```python\n(.*?)^```$", GUIDE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    (tmp_path / f"{NAME}.py").write_text(code, encoding="utf-8")
    evals.scorers.__path__.append(str(tmp_path))
    yield tmp_path
    evals.scorers.__path__.remove(str(tmp_path))
    sys.modules.pop(f"evals.scorers.{NAME}", None)


@pytest.mark.usefixtures("folder")
def test_the_scorer_of_the_guide_passes_the_contract_of_all_scorers() -> None:
    assert NAME in registry.names(evals.scorers)
    scorer: Scorer = registry.create(evals.scorers, NAME, kind="scorer", model=contract.MODEL)
    tests = [test for name, test in inspect.getmembers(contract) if name.startswith("test_")]
    run = [test for test in tests if list(inspect.signature(test).parameters) == ["scorer"]]
    assert len(run) >= 8
    for test in run:
        try:
            test(scorer)
        except pytest.skip.Exception:
            continue


@pytest.mark.slow
@pytest.mark.usefixtures("folder")
def test_the_scorer_of_the_guide_runs_and_is_on_the_scoreboard(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    mini = Mini(write_config(tmp_path / "run", control=False), tmp_path / "run" / "workspace")
    ran = mini.featlas("run", "--scorer", NAME)
    assert ran.code == 0, ran.err
    rows = mini.ask("SELECT control, mean FROM scoreboard WHERE metric = 'headline' AND scorer = 'shared_words'")
    assert {"shuffled", "generic", "no_label", None} <= set(rows["control"])
    assert rows["mean"].null_count() == 0
