"""From the command line into Prefect: run `run_batch` on the server that is named, or on one that lives as long as it.

Prefect is imported only here, after it was told to send nothing about its use to anybody.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.pipeline import Outcome, Stage
from labeling.config import Config
from labeling.errors import FeatlasError

if TYPE_CHECKING:
    from prefect.client.schemas.objects import State

DEFAULTS = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "180",
}
"""Environment of Prefect unless the user says otherwise. Its own 20 seconds are too few for a server's first start."""


def run_flow(config: Config, workspace: Path, stages: Sequence[Stage]) -> Outcome:
    """Run the stages as a flow run. Raise FeatlasError as the stages do, or when the server does not answer."""
    for name, value in DEFAULTS.items():
        os.environ.setdefault(name, value)
    from flows.run_batch import run_batch

    _check_server()
    state: State[Any] = run_batch(config.as_json(), str(workspace.absolute()), list(stages), return_state=True)
    outcome: Outcome = state.result()
    return outcome


def _check_server() -> None:
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        error = client.api_healthcheck()
    if error is not None:
        raise FeatlasError(
            f"The Prefect server at {client.api_url} does not answer ({type(error).__name__}: {error}). Start it with "
            "`prefect server start`, mend PREFECT_API_URL, or run without Prefect: --no-prefect."
        )
