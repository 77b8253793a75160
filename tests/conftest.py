"""What every test can rely on: one thread, and no key, address or setting of the person who runs the tests."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

os.environ["OMP_NUM_THREADS"] = "1"  # read when torch is imported, so before any test module is

OWN_SETTINGS = ("ANTHROPIC_", "OPENAI_", "FEATLAS_", "PREFECT_")


@pytest.fixture(scope="session", autouse=True)
def _clean_environment() -> Iterator[None]:
    """Take the person's keys and settings out of the environment; tests set what they need themselves.

    Once a session, so that settings of a module's own fixtures stay.
    """
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith(OWN_SETTINGS):
                patch.delenv(name)
        yield
