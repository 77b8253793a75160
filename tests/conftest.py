"""What every test can rely on: one thread, and no key, address or setting of the person who runs the tests."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

os.environ["OMP_NUM_THREADS"] = "1"  # read when torch is imported, so before any test module is

OWN_SETTINGS = ("ANTHROPIC_", "OPENAI_", "FEATLAS_", "PREFECT_")
LONGEST = (
    "flows/test_kill.py",
    "flows/test_bench_kills.py",
    "flows/test_prefect_server.py",
    "flows/test_batch_mode.py",
)
"""Files that take longest, which are begun first: no process should be left with one of them at the end. The second makes
no use of the mini demo, so nobody waits while the first one makes it."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest files, then with those that have slow tests."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}

    def rank(item: pytest.Item) -> int:
        place = next((n for n, name in enumerate(LONGEST) if item.path.as_posix().endswith(name)), len(LONGEST))
        return place if item.path in slow else len(LONGEST) + 1

    items.sort(key=rank)


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
