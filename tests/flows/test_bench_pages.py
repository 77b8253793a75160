from __future__ import annotations

from pathlib import Path

import pytest

from flows.benches._big_store import SET, Size, write_big_store
from flows.benches.pages import MILLISECONDS, PagesBench
from labeling.doctor import doctor
from labeling.snapshot import query
from labeling.workspace import Workspace

SMALL = Size(features=2_500, with_evidence=600, windows=2_000)


@pytest.mark.slow
def test_the_made_store_fits_together_and_its_pages_are_timed(tmp_path: Path) -> None:
    write_big_store(tmp_path / "w", SMALL)
    workspace = Workspace(tmp_path / "w")
    assert doctor(workspace) == []
    counts = {
        table: query(workspace, f"SELECT count(*) FROM {table}").item()
        for table in ("labels", "explanations", "neighbors", "contexts", "judgments", "windows")
    }
    assert counts == {
        "labels": 2_500, "explanations": 5_000, "neighbors": 25_000, "contexts": 30_000, "judgments": 60_000, "windows": 2_000,
    }  # fmt: skip
    assert query(workspace, f"SELECT count(score) FROM labels WHERE feature_set = '{SET}'").item() == 2_500
    rows = PagesBench(workspace=workspace.root, size=SMALL, requests=2).measure()
    assert {row.name.split(",")[0].split()[0] for row in rows if row.unit == "ms"} == set(MILLISECONDS)
    assert all(row.value is not None and row.value > 0 for row in rows)
    assert [row.unit for row in rows][-2:] == ["s", "MB"]
