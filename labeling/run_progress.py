"""How far the running command is, as a small file in the workspace: the database is its own until it publishes.

The process that writes replaces the file now and then; everybody may read it. It is a courtesy: what can't be written or
read is left out.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime

from labeling.workspace import Workspace

MOST_BYTES = 10_000


@dataclass(frozen=True)
class RunProgress:
    """`done` of `total` units of one step of a run. Times are UTC, as ISO 8601."""

    command: str
    step: str
    done: int
    total: int
    unit: str
    step_started_at: str
    as_of: str
    process: int

    @property
    def share(self) -> float:
        """0-1."""
        return min(max(self.done / self.total, 0.0), 1.0) if self.total > 0 else 0.0

    @property
    def seconds_left(self) -> float | None:
        """Of this step, at the pace so far; None before anything is done."""
        passed = (datetime.fromisoformat(self.as_of) - datetime.fromisoformat(self.step_started_at)).total_seconds()
        return passed * (1 - self.share) / self.share if self.share > 0 and passed > 0 else None


def write_progress(workspace: Workspace, progress: RunProgress) -> None:
    """Replace the file, whole or not at all."""
    fresh = workspace.progress.with_name("progress.json.new")
    with suppress(OSError):
        fresh.write_text(json.dumps(asdict(progress)), encoding="utf-8")
        fresh.replace(workspace.progress)


def clear_progress(workspace: Workspace) -> None:
    """Nothing runs any more."""
    with suppress(OSError):
        workspace.progress.unlink(missing_ok=True)


def read_progress(workspace: Workspace) -> RunProgress | None:
    """What the running command said last; None when none runs, or it was killed."""
    try:
        with workspace.progress.open("rb") as file:
            said = json.loads(file.read(MOST_BYTES))
        progress = RunProgress(**said)
        datetime.fromisoformat(progress.as_of), datetime.fromisoformat(progress.step_started_at)
        return progress if progress.total >= progress.done >= 0 and _runs(progress.process) else None
    except (OSError, ValueError, TypeError):
        return None


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True  # somebody else's
    return process > 0
