"""The report in a real browser: it opens from a file, draws, and asks nobody for anything."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from dashboards.report import write_report
from labeling.workspace import Workspace
from tests.dashboards.build import make, publish

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--enable-logging=stderr",
    "--dump-dom",
]


@pytest.mark.slow
def test_the_report_opens_without_a_console_message(tmp_path: Path) -> None:
    browser = shutil.which("chromium")
    if browser is None and not os.environ.get("CI"):
        pytest.skip("needs the program chromium; continuous integration installs it")
    assert browser is not None
    workspace = Workspace(tmp_path / "workspace")
    publish(make(), workspace)
    page = write_report(workspace, tmp_path / "report")
    command = [browser, *FLAGS, f"--user-data-dir={tmp_path / 'browser'}", page.as_uri()]
    opened = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert "How good are the labels?" in opened.stdout
    assert opened.stdout.count("<svg") >= 3
    assert "CONSOLE" not in opened.stderr
